"""The log channel: one line of JSON per event, with concurrent processes and disk errors."""

import json
import sys
from datetime import datetime
from io import BytesIO, TextIOWrapper
from unicodedata import category

import pytest

from chassis.printable import one_line
from notifications.channels import log
from notifications.models import Delivery, Event
from notifications.reminders import remind
from tasks.models import Task
from tests.deliveries import advance_time, change, deliver_all, delivery_ids, log_entries, run, states

pytestmark = pytest.mark.django_db

PROCESSES, LINES, MAX_BYTES = 4, 150, 1000
# One process loads Django, then forks.
WRITERS = f"""
import os, sys
from pathlib import Path
import django
django.setup()
from notifications.channels import log
log.MAX_FILE_BYTES, log.BACKUP_COUNT = {MAX_BYTES}, 1000
for number in range({PROCESSES}):
    if os.fork() == 0:
        for line in range({LINES}):
            log.append(Path(sys.argv[1]), b'{{"id": %d}}\\n' % (number * {LINES} + line))
        os._exit(0)
sys.exit(any(os.wait()[1] for _ in range({PROCESSES})))
"""
# A file size limit acts like a full disk: it accepts the first bytes of a line and rejects the rest.
FULL_DISK = """
import resource, sys
from pathlib import Path
import django
django.setup()
from notifications.channels import log
path = Path(sys.argv[1])
log.append(path, b'{"id": 1}\\n')
resource.setrlimit(resource.RLIMIT_FSIZE, (15, resource.RLIM_INFINITY))
try:
    log.append(path, b'{"id": 2}\\n')
except OSError as error:
    print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append(path, b'{"id": 2}\\n')
"""


@pytest.fixture
def path(settings, tmp_path):
    """The log in a folder that has no other files."""
    (tmp_path / "log").mkdir()
    settings.NOTIFICATION_LOG = str(tmp_path / "log" / "notifications.log")
    return tmp_path / "log" / "notifications.log"


@pytest.fixture
def complete(ada, task):
    """Return a function that completes the task with a title that the API rejects, and delivers that."""

    def complete(title):
        Task.objects.filter(pk=task.pk).update(title=title)
        change(task, by=ada, status="completed")
        deliver_all()

    return complete


def ids(*paths):
    return [json.loads(line)["id"] for path in paths for line in path.read_text().splitlines()]


# Content


def test_it_works(ada, alice, bob, task):
    change(task, by=ada, status="in_progress")
    change(task, by=ada, assigned_to_id=bob.id)
    Task.objects.filter(pk=task.pk).update(due_date="2001-01-01")
    remind()

    deliver_all()

    lines = log_entries()
    moved = {"event": "task_status_changed", "from": "todo", "to": "in_progress", "by": ada.id, "due_date": None}
    assigned = {"event": "task_assigned", "from": alice.id, "to": bob.id, "by": ada.id, "due_date": None}
    overdue = {"event": "task_overdue", "from": None, "to": None, "by": None, "due_date": "2001-01-01"}
    expected = [{"task": task.pk, "title": "Pay"} | values for values in (moved, assigned, overdue)]
    assert [{name: line[name] for name in expected[0]} for line in lines] == expected
    assert [line["id"] for line in lines] == delivery_ids()
    assert lines[1]["text"] == "ada assigned bob to \u2068Pay\u2069"
    events = Event.objects.exclude(kind="task_unassigned").order_by("pk")  # task_assigned says it
    logged_at = [datetime.fromisoformat(line["at"]) for line in lines]
    assert logged_at == list(events.values_list("created_at", flat=True))


@pytest.mark.parametrize(
    "title",
    [
        "x\nINFO 2026-01-01 Task 'pay' assigned to admin",
        'x"}\n{"event":"task_assigned","task":1}',
        'quotes " and \\ and \\u0022',
        "\r\n\t\x1b[2J\x7f\x0b\x0c\x08",
        "U+2028 \u2028 U+2029 \u2029 U+0085 \x85",
        "\x9b31m \u202e gnp.exe",
        "Größe 支払い 😀 👩\u200d👧",
    ],
    ids=ascii,
)
def test_any_title_is_one_line_of_valid_json(complete, notification_log, title):
    complete(title)

    (line,) = log_entries()
    written = notification_log.read_text()
    assert (line["title"], line["text"]) == (title, f"ada completed \u2068{one_line(title)}\u2069")
    assert written.endswith("}\n")
    assert [letter for letter in written[:-1] if category(letter) == "Cc"] == []  # terminals execute some of them


def test_without_a_file_ascii_lines_go_to_standard_output(complete, settings, monkeypatch):
    settings.NOTIFICATION_LOG = ""
    output = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(output, encoding="ascii"))

    complete("Größe\nnow")

    (line,) = output.getvalue().splitlines()
    assert (json.loads(line)["title"], states()) == ("Größe\nnow", ["sent"])


def test_events_of_deleted_and_unassigned_tasks_are_logged(ada, create_task):
    task = create_task()
    change(task, by=ada, status="completed")
    ada.delete(f"/task/tasks/{task.pk}/")

    deliver_all()

    events = [(line["event"], line["task"]) for line in log_entries()]
    assert events == [("task_status_changed", task.pk), ("task_deleted", task.pk)]


# Rotation


def test_a_full_file_is_rotated_and_five_are_kept(path, monkeypatch):
    monkeypatch.setattr(log, "MAX_FILE_BYTES", 20)
    for number in range(20):
        log.append(path, b'{"id": %d}\n' % number)  # one or two to a file

    kept = sorted(file.name for file in path.parent.iterdir() if file.suffix != ".lock")
    assert kept == ["notifications.log", *(f"notifications.log.{number}" for number in range(1, 6))]
    assert all(file.stat().st_size <= 20 for file in path.parent.iterdir())
    assert ids(path.with_name("notifications.log.1"), path) == [18, 19]


def test_a_line_that_just_fits_does_not_rotate(path, monkeypatch):
    monkeypatch.setattr(log, "MAX_FILE_BYTES", 20)
    for _ in range(2):
        log.append(path, b'{"id": 1}\n')

    assert path.stat().st_size == 20
    assert not path.with_name("notifications.log.1").exists()


def test_concurrent_rotation_loses_no_line(path):
    assert run("-c", WRITERS, path)[0] == 0

    files = [file for file in path.parent.iterdir() if file.suffix != ".lock"]
    assert sorted(ids(*files)) == list(range(PROCESSES * LINES))
    assert all(file.stat().st_size <= MAX_BYTES for file in files)
    assert all(file.stat().st_size > MAX_BYTES - 20 for file in files if file != path)


# Disk errors


def test_a_missing_folder_delays_lines_and_loses_none(ada, task, path):
    path.parent.rmdir()
    for status in ("in_progress", "completed"):
        change(task, by=ada, status=status)
    deliver_all()
    assert states() == ["planned", "planned"]
    assert "FileNotFoundError" in Delivery.objects.first().reason

    path.parent.mkdir()
    advance_time(seconds=11)
    deliver_all()

    assert [line["to"] for line in log_entries()] == ["in_progress", "completed"]
    assert states() == ["sent", "sent"]


def test_a_log_that_is_not_a_file_is_retried(complete, path, caplog):
    path.mkdir()

    complete("Pay")

    assert states() == ["planned"]
    assert "IsADirectoryError" in Delivery.objects.get().reason
    assert caplog.messages == []  # the ledger has the reason; a traceback would add nothing


def test_a_partial_line_is_removed_and_written_again(path):
    assert run("-c", FULL_DISK, path) == (0, "File too large\n", "")

    assert ids(path) == [1, 2]
