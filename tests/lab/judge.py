"""Judges a trial: compares what users were told with the stored data, and failures with the demands."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import product
from typing import Any

from tests.lab.client import PROBLEM, UNAVAILABLE, SentRequest
from tests.lab.deliveries import Deliveries, Row
from tests.lab.load import KINDS, USERS, AcknowledgedPatch, FaultWindow, KeyedTask

NOTIFIED_OF = {"status": "task_status_changed", "assigned_to": "task_assigned"}
INITIAL = {"status": "todo", "priority": "normal", "description": ""}
KEY_IN_USE = "idempotency_key_in_use"


@dataclass(frozen=True, slots=True)
class Demands:
    """Limits on the responses. `max_failed` None allows any number of 502, 503 and 504. `may_cut_off` allows as many
    unanswered requests as can be in flight at each fault."""

    max_failed: int | None = None
    may_cut_off: bool = False
    max_seconds: float = 10
    recovery_seconds: float = 5

    def times(self, patience: float) -> "Demands":
        return replace(self, max_seconds=self.max_seconds * patience, recovery_seconds=self.recovery_seconds * patience)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the load saw, and what the API returns afterwards.

    `stored` has all tasks created during the load; `activity` and `ledger` have those of some tasks by ID, or of all
    if `deliveries` are judged too.
    """

    sent: Sequence[SentRequest]
    windows: Sequence[FaultWindow]
    keyed: Sequence[KeyedTask]
    patches: Sequence[AcknowledgedPatch]
    contradictions: Sequence[str]
    stored: Sequence[Row]
    activity: Mapping[int, Sequence[Row]]
    ledger: Mapping[int, Sequence[Row]]
    deliveries: Deliveries | None = None

    def failed(self) -> list[SentRequest]:
        return sorted((it for it in self.sent if not it.answer.ok), key=lambda it: it.begun_at)

    def recovery_seconds_taken(self) -> float:
        """Return the longest time between the end of a fault and a failed request."""
        return max((since_fault(it, self.windows) for it in self.failed()), default=0.0)


def violations(evidence: Evidence, demands: Demands) -> Iterator[str]:
    """Yield violations."""
    yield from lost(evidence)
    yield from created_twice(evidence)
    yield from evidence.contradictions
    yield from wrong_history(evidence)
    yield from wrong_ledger(evidence)
    if evidence.deliveries:
        yield from evidence.deliveries.violations(evidence.activity, evidence.ledger)
    yield from wrong_answers(evidence, demands)
    yield from too_many(evidence, demands)
    yield from too_slow(evidence, demands)
    yield from not_recovered(evidence, demands)


def lost(evidence: Evidence) -> Iterator[str]:
    """Yield acknowledged writes that are not stored."""
    titles = {row["id"]: row["title"] for row in evidence.stored}
    for task in evidence.keyed:
        if task.task_id is not None and titles.get(task.task_id) != task.title:
            yield f"task {task.task_id} was acknowledged for {task.key} but is not stored"
    for patch in evidence.patches:
        history = evidence.activity.get(patch.task_id, ())
        for name, value in patch.values.items():
            if patch.version not in versions(history) or value_at(history, name, patch.version) != value:
                what = f"{name}={value!r} of task {patch.task_id}"
                yield f"{what} was acknowledged as version {patch.version} but is not in its history"


def versions(history: Sequence[Row]) -> set[int]:
    return {row["version"] for row in history}


def value_at(history: Sequence[Row], name: str, version: int) -> Any:
    """Return the value of a task's field at a version, as its history has it."""
    values = [(row["version"], row["to"]) for row in history if row["field"] == name and row["version"] <= version]
    return max(values, key=lambda value: value[0])[1] if values else INITIAL[name]


def created_twice(evidence: Evidence) -> Iterator[str]:
    ids = defaultdict(list)
    for row in evidence.stored:
        ids[row["title"]].append(row["id"])
    for task in evidence.keyed:
        if len(ids[task.title]) > 1:
            yield f"{task.key} created the tasks {sorted(ids[task.title])}"


