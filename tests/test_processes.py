"""Killed processes are restarted, and a stopped stack leaves nothing behind."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from stack.orphans import is_alive
from stack.programs import NICENESS
from tests.local_stack import HANG_SECONDS, ROOT, eventually, interrupt

PROGRAMS = ["postgres", "user-service", "task-service", "user-worker", "task-worker", "gateway"]


@pytest.fixture(scope="module")
def kept(request):
    """A stack whose processes are killed; it recovers before the next test."""
    stack = request.getfixturevalue("stack")
    assert stack.is_healthy()
    return stack


def test_the_user_service_has_a_lower_priority_than_the_others(kept):
    """A storm of logins gives way to the reads."""
    own = kept.leader("gateway").nice()
    leader = kept.leader("user-service")

    assert kept.leader("task-service").nice() == own
    assert {each.nice() for each in [leader, *leader.children()]} == {min(own + NICENESS["user_service"], 19)}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_killed_program_restarts_and_leaves_no_orphans(kept, program):
    victim = kept.leader(program)
    family = [victim, *victim.children(recursive=True)]

    victim.kill()

    def is_back():
        return (
            not any(is_alive(member) for member in family)
            and has_restarted(kept, program, victim)
            and kept.is_healthy()
        )

    eventually(is_back)


def has_restarted(stack, program, victim):
    try:
        return stack.leader(program) != victim
    except psutil.NoSuchProcess:  # the record still has the killed process
        return False


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_killed_child_process_is_replaced(kept, program):
    parent = kept.leader(program)
    family = [parent, *parent.children()]
    victim = family[-1]  # for PostgreSQL, the newest backend

    victim.kill()

    def is_back():
        return not is_alive(victim) and kept.is_healthy()

    eventually(is_back)


@pytest.mark.parametrize("is_all_killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_new_start_takes_over_from_a_killed_stack(own_stack, is_all_killed):
    own_stack.start()
    alice_id = own_stack.register("alice")
    orphans = own_stack.processes()

    own_stack.supervisor().kill()
    for process in orphans if is_all_killed else []:
        process.kill()
    own_stack.start()

    account = own_stack.call("GET", f"/user/users/{alice_id}/", token=own_stack.admin_token())
    assert account.json()["username"] == "alice"
    assert not [process for process in orphans if is_alive(process)]


@pytest.fixture
def foreground_run(own_stack):
    """Start the stack in the foreground and wait for its banner."""
    front = start_in_foreground(own_stack)
    assert any("Ctrl-C" in line for line in iter(front.stdout.readline, ""))
    assert own_stack.is_healthy()
    yield front
    front.stdout.close()


def start_in_foreground(stack, **changed):
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "run"],
        env=stack.environment(**changed),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_ctrl_c_leaves_no_process_behind(own_stack, foreground_run):
    interrupt(foreground_run)

    assert own_stack.processes() == []


def test_ctrl_c_during_the_banner_leaves_no_process_behind(own_stack):
    interrupted = "run.banner = lambda *_, **__: signal.raise_signal(signal.SIGINT)"
    program = [sys.executable, "-c", f"import signal; from stack import run; {interrupted}; run.main()"]
    subprocess.run(program, cwd=ROOT / "scripts", env=own_stack.environment(), check=True)

    assert own_stack.processes() == []


@pytest.mark.slow
def test_a_foreground_run_reports_a_killed_supervisor(own_stack, foreground_run):
    own_stack.supervisor().kill()

    assert foreground_run.wait(HANG_SECONDS) == 1
    assert foreground_run.stdout.read().strip().startswith("scripts/run: The supervisor stopped unexpectedly")
    assert own_stack.processes() == []


@pytest.mark.parametrize(
    ("number", "seconds"),
    [
        (signal.SIGINT, 0.1),
        pytest.param(signal.SIGTERM, 0, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 0.5, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 1.5, marks=pytest.mark.slow),
    ],
)
def test_a_signal_during_the_start_leaves_no_process_behind(own_stack, number, seconds):
    front = start_in_foreground(own_stack)
    eventually(lambda: (own_stack.folder / "programs.json").is_file())
    time.sleep(seconds)  # during the supervisor's start, PostgreSQL's start, the migrations, or the health check

    interrupt(front, number)
    front.stdout.close()

    assert own_stack.processes() == []
