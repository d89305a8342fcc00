"""Whether people were told the truth, and nothing failed that must not: a ledger held against what is stored."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tests.lab.client import AWAY, PROBLEM, Attempt
from tests.lab.load import HANDS, KINDS, Changed, Made, Window

TOLD_OF = {"status": "task_status_changed", "assigned_to": "task_assigned"}
AT_FIRST = {"status": "todo", "priority": "normal", "description": ""}
KEY_IN_USE = "idempotency_key_in_use"
SINCERE_STATES = ("planned", "sent")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Demands:
    """What must hold of the answers. None is any number of 502, 503 and 504; where requests may be cut off, that is no
    more of them than can be under way at each fault."""

    most_failed: int | None = None
    may_cut_off: bool = False
    longest_seconds: float = 10
    recovery_seconds: float = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the load was told, and what the API says afterwards.

    `stored` holds all tasks made since the load began; `activity` and `ledger` those of some, by the task's id.
    """

    attempts: Sequence[Attempt]
    windows: Sequence[Window]
    made: Sequence[Made]
    changed: Sequence[Changed]
    contradictions: Sequence[str]
    stored: Sequence[Row]
    activity: Mapping[int, Sequence[Row]]
    ledger: Mapping[int, Sequence[Row]]

    def failed(self) -> list[Attempt]:
        return sorted((it for it in self.attempts if not it.answer.ok), key=lambda it: it.begun_at)

    def back_after_seconds(self) -> float:
        """Return how long after the end of a fault a request began that failed, at most."""
        return max((since_fault(it, self.windows) for it in self.failed()), default=0.0)


def breaches(evidence: Evidence, demands: Demands) -> Iterator[str]:
    """Yield what is wrong, a sentence each."""
    yield from lost(evidence)
    yield from made_twice(evidence)
    yield from evidence.contradictions
    yield from untrue_history(evidence)
    yield from untold(evidence)
    yield from wrong_answers(evidence, demands)
    yield from too_many(evidence, demands)
    yield from too_slow(evidence, demands)
    yield from not_back(evidence, demands)


def lost(evidence: Evidence) -> Iterator[str]:
    """Yield acknowledged writes that are not stored."""
    titles = {row["id"]: row["title"] for row in evidence.stored}
    for made in evidence.made:
        if made.task_id is not None and titles.get(made.task_id) != made.title:
            yield f"task {made.task_id} was acknowledged to {made.key} and is not stored"
    for change in evidence.changed:
        history = evidence.activity.get(change.task_id, ())
        for name, value in change.values.items():
            if change.version not in versions(history) or value_at(history, name, change.version) != value:
                what = f"{name}={value!r} of task {change.task_id}"
                yield f"{what} was acknowledged as version {change.version} and is not in its history"


def versions(history: Sequence[Row]) -> set[int]:
    return {row["version"] for row in history}


def value_at(history: Sequence[Row], name: str, version: int) -> Any:
    """Return the value of a task's field at a version, as its history has it."""
    values = [(row["version"], row["to"]) for row in history if row["field"] == name and row["version"] <= version]
    return max(values, key=lambda value: value[0])[1] if values else AT_FIRST[name]


def made_twice(evidence: Evidence) -> Iterator[str]:
    ids = defaultdict(list)
    for row in evidence.stored:
        ids[row["title"]].append(row["id"])
    for made in evidence.made:
        if len(ids[made.title]) > 1:
            yield f"{made.key} has made the tasks {sorted(ids[made.title])}"


def untrue_history(evidence: Evidence) -> Iterator[str]:
    """Each version of a task has its line, and the last ones are what the task is now."""
    stored = {row["id"]: row for row in evidence.stored}
    for task_id, history in evidence.activity.items():
        task = stored.get(task_id)
        if task is None:
            yield f"task {task_id} has a history and is not stored"
            continue
        if versions(history) != set(range(1, task["version"] + 1)):
            yield f"task {task_id} is at version {task['version']}, its history knows {sorted(versions(history))}"
        for name in AT_FIRST:
            if value_at(history, name, task["version"]) != task[name]:
                was = value_at(history, name, task["version"])
                yield f"{name} of task {task_id} is {task[name]!r}, by its history {was!r}"


def untold(evidence: Evidence) -> Iterator[str]:
    """Each stored change of what people are told of is in the notifications' ledger, once."""
    for task_id, history in evidence.activity.items():
        rows = [row for row in evidence.ledger.get(task_id, ()) if row["channel"] == "log"]
        told = Counter(row["kind"] for row in rows)
        for name, kind in TOLD_OF.items():
            changes = sum(row["field"] == name for row in history)
            if told[kind] != changes:
                yield f"{changes} changes of {name} of task {task_id} are {told[kind]} times in the ledger"
        for row in rows:
            if row["state"] not in SINCERE_STATES:
                yield f"notification {row['id']} of task {task_id} is {row['state']}: {row['reason']}"


def wrong_answers(evidence: Evidence, demands: Demands) -> Iterator[str]:
    for attempt in evidence.failed():
        answer = attempt.answer
        if answer.status == 0:
            if not demands.may_cut_off:
                yield f"{attempt}"
        elif answer.status in AWAY or is_awaiting_twin(attempt):
            if not answer.retry_after.isdecimal():
                yield f"{attempt}, without Retry-After"
            if answer.content_type.partition(";")[0] != PROBLEM:
                yield f"{attempt}, as {answer.content_type or 'nothing'}"
        else:
            yield f"{attempt}"


def is_awaiting_twin(attempt: Attempt) -> bool:
    """Who repeats a request under its key may hear that the first is still running."""
    answer = attempt.answer
    return attempt.is_repeated and answer.status == HTTPStatus.CONFLICT and answer.code == KEY_IN_USE


def too_many(evidence: Evidence, demands: Demands) -> Iterator[str]:
    failed = evidence.failed()
    if demands.most_failed is not None and len(failed) > demands.most_failed:
        yield f"{len(failed)} requests failed, where {demands.most_failed} may; the first: {failed[0]}"
    cut_off = [attempt for attempt in failed if attempt.answer.status == 0]
    most = HANDS * len(evidence.windows)
    if demands.may_cut_off and len(cut_off) > most:
        yield f"{len(cut_off)} requests went unanswered, where {most} can have been under way; one: {cut_off[0]}"


def too_slow(evidence: Evidence, demands: Demands) -> Iterator[str]:
    for attempt in evidence.attempts:
        if attempt.seconds > demands.longest_seconds:
            yield f"{attempt}, later than {demands.longest_seconds} s"


def not_back(evidence: Evidence, demands: Demands) -> Iterator[str]:
    """Nothing fails but while something is wrong and shortly after, and then everything is served."""
    for attempt in evidence.failed():
        since = since_fault(attempt, evidence.windows)
        if since == float("inf"):
            yield f"{attempt}, while nothing was wrong"
        elif since > demands.recovery_seconds:
            yield f"{attempt}, {since:.1f} s after the end of the fault"
    end = max((window.ended_at for window in evidence.windows), default=0.0)
    served = {attempt.kind for attempt in evidence.attempts if attempt.answer.ok and attempt.begun_at >= end}
    for kind in KINDS:
        if kind not in served:
            yield f"nobody could {kind} after the end of the fault"


def since_fault(attempt: Attempt, windows: Sequence[Window]) -> float:
    """Return how many seconds after the last fault the request began; 0 within one, infinity before the first."""
    before = [window for window in windows if window.begun_at <= attempt.ended_at]
    return max(0.0, attempt.begun_at - before[-1].ended_at) if before else float("inf")
