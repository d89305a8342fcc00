"""Reads the change feed of the user service into the directory: in the worker, or in a request if it is stale."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from chassis.database import long_statements
from chassis.worker.jobs import Job
from directory import client
from directory.models import Feed, User

PULL_EVERY_SECONDS = 1.5  # shorter than STALE_AFTER, so that requests rarely have to pull
BUSY_SECONDS = 60  # the worker reads in every turn for this long after a request
IDLE_SECONDS = 15  # the interval without requests
WORKER_SECONDS, REQUEST_SECONDS = 2.0, 0.5  # time limit for one page
MAX_PAGES_PER_REQUEST = 4  # together at most two seconds


def pull_if_stale() -> bool:
    """Read one page if the feed is stale, in at most 500 ms, and return whether this call read it."""
    return pull(Feed.stale(), seconds=REQUEST_SECONDS)


def pull_by_worker() -> None:
    """Read to the end of the feed, unless another process tried within the last second."""
    second = timedelta(seconds=1)
    pull(Feed.stale(second, second), seconds=WORKER_SECONDS, to_the_end=True)


class PullWhileBusy:
    """Reads the feed in every turn while there are requests, and rarely otherwise.

    The first request after a pause finds the feed stale and reads it. The worker notices that in its next turn and then
    reads in every turn for a minute.
    """

    def __init__(self) -> None:
        self.last_try: datetime | None = None
        self.busy_until = self.idle_until = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if last_try() != self.last_try:
            self.busy_until = now + BUSY_SECONDS
        if self.busy_until <= now < self.idle_until:
            return
        pull_by_worker()
        self.last_try = last_try()
        self.idle_until = now + IDLE_SECONDS


def last_try() -> datetime | None:
    return Feed.objects.values_list("tried_at", flat=True).first()


def pull(stale: Q, *, seconds: float, to_the_end: bool = False) -> bool:
    after = Feed.objects.claim(stale)
    if after is None:
        return False
    more = True
    while more:
        try:
            page = read_page(after, seconds=seconds, within=long_statements if to_the_end else transaction.atomic)
        except client.DirectoryUnavailable:
            Feed.objects.record_failure(clock_difference_seconds=client.clock_difference_seconds.get())
            return False
        after, more = page.next_after, page.more and to_the_end
    return True


def read_page(
    after: int, *, seconds: float, within: Callable[[], AbstractContextManager[None]] = transaction.atomic
) -> client.Page:
    page = client.changes(after, seconds=seconds)
    with within():
        User.objects.upsert(page.people)
        Feed.objects.record_success(page.next_after, clock_difference_seconds=client.clock_difference_seconds.get())
    return page


def catch_up() -> None:
    """Read to the end of the feed for a request, or raise DirectoryUnavailable within 2 seconds."""
    if not client.BREAKER.allows_call():
        raise client.DirectoryUnavailable("not called: too many failures in a row")
    after = Feed.objects.claim(Q()) or 0
    for _ in range(MAX_PAGES_PER_REQUEST):
        page = read_page(after, seconds=REQUEST_SECONDS)
        if not page.more:
            return
        after = page.next_after
    raise client.DirectoryUnavailable("the directory is far behind the feed")


def jobs() -> list[Job]:
    return [Job("directory", PullWhileBusy(), PULL_EVERY_SECONDS)]
