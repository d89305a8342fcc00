from collections.abc import Sequence

from chassis.jobs import Job, WorkerCommand
from directory import feed
from tasks.models import KeptAnswer

CLEAN_EVERY_SECONDS = 600


class Command(WorkerCommand):
    def jobs(self) -> Sequence[Job]:
        return [*feed.jobs(), Job("cleaning", KeptAnswer.objects.forget_old, CLEAN_EVERY_SECONDS)]
