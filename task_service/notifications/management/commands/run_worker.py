import os
from collections.abc import Sequence

from chassis.worker.jobs import Job, WorkerCommand
from notifications.jobs import jobs


class Command(WorkerCommand):
    def jobs(self) -> Sequence[Job]:
        os.umask(0o077)  # notifications in files describe tasks: only this user may read them
        return jobs()
