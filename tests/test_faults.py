"""scripts/faults: the stack survives what it must, and it would be noticed if it did not."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread

import pytest

from stack.faults import judge
from stack.faults.catalogue import FAULTS
from stack.faults.client import Answer, Attempt
from stack.faults.judge import Demands, Evidence
from stack.faults.load import Changed, Made, Window
from stack.faults.proxy import Toxic, listening
from tests.local_stack import ROOT, LocalStack, environment, new_folder

NAMES = [fault.name for fault in FAULTS]
# RACE_ROUNDS in the environment asks for what every day's run has no time for.
IS_THOROUGH = "RACE_ROUNDS" in os.environ
TRIED = NAMES if IS_THOROUGH else ["database-kill", "web-kills", "flood"]
OPTIONS = [] if IS_THOROUGH else ["--seconds=1", *TRIED]


@pytest.fixture(scope="module")
def tried():
    """The faults, injected into one stack one after the other: what was said, the exit status, and what was left."""
    folder = new_folder()
    faults = begin(folder, *OPTIONS)
    output, _ = faults.communicate()
    yield output, faults.returncode, left_behind(folder)
    shutil.rmtree(folder)


def begin(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "faults", *arguments],
        env=environment(TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_behind(folder):
    return LocalStack(folder=folder, port=0).processes(), list(folder.iterdir())


@pytest.mark.parametrize("name", TRIED)
def test_a_fault_is_survived(tried, name):
    output, _, _ = tried

    said = re.search(rf"^{name}: .*(\n  .*)*", output, re.MULTILINE)

    assert said, output
    assert re.match(rf"{name}: (?!NOT SURVIVED).+, [1-9][0-9,]* requests, (.+, )?0 lost, ", said.group()), said.group()


def test_its_exit_status_tells_whether_all_was_survived_and_nothing_is_left_behind(tried):
    output, status, left = tried

    assert bool(status) == ("NOT SURVIVED" in output)
    assert left == ([], [])


def test_the_page_about_faults_tells_of_each():
    told = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)

    assert told == NAMES


def test_an_unknown_fault_is_refused_by_name(tmp_path):
    refused = begin(tmp_path, "earthquake")
    output, _ = refused.communicate()

    assert refused.returncode == 2
    assert "there is no fault earthquake; choose from database-restart, " in output


def test_list_names_the_faults_and_starts_nothing(tmp_path):
    listing = begin(tmp_path, "--list")
    output, _ = listing.communicate()

    assert (listing.returncode, output.splitlines()) == (0, NAMES)


@pytest.mark.thorough
def test_ctrl_c_in_the_middle_leaves_nothing_behind():
    folder = new_folder()
    faults = begin(folder, "database-slow")
    beginning = [faults.stdout.readline() for _ in range(2)]
    assert beginning[-1].startswith("Starting a stack ...")
    time.sleep(3)  # the database moves, or the load has begun

    faults.send_signal(signal.SIGINT)
    output, _ = faults.communicate()

    assert faults.returncode == 1
    assert output.endswith("\nStopped.\n")
    assert left_behind(folder) == ([], [])
    folder.rmdir()


# What the judge notices


def attempt(begun_at=10.0, status=200, *, kind="read tasks", seconds=0.1, is_repeated=False, **of_the_answer):
    answer = Answer(status, {}, **of_the_answer)
    return Attempt("x-1", kind, "GET", "/task/tasks/", begun_at, seconds, answer, is_repeated=is_repeated)


def away(begun_at=10.5, status=503, **changed):
    """An answer that is allowed while something is wrong."""
    common = {"code": "service_unavailable", "retry_after": "2", "content_type": "application/problem+json"}
    return attempt(begun_at, status, **common | changed)


def history(version, field=None, to=None):
    return {"version": version, "field": field, "to": to}


def told(number, kind, **changed):
    return {"id": number, "channel": "log", "kind": kind, "state": "sent", "reason": None} | changed


def stored(task_id, title, **changed):
    first = {"status": "todo", "priority": "normal", "description": "", "version": 1}
    return {"id": task_id, "title": title} | first | changed


# Something was wrong from 10 to 11. Task 7 was begun, then described; task 8 was made at the second request.
SERVED = [attempt(begun_at, kind=kind) for begun_at in (9.0, 11.5) for kind in judge.KINDS]
HISTORY = [
    history(1),
    history(1, "assigned_to", 2),
    history(2, "status", "in_progress"),
    history(3, "description", "Slowly"),
]
LEDGER = [told(1, "task_assigned"), told(2, "task_status_changed", state="planned")]
ALL_WELL = Evidence(
    attempts=[*SERVED, away(), away(begun_at=11.2)],
    windows=[Window(10, 11)],
    made=[Made("key-1", "One", 2, task_id=7), Made("key-2", "Two", 2, task_id=8, requests=2)],
    changed=[Changed(7, 2, {"status": "in_progress"}), Changed(7, 3, {"description": "Slowly"})],
    contradictions=[],
    stored=[stored(7, "One", status="in_progress", description="Slowly", version=3), stored(8, "Two")],
    activity={7: HISTORY},
    ledger={7: LEDGER},
)


def breaches(changed, demands=None):
    return list(judge.breaches(replace(ALL_WELL, **changed), demands or Demands()))


def test_it_finds_nothing_where_all_is_well():
    assert breaches({}) == []
    assert ALL_WELL.back_after_seconds() == pytest.approx(0.2)


def test_it_is_no_breach_to_do_what_was_not_acknowledged():
    made = [Made("key-1", "One", 2), *ALL_WELL.made[1:]]

    assert breaches({"made": made, "changed": []}) == []


def test_a_value_that_was_there_already_needs_no_line_in_the_history():
    assert breaches({"changed": [Changed(7, 3, {"status": "in_progress", "priority": "normal"})]}) == []


def test_whoever_repeats_a_request_may_hear_that_the_first_is_still_running():
    twin = away(status=409, code="idempotency_key_in_use", is_repeated=True)

    assert breaches({"attempts": [*SERVED, twin]}) == []
    assert breaches({"attempts": [*SERVED, replace(twin, is_repeated=False)]}) != []


def test_as_many_as_were_under_way_may_be_cut_off_where_that_is_the_fault():
    cut_off = [attempt(10.5, status=0, code="RemoteDisconnected")] * 4

    assert breaches({"attempts": [*SERVED, *cut_off]}, Demands(may_cut_off=True)) == []
    assert len(breaches({"attempts": [*SERVED, *cut_off]})) == 4


SHOWN = "GET /task/tasks/ [x-1] got"
BREACHES = {
    "an acknowledged task that is not stored": (
        {"stored": ALL_WELL.stored[:1]},
        "task 8 was acknowledged to key-2 and is not stored",
    ),
    "an acknowledged task that is another one": (
        {"stored": [*ALL_WELL.stored[:1], stored(8, "Three")]},
        "task 8 was acknowledged to key-2 and is not stored",
    ),
    "an acknowledged change that is not in the history": (
        {"changed": [Changed(7, 4, {"status": "completed"})]},
        "status='completed' of task 7 was acknowledged as version 4 and is not in its history",
    ),
    "an acknowledged change to something else": (
        {"changed": [Changed(7, 2, {"status": "completed"})]},
        "status='completed' of task 7 was acknowledged as version 2 and is not in its history",
    ),
    "a change of a task of which nothing is known": (
        {"changed": [Changed(9, 1, {"status": "todo"})]},
        "status='todo' of task 9 was acknowledged as version 1 and is not in its history",
    ),
    "a key that made two tasks": (
        {"stored": [*ALL_WELL.stored, stored(9, "Two")]},
        "key-2 has made the tasks [8, 9]",
    ),
    "a version that went back": (
        {"contradictions": ["task 7 was read at version 2 after 3 was acknowledged"]},
        "task 7 was read at version 2 after 3 was acknowledged",
    ),
    "a version without a line in the history": (
        {"activity": {7: [*HISTORY[:2], HISTORY[3]]}, "changed": [], "ledger": {7: LEDGER[:1]}},
        "task 7 is at version 3, its history knows [1, 3]",
    ),
    "a history that ends otherwise than the task": (
        {"stored": [stored(7, "One", status="todo", description="Slowly", version=3), ALL_WELL.stored[1]]},
        "status of task 7 is 'todo', by its history 'in_progress'",
    ),
    "a history of a task that is gone": (
        {"activity": {**ALL_WELL.activity, 9: HISTORY}},
        "task 9 has a history and is not stored",
    ),
    "a change of status that nobody is told of": (
        {"ledger": {7: LEDGER[:1]}},
        "1 changes of status of task 7 are 0 times in the ledger",
    ),
    "a change of status that is told of twice": (
        {"ledger": {7: [*LEDGER, told(3, "task_status_changed")]}},
        "1 changes of status of task 7 are 2 times in the ledger",
    ),
    "an assignment that nobody is told of": (
        {"ledger": {7: LEDGER[1:]}},
        "1 changes of assigned_to of task 7 are 0 times in the ledger",
    ),
    "a notification that was dead-lettered": (
        {"ledger": {7: [told(1, "task_assigned", state="failed", reason="no room"), LEDGER[1]]}},
        "notification 1 of task 7 is failed: no room",
    ),
    "a 500": (
        {"attempts": [*SERVED, away(status=500, code="server_error")]},
        f"{SHOWN} 500 server_error after 0.10 s",
    ),
    "a 401": (
        {"attempts": [*SERVED, away(status=401, code="token_invalid")]},
        f"{SHOWN} 401 token_invalid after 0.10 s",
    ),
    "a 503 that does not say when to come again": (
        {"attempts": [*SERVED, away(retry_after="")]},
        f"{SHOWN} 503 service_unavailable after 0.10 s, without Retry-After",
    ),
    "a 502 in HTML": (
        {"attempts": [*SERVED, away(status=502, code="", content_type="text/html")]},
        f"{SHOWN} 502 after 0.10 s, as text/html",
    ),
    "no answer": (
        {"attempts": [*SERVED, attempt(10.5, status=0, code="ConnectionResetError")]},
        f"{SHOWN} nothing (ConnectionResetError) after 0.10 s",
    ),
    "an answer that took too long": (
        {"attempts": [*SERVED, attempt(9.5, seconds=10.5)]},
        f"{SHOWN} 200 after 10.50 s, later than 10 s",
    ),
    "a failure before anything was wrong": (
        {"attempts": [*SERVED, away(begun_at=9.0)]},
        f"{SHOWN} 503 service_unavailable after 0.10 s, while nothing was wrong",
    ),
    "a failure long after": (
        {"attempts": [*SERVED, away(begun_at=16.5)]},
        f"{SHOWN} 503 service_unavailable after 0.10 s, 5.5 s after the end of the fault",
    ),
    "a service that does not come back": (
        {"attempts": [it for it in SERVED if it.kind != "change tasks" or it.begun_at < 11]},
        "nobody could change tasks after the end of the fault",
    ),
}


@pytest.mark.parametrize(("changed", "breach"), BREACHES.values(), ids=BREACHES)
def test_the_judge_names_what_is_wrong(changed, breach):
    assert breach in breaches(changed)


@pytest.mark.parametrize(
    ("demands", "attempts", "breach"),
    [
        (Demands(most_failed=0), [away()], "1 requests failed, where 0 may; the first: "),
        (Demands(most_failed=1), [away(status=502)] * 2, "2 requests failed, where 1 may; the first: "),
        (Demands(may_cut_off=True), [attempt(status=0)] * 5, "5 requests went unanswered, where 4 can have been under"),
        (Demands(recovery_seconds=0.1), [away(begun_at=11.2)], f"{SHOWN} 503 service_unavailable after 0.10 s, 0.2 s"),
        (Demands(longest_seconds=0.05), [], f"{SHOWN} 200 after 0.10 s, later than 0.05 s"),
    ],
)
def test_the_judge_holds_to_what_a_fault_demands(demands, attempts, breach):
    found = breaches({"attempts": [*SERVED, *attempts]}, demands)

    assert any(text.startswith(breach) for text in found), found


# The proxy


@contextmanager
def echo():
    """A server that sends back what it gets, on the port given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, args=[listener], daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def serve(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # the test is over
            return
        Thread(target=send_back, args=[connection], daemon=True).start()


def send_back(connection):
    with connection:
        while data := connection.recv(1000):
            connection.sendall(data)


@pytest.fixture
def between():
    """A proxy before such a server, and a connection through it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        echo() as target,
        listening(port, lambda: target) as proxy,
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
    ):
        yield proxy, connection, port


def ask(connection, text=b"hello"):
    """Return how many seconds the echo took."""
    began = time.monotonic()
    connection.sendall(text)
    assert connection.recv(1000) == text
    return time.monotonic() - began


def test_the_proxy_passes_everything_on(between):
    _, connection, _ = between

    assert ask(connection) < 0.4
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1000) == b""


def test_a_silent_proxy_accepts_and_passes_on_nothing_until_it_is_well(between):
    proxy, connection, port = between
    proxy.become(Toxic.SILENT)

    connection.sendall(b"hello")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as second:
        second.sendall(b"hello")
        for each in (connection, second):
            each.settimeout(0.2)
            with pytest.raises(TimeoutError):
                each.recv(1000)
            each.settimeout(5)
        proxy.become(Toxic.PASS)

        assert [each.recv(1000) for each in (connection, second)] == [b"hello", b"hello"]


def test_a_slow_proxy_delays_each_answer_once(between):
    proxy, connection, _ = between
    proxy.become(Toxic.LATENCY)

    assert 0.5 <= ask(connection) < 0.9
    proxy.become(Toxic.PASS)
    assert ask(connection) < 0.4


def test_a_cutting_proxy_ends_what_is_open_and_lets_nobody_in(between):
    proxy, connection, port = between
    ask(connection)

    proxy.become(Toxic.CUT)

    assert is_cut_off(connection)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as another:
        assert is_cut_off(another)


def is_cut_off(connection):
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True
