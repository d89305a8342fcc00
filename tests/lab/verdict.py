"""Whether each acknowledged change was told of, once: what the service says, held against what has arrived."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.lab.gateway import Change
from tests.lab.smtp_sink import Mail

STATUS_CHANGED = "task_status_changed"
MESSAGE_ID = re.compile(r"<notification-(\d+)\.[0-9a-f]{16}@tmservice\.invalid>")

Row = dict[str, Any]
Arrived = Counter[tuple[Any, ...]]  # (id, to whom or of which task, event) of a message, and how often it came


@dataclass(frozen=True, slots=True)
class Evidence:
    """`activity` and `ledger`: what the API lists for each task; `log`: the log channel's lines, the oldest first."""

    acknowledged: Sequence[Change]
    activity: Mapping[int, Sequence[Row]]
    ledger: Mapping[int, Sequence[Row]]
    mails: Sequence[Mail]
    log: Sequence[str]
    worker_kills: int

    def changes(self, task_id: int) -> list[Row]:
        """Return the activity's changes of status, the oldest first."""
        return sorted(
            (row for row in self.activity[task_id] if row["field"] == "status"), key=lambda row: row["version"]
        )

    def sent(self, channel: str) -> Iterator[tuple[int, Row]]:
        for task_id, rows in self.ledger.items():
            yield from ((task_id, row) for row in rows if row["channel"] == channel and row["state"] == "sent")

    def mails_sent(self) -> set[tuple[Any, ...]]:
        """Return what `mails_arrived` should hold. A mail may tell of several events."""
        kinds: dict[tuple[int, str], dict[str, None]] = {}
        for _, row in sorted(self.sent("email"), key=lambda sent: int(sent[1]["id"])):
            mail = row["message_id"], f"{row['recipient']['username']}@example.com"
            kinds.setdefault(mail, {})[row["kind"]] = None
        return {(*mail, ", ".join(told)) for mail, told in kinds.items()}

    def lines(self) -> Iterator[Row]:
        for text in self.log:
            with suppress(ValueError):  # what it stood for is missed elsewhere
                yield json.loads(text)

    def mails_arrived(self) -> Arrived:
        return Counter((number(mail.message_id), mail.to, mail.event) for mail in self.mails)

    def lines_arrived(self) -> Arrived:
        return Counter((line["id"], line["task"], line["event"]) for line in self.lines())

    def copies(self) -> int:
        return copies(self.mails_arrived()) + copies(self.lines_arrived())


def number(message_id: str) -> int | str:
    found = MESSAGE_ID.fullmatch(message_id)
    return int(found.group(1)) if found else message_id


def copies(arrived: Arrived) -> int:
    return arrived.total() - len(arrived)


def faults(evidence: Evidence) -> Iterator[str]:
    """Yield what is wrong, a sentence each."""
    yield from not_in_the_activity(evidence)
    yield from not_in_the_ledger(evidence)
    yield from not_sent(evidence)
    yield from not_as_sent("mail", evidence.mails_sent(), evidence.mails_arrived(), evidence.worker_kills)
    lines = {(row["id"], task_id, row["kind"]) for task_id, row in evidence.sent("log")}
    yield from not_as_sent("log line", lines, evidence.lines_arrived(), evidence.worker_kills)
    if len(set(evidence.log)) != len(evidence.lines_arrived()):
        yield "the log has broken lines, or copies that differ"
    yield from not_in_order(evidence)


def not_in_the_activity(evidence: Evidence) -> Iterator[str]:
    stored = {
        (task_id, row["version"], row["to"]) for task_id in evidence.activity for row in evidence.changes(task_id)
    }
    for change in evidence.acknowledged:
        if (change.task_id, change.version, change.status) not in stored:
            yield f"version {change.version} of task {change.task_id} was acknowledged and is not in its activity"


def not_in_the_ledger(evidence: Evidence) -> Iterator[str]:
    for task_id, rows in evidence.ledger.items():
        told = Counter(row["channel"] for row in rows if row["kind"] == STATUS_CHANGED)
        changes = len(evidence.changes(task_id))
        if (told["log"], told["email"]) != (changes, changes):
            yield f"{changes} changes of task {task_id} went into the ledger as {dict(told)}"


def not_sent(evidence: Evidence) -> Iterator[str]:
    """Nothing makes sense to be skipped where nobody reassigns or deletes."""
    for task_id, rows in evidence.ledger.items():
        for row in rows:
            if row["state"] != "sent":
                where = f"{row['channel']} {row['id']} of task {task_id}"
                yield f"{where} is {row['state']} after {row['attempts']} attempts: {row['reason']}"


def not_as_sent(what: str, sent: set[tuple[Any, ...]], arrived: Arrived, worker_kills: int) -> Iterator[str]:
    for message in sent - arrived.keys():
        yield f"{what} {message} counts as sent and has not arrived"
    for message in arrived.keys() - sent:
        yield f"{what} {message} has arrived and does not count as sent"
    if copies(arrived) > worker_kills:
        yield f"{copies(arrived)} copies of {what}s arrived, but the worker was killed {worker_kills} times"


def not_in_order(evidence: Evidence) -> Iterator[str]:
    """Also tells whether it was each change that was told of, and not another one as often."""
    told: dict[int, dict[int, str]] = {}
    for line in evidence.lines():
        if line["event"] == STATUS_CHANGED:
            told.setdefault(line["task"], {}).setdefault(line["id"], line["to"])
    for task_id in evidence.activity:
        if [row["to"] for row in evidence.changes(task_id)] != list(told.get(task_id, {}).values()):
            yield f"the log does not tell of task {task_id} what its activity does, in that order"
