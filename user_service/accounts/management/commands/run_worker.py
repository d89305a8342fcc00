import os
from collections.abc import Sequence

from accounts import mails
from chassis.worker.jobs import Job, WorkerCommand


class Command(WorkerCommand):
    def jobs(self) -> Sequence[Job]:
        os.umask(0o077)  # mails that become files hold tokens: they are for this user's eyes only
        return mails.jobs()
