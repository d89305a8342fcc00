"""Checks that exactly the notifications marked as sent have arrived."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.lab.mails import ReceivedMail

STATUS_CHANGED = "task_status_changed"
MESSAGE_ID = re.compile(r"<notification-(\d+)\.[0-9a-f]{16}@tmservice\.invalid>")

Row = dict[str, Any]
Message = tuple[Any, ...]  # id, recipient or task, event


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What has arrived. `log` has the log channel's lines, oldest first. A worker kill may cause copies."""

    mails: Sequence[ReceivedMail]
    log: Sequence[str]
    worker_kills: int

    def lines(self) -> Iterator[Row]:
        for text in self.log:
            with suppress(ValueError):  # broken_lines() reports it
                yield json.loads(text)

    def arrived(self) -> dict[str, Counter[Message]]:
        """Return how often each message came, by channel."""
        return {
            "email": Counter((mail_number(mail.message_id), mail.to, mail.event) for mail in self.mails),
            "log": Counter((line["id"], line["task"], line["event"]) for line in self.lines()),
        }

    def figures(self) -> str:
        copies = sum(map(count_copies, self.arrived().values()))
        return f"{len(self.mails)} mails, {len(self.log)} log lines, {copies} of them copies"

    def violations(self, activity: Mapping[int, Sequence[Row]], ledger: Mapping[int, Sequence[Row]]) -> Iterator[str]:
        """Yield violations, given the activity and the delivery ledger of every task."""
        for channel, arrived in self.arrived().items():
            sent = messages_sent(channel, ledger)
            for message in sent - arrived.keys():
                yield f"{channel} {message} is marked as sent but did not arrive"
            for message in arrived.keys() - sent:
                yield f"{channel} {message} arrived but is not marked as sent"
            if (copies := count_copies(arrived)) > self.worker_kills:
                yield f"{copies} copies by {channel}, but the worker was killed {self.worker_kills} times"
        if len(set(self.log)) != len(self.arrived()["log"]):
            yield "the log has broken lines, or copies that differ"
        yield from self.wrong_order(activity)

    def wrong_order(self, activity: Mapping[int, Sequence[Row]]) -> Iterator[str]:
        """Yield tasks whose log lines differ from their activity; this also finds missing and extra lines."""
        logged: dict[int, dict[int, str]] = {}
        for line in self.lines():
            if line["event"] == STATUS_CHANGED:
                logged.setdefault(line["task"], {}).setdefault(line["id"], line["to"])
        for task_id, history in activity.items():
            changes = sorted((row["version"], row["to"]) for row in history if row["field"] == "status")
            if [to for _, to in changes] != list(logged.get(task_id, {}).values()):
                yield f"the log has other changes of task {task_id} than its activity, or in another order"


def messages_sent(channel: str, ledger: Mapping[int, Sequence[Row]]) -> set[Message]:
    """Return the messages that should have arrived. A mail may hold several events."""
    rows = [(task_id, row) for task_id, found in ledger.items() for row in found]
    sent = [(task_id, row) for task_id, row in rows if (row["channel"], row["state"]) == (channel, "sent")]
    if channel == "log":
        return {(row["id"], task_id, row["kind"]) for task_id, row in sent}
    kinds: dict[Message, dict[str, None]] = {}
    for _, row in sorted(sent, key=lambda pair: int(pair[1]["id"])):
        mail = row["message_id"], f"{row['recipient']['username']}@example.com"
        kinds.setdefault(mail, {})[row["kind"]] = None
    return {(*mail, ", ".join(events)) for mail, events in kinds.items()}


def mail_number(message_id: str) -> int | str:
    found = MESSAGE_ID.fullmatch(message_id)
    return int(found.group(1)) if found else message_id


def count_copies(arrived: Counter[Message]) -> int:
    return arrived.total() - len(arrived)
