"""One JSON line for each event."""

import fcntl
import json
import sys
from io import RawIOBase
from logging.handlers import RotatingFileHandler
from pathlib import Path

from django.conf import settings

from chassis.api.fields import utc_text
from notifications.channels import Channel, Message

MAX_FILE_BYTES = 10_000_000
BACKUP_COUNT = 5


class Log(Channel):
    """Appends to NOTIFICATION_LOG and rotates it, or writes to standard output. Several workers may share the file."""

    is_personal = False

    def send(self, message: Message) -> None:
        event = message.event
        line = json.dumps(
            {
                "at": utc_text(event.created_at),
                "id": message.id,
                "event": event.kind,
                "task": event.task_id,
                "title": event.task_title,
                "from": event.old,
                "to": event.new,
                "due_date": event.due_date and event.due_date.isoformat(),
                "by": event.by_id,
                "text": event.text,
            },
            separators=(",", ":"),
        )  # ASCII: line separators and terminal control characters are escaped
        if settings.NOTIFICATION_LOG:
            append(Path(settings.NOTIFICATION_LOG), f"{line}\n".encode())
        else:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


def write(log: RawIOBase, line: bytes) -> None:
    while line:
        line = line[log.write(line) :]


def append(path: Path, line: bytes) -> None:
    """Append a line, after rotating a full file to path.1, path.1 to path.2, and so on."""
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_size + len(line) > MAX_FILE_BYTES:
            handler = RotatingFileHandler(path, backupCount=BACKUP_COUNT, delay=True)
            handler.doRollover()
            handler.close()
        with path.open("ab", buffering=0) as log:
            end = log.tell()
            try:
                write(log, line)
            except OSError:
                log.truncate(end)  # remove the partial line that a full disk leaves
                raise
