"""The check of the search index."""

from chassis.ops.checks import MAX_COUNTED, Check
from chassis.ops.findings import Finding, Gauge, ok, unsure
from tasks.models import Task


def search() -> Finding:
    waiting = Task.objects.not_indexed()[:MAX_COUNTED].count()
    description = f"Number of tasks that are not indexed yet, counted up to {MAX_COUNTED}."
    gauges = (Gauge("tmservice_search_waiting", description, waiting),)
    if waiting:
        number = f"{MAX_COUNTED} or more" if waiting == MAX_COUNTED else waiting
        return unsure(
            f"{number} tasks are not indexed yet and are found by whole words only; a worker indexes them", gauges
        )
    return ok("all tasks are indexed", gauges)


CHECKS = [Check("search", search, measured=True)]