def wrong_history(evidence: Evidence) -> Iterator[str]:
    """Each version of a task has a history line, and the last values match the task."""
    stored = {row["id"]: row for row in evidence.stored}
    for task_id, history in evidence.activity.items():
        task = stored.get(task_id)
        if task is None:
            yield f"task {task_id} has a history but is not stored"
            continue
        if versions(history) != set(range(1, task["version"] + 1)):
            yield f"task {task_id} is at version {task['version']}, its history knows {sorted(versions(history))}"
        for name in INITIAL:
            if value_at(history, name, task["version"]) != task[name]:
                was = value_at(history, name, task["version"])
                yield f"{name} of task {task_id} is {task[name]!r}, by its history {was!r}"


def wrong_ledger(evidence: Evidence) -> Iterator[str]:
    """Each change with a notification is in the ledger once, and none is dead-lettered."""
    channels, states = (("log", "email"), {"sent"}) if evidence.deliveries else (("log",), {"planned", "sent"})
    for task_id, history in evidence.activity.items():
        rows = [row for row in evidence.ledger.get(task_id, ()) if row["channel"] in channels]
        planned = Counter((row["channel"], row["kind"]) for row in rows)
        for channel, (name, kind) in product(channels, NOTIFIED_OF.items()):
            changes = sum(row["field"] == name for row in history)
            if planned[channel, kind] != changes:
                times = f"{planned[channel, kind]} times in the ledger, by {channel}"
                yield f"{changes} changes of {name} of task {task_id} are {times}"
        for row in rows:
            if row["state"] not in states:
                where = f"{row['channel']} {row['id']} of task {task_id}"
                yield f"{where} is {row['state']} after {row['attempts']} attempts: {row['reason']}"


def wrong_answers(evidence: Evidence, demands: Demands) -> Iterator[str]:
    for request in evidence.failed():
        answer = request.answer
        if answer.status == 0:
            if not demands.may_cut_off:
                yield f"{request}"
        elif answer.status in UNAVAILABLE or is_awaiting_twin(request):
            if not answer.retry_after.isdecimal():
                yield f"{request}, without Retry-After"
            if answer.content_type.partition(";")[0] != PROBLEM:
                yield f"{request}, as {answer.content_type or 'nothing'}"
        else:
            yield f"{request}"


def is_awaiting_twin(request: SentRequest) -> bool:
    """A repeated request with a key may be rejected while the first is still running."""
    answer = request.answer
    return request.is_repeated and answer.status == HTTPStatus.CONFLICT and answer.code == KEY_IN_USE


def too_many(evidence: Evidence, demands: Demands) -> Iterator[str]:
    failed = evidence.failed()
    if demands.max_failed is not None and len(failed) > demands.max_failed:
        yield f"{len(failed)} requests failed, but only {demands.max_failed} may; first: {failed[0]}"
    cut_off = [request for request in failed if request.answer.status == 0]
    max_in_flight = USERS * len(evidence.windows)
    if demands.may_cut_off and len(cut_off) > max_in_flight:
        yield f"{len(cut_off)} requests were not answered, only {max_in_flight} were in flight; first: {cut_off[0]}"


def too_slow(evidence: Evidence, demands: Demands) -> Iterator[str]:
    for request in evidence.sent:
        if request.seconds > demands.max_seconds:
            yield f"{request}, later than {demands.max_seconds} s"


def not_recovered(evidence: Evidence, demands: Demands) -> Iterator[str]:
    """Requests may fail only during a fault and shortly after it."""
    for request in evidence.failed():
        since = since_fault(request, evidence.windows)
        if since == float("inf"):
            yield f"{request}, without a fault"
        elif since > demands.recovery_seconds:
            yield f"{request}, {since:.1f} s after the end of the fault"
    end = max((window.ended_at for window in evidence.windows), default=0.0)
    served = {request.kind for request in evidence.sent if request.answer.ok and request.begun_at >= end}
    for kind in KINDS:
        if kind not in served:
            yield f"nobody could {kind} after the end of the fault"


def since_fault(request: SentRequest, windows: Sequence[FaultWindow]) -> float:
    """Return the seconds from the last fault to the request: 0 during a fault, infinity before the first."""
    before = [window for window in windows if window.begun_at <= request.ended_at]
    return max(0.0, request.begun_at - before[-1].ended_at) if before else float("inf")
