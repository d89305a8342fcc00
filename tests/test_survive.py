"""scripts/survive: nothing is lost while processes are killed, and it would be noticed."""

import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from email.message import EmailMessage

import pytest

from tests.lab import smtp_sink, verdict
from tests.lab.gateway import Change
from tests.lab.smtp_sink import Mail
from tests.lab.verdict import Evidence
from tests.local_stack import ROOT, LocalStack, environment, eventually, new_folder

# RACE_ROUNDS in the environment asks for what every day's run has no time for.
KILLS, OPTIONS = (200, []) if "RACE_ROUNDS" in os.environ else (5, ["--hurry"])


@pytest.fixture
def temporary():
    """The folder for temporary files: the command makes one of its own in it for its stack."""
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


def begin(temporary, *arguments):
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "survive", *arguments],
        env=environment(TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_behind(temporary):
    return LocalStack(folder=temporary, port=0).processes(), list(temporary.iterdir())


def test_nothing_is_lost_when_processes_are_killed_under_load(temporary):
    survive = begin(temporary, f"--kills={KILLS}", *OPTIONS)

    output, _ = survive.communicate()

    assert survive.returncode == 0, output
    closing = rf"Nothing lost in {KILLS} kills: [1-9]\d* changes acknowledged, [1-9]\d* mails and [1-9]\d* log lines, "
    assert re.match(closing, output.splitlines()[-1]), output
    assert left_behind(temporary) == ([], [])


def test_ctrl_c_while_it_starts_leaves_nothing_behind(temporary):
    survive = begin(temporary)
    eventually(lambda: list(temporary.glob("*/secrets.json")), seconds=30)

    survive.send_signal(signal.SIGINT)
    output, _ = survive.communicate()

    assert survive.returncode == 1
    assert output.endswith("\nStopped.\n")
    assert left_behind(temporary) == ([], [])


@pytest.mark.thorough
def test_its_end_in_the_middle_leaves_nothing_behind(temporary):
    survive = begin(temporary, "--kills=20")
    beginning = [survive.stdout.readline() for _ in range(3)]
    assert beginning[-1].startswith("Making people and tasks ...")

    survive.send_signal(signal.SIGTERM)
    output, _ = survive.communicate()

    assert (survive.returncode, output) == (1, "\nStopped.\n")
    assert left_behind(temporary) == ([], [])


# What the verdict notices


def row(number, channel, kind, **changed):
    recipient = {"id": 2, "username": "alice"} if channel == "email" else None
    common = {"id": number, "message_id": number, "channel": channel, "kind": kind, "recipient": recipient}
    return common | {"state": "sent", "attempts": 2, "reason": None} | changed


def line(number, **changed):
    return json.dumps({"id": number, "event": "task_status_changed", "task": 7} | changed)


def activity(version, **changed):
    return {"version": version, "field": "status"} | changed


def mail(number, **changed):
    facts = {"message_id": f"<notification-{number}.0123456789abcdef@tmservice.invalid>", "to": "alice@example.com"}
    return Mail(**facts | {"event": "task_status_changed"} | changed)


# Task 7 was assigned to Alice, begun and completed.
LEDGER = [
    row(6, "email", "task_status_changed"),
    row(5, "log", "task_status_changed"),
    row(4, "email", "task_status_changed"),
    row(3, "log", "task_status_changed"),
    row(2, "email", "task_assigned"),
    row(1, "log", "task_assigned"),
]
ACTIVITY = [
    activity(3, to="completed"),
    activity(2, to="in_progress"),
    activity(1, field="assigned_to", to=2),
    activity(1, field=None, to=None),
]
MAILS = [mail(2, event="task_assigned"), mail(4), mail(6)]
LOG = [line(1, event="task_assigned", to=2), line(3, to="in_progress"), line(5, to="completed")]
ALL_WELL = Evidence(
    acknowledged=[Change(7, 2, "in_progress"), Change(7, 3, "completed")],
    activity={7: ACTIVITY},
    ledger={7: LEDGER},
    mails=MAILS,
    log=LOG,
    worker_kills=1,
)


def test_it_finds_no_fault_where_all_is_well():
    assert list(verdict.faults(ALL_WELL)) == []


def test_a_copy_for_each_kill_of_the_worker_and_channel_is_no_fault():
    evidence = replace(ALL_WELL, mails=[*MAILS, MAILS[1]], log=[*LOG, LOG[2]])

    assert list(verdict.faults(evidence)) == []
    assert evidence.copies() == 2


def test_a_mail_that_tells_of_several_events_is_no_fault():
    ledger = [row(6, "email", "task_status_changed", message_id=2), *LEDGER[1:]]
    mails = [mail(2, event="task_assigned, task_status_changed"), mail(4)]

    assert list(verdict.faults(replace(ALL_WELL, ledger={7: ledger}, mails=mails))) == []


def test_a_change_that_was_made_without_being_acknowledged_is_no_fault():
    assert list(verdict.faults(replace(ALL_WELL, acknowledged=[]))) == []


FAULTS = {
    "an acknowledged change that is not stored": (
        {"acknowledged": [Change(7, 4, "todo")]},
        "version 4 of task 7 was acknowledged and is not in its activity",
    ),
    "an acknowledged change to something else": (
        {"acknowledged": [Change(7, 3, "todo")]},
        "version 3 of task 7 was acknowledged and is not in its activity",
    ),
    "a change that was never told of": (
        {"ledger": {7: LEDGER[2:]}, "mails": MAILS[:2], "log": LOG[:2]},
        "2 changes of task 7 went into the ledger as {'email': 1, 'log': 1}",
    ),
    "a change that was told of by one channel only": (
        {"ledger": {7: LEDGER[1:]}, "mails": MAILS[:2]},
        "2 changes of task 7 went into the ledger as {'log': 2, 'email': 1}",
    ),
    "a change that was told of twice": (
        {
            "ledger": {7: [row(9, "log", "task_status_changed"), row(8, "email", "task_status_changed"), *LEDGER]},
            "mails": [*MAILS, mail(8)],
            "log": [*LOG, line(9, to="completed")],
        },
        "2 changes of task 7 went into the ledger as {'log': 3, 'email': 3}",
    ),
    "a mail that is still planned": (
        {"ledger": {7: [row(6, "email", "task_status_changed", state="planned"), *LEDGER[1:]]}, "mails": MAILS[:2]},
        "email 6 of task 7 is planned after 2 attempts: None",
    ),
    "a mail that was skipped": (
        {
            "ledger": {7: [row(6, "email", "task_status_changed", state="skipped", reason="moved"), *LEDGER[1:]]},
            "mails": MAILS[:2],
        },
        "email 6 of task 7 is skipped after 2 attempts: moved",
    ),
    "a mail that did not arrive": (
        {"mails": MAILS[:2]},
        "mail (6, 'alice@example.com', 'task_status_changed') counts as sent and has not arrived",
    ),
    "a mail to somebody else": (
        {"mails": [*MAILS[:2], mail(6, to="bob@example.com")]},
        "mail (6, 'bob@example.com', 'task_status_changed') has arrived and does not count as sent",
    ),
    "a mail about something else": (
        {"mails": [*MAILS[:2], mail(6, event="task_assigned")]},
        "mail (6, 'alice@example.com', 'task_assigned') has arrived and does not count as sent",
    ),
    "a copy with an id of its own": (
        {"mails": [*MAILS, mail(6, message_id="<17@x.test>")]},
        "mail ('<17@x.test>', 'alice@example.com', 'task_status_changed') has arrived and does not count as sent",
    ),
    "more copies of mails than kills": (
        {"mails": [*MAILS, *MAILS[:2]]},
        "2 copies of mails arrived, but the worker was killed 1 times",
    ),
    "more copies of lines than kills": (
        {"log": [*LOG, *LOG[1:]]},
        "2 copies of log lines arrived, but the worker was killed 1 times",
    ),
    "a line that was not written": (
        {"log": LOG[1:]},
        "log line (1, 7, 'task_assigned') counts as sent and has not arrived",
    ),
    "a line that nobody sent": (
        {"log": [*LOG, line(9, task=8, to="todo")]},
        "log line (9, 8, 'task_status_changed') has arrived and does not count as sent",
    ),
    "a line that broke off": (
        {"log": [*LOG, LOG[2][:30]]},
        "the log has broken lines, or copies that differ",
    ),
    "a copy that differs": (
        {"log": [*LOG, line(5, to="todo")]},
        "the log has broken lines, or copies that differ",
    ),
    "lines in another order": (
        {"log": [LOG[0], LOG[2], LOG[1]]},
        "the log does not tell of task 7 what its activity does, in that order",
    ),
    "one change told of as another": (
        {"log": [LOG[0], LOG[1], line(5, to="in_progress")]},
        "the log does not tell of task 7 what its activity does, in that order",
    ),
}


@pytest.mark.parametrize(("changed", "fault"), FAULTS.values(), ids=FAULTS)
def test_the_verdict_names_what_is_wrong(changed, fault):
    assert fault in list(verdict.faults(replace(ALL_WELL, **changed)))


# The mail server


def letter(number):
    message = EmailMessage()
    message["Message-ID"] = f"<{number}@example.com>"
    message["X-TMService-Event"] = "task_assigned"
    message.set_content("The text")
    return message


def send(sink, number):
    """Return how the sending ended: the name of an exception, or none."""
    try:
        with smtplib.SMTP(*sink.server_address) as client:
            client.send_message(letter(number), "ada@example.com", ["alice@example.com"])
    except (smtplib.SMTPException, OSError) as error:
        return type(error).__name__
    return None


def test_the_mail_server_fails_at_random_and_never_what_it_has_accepted(tmp_path):
    with smtp_sink.running(tmp_path / "mails", seed=1) as sink:
        outcomes = [send(sink, number) for number in range(80)]

    taken = [Mail(f"<{number}@example.com>", "alice@example.com", "task_assigned") for number in range(80)]
    taken = [each for each, outcome in zip(taken, outcomes, strict=True) if outcome is None]
    assert sink.accepted == taken
    assert [Mail(**json.loads(text)) for text in (tmp_path / "mails").read_text().splitlines()] == taken
    assert {"SMTPRecipientsRefused", "SMTPDataError", "SMTPServerDisconnected"} <= Counter(outcomes).keys()
    assert len(taken) > 50


def test_the_mail_server_fails_no_more_once_it_is_well(tmp_path):
    with smtp_sink.running(tmp_path / "mails", seed=1) as sink:
        before = {sink.trouble() for _ in range(1000)}
        sink.is_well = True
        after = {sink.trouble() for _ in range(1000)}

    assert before == {"451 try again later", smtp_sink.HANG_UP, None}
    assert after == {None}


def test_the_same_seed_brings_the_same_failures(tmp_path):
    runs = []
    for seed in (7, 7, 8):
        with smtp_sink.running(tmp_path / "mails", seed=seed) as sink:
            runs.append([sink.trouble() for _ in range(200)])

    assert runs[0] == runs[1] != runs[2]


def test_a_message_that_is_cut_off_is_none(tmp_path):
    with smtp_sink.running(tmp_path / "mails", seed=2) as sink:
        answers = talk(sink, b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<a@b.c>\r\nDATA\r\nSubject: x\r\n\r\nhalf a li")

    assert answers.splitlines()[-1] == "354 go on"
    assert sink.accepted == []


def talk(sink, lines):
    """Say this, hang up, and return what was answered."""
    with socket.create_connection(sink.server_address) as client:
        client.sendall(lines)
        client.shutdown(socket.SHUT_WR)
        return client.makefile().read()
