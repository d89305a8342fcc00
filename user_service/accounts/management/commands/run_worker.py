from collections.abc import Sequence

from accounts import mails
from chassis.jobs import Job, WorkerCommand


class Command(WorkerCommand):
    def jobs(self) -> Sequence[Job]:
        return mails.jobs()
