"""scripts/faults: the stack survives all faults, and nothing is left behind."""

import re
import shutil
import signal
import time

import pytest

from tests.lab.catalogue import FAULTS
from tests.local_stack import ROOT, eventually, leftovers, new_folder, start_script

NAMES = [fault.name for fault in FAULTS]
PATIENCE = "--patience=20"  # what is lost or wrong does not depend on the machine's speed; when it is served again does
QUICK = {"database-kill", "web-kills", "crash", "flood"}


@pytest.fixture(scope="module")
def tried(request):
    """Run the selected faults on one stack; return the output, the exit status, and what is left behind."""
    selected = {item.callspec.params["name"] for item in request.session.items if "the_fault[" in item.name}
    folder = new_folder()
    faults = start_script("faults", folder, PATIENCE, "--seconds=1", *(name for name in NAMES if name in selected))
    output, _ = faults.communicate()
    yield output, faults.returncode, leftovers(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in NAMES]
)
def test_the_stack_survives_the_fault(tried, name):
    assert_survived(name, tried[0])


def assert_survived(name, output):
    said = re.search(rf"^{name}: .*(\n  .*)*", output, re.MULTILINE)
    assert said, output
    assert re.match(rf"{name}: (?!NOT SURVIVED).+, [1-9][0-9,]* requests, (.+, )?0 lost, ", said.group()), output


def test_the_exit_status_is_the_verdict_and_nothing_remains(tried):
    output, status, left = tried

    assert bool(status) == ("NOT SURVIVED" in output)
    assert left == ([], [])


@pytest.mark.slow
def test_nothing_is_lost_in_50_kills(temporary):
    faults = start_script("faults", temporary, PATIENCE, "--all", "crash")

    output, _ = faults.communicate()

    assert_survived("crash", output)
    assert re.search(r"^crash: [5-9]\d kills, .* [1-9]\d* mails, [1-9]\d* log lines, ", output, re.MULTILINE), output


def test_the_faults_page_lists_every_fault():
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)

    assert listed == NAMES


def test_an_unknown_fault_is_refused(tmp_path):
    refused = start_script("faults", tmp_path, "earthquake")
    output, _ = refused.communicate()

    assert refused.returncode == 2
    assert "there is no fault earthquake; choose from database-restart, " in output


def test_list_names_the_faults_and_starts_nothing(tmp_path):
    listing = start_script("faults", tmp_path, "--list")
    output, _ = listing.communicate()

    assert (listing.returncode, output.splitlines()) == (0, NAMES)


def test_ctrl_c_during_the_start_leaves_nothing_behind(temporary):
    faults = start_script("faults", temporary)
    eventually(lambda: list(temporary.glob("*/secrets.json")))

    assert_stopped(faults, signal.SIGINT, temporary)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), [("database-slow", signal.SIGINT), ("crash", signal.SIGTERM)])
def test_a_signal_during_a_fault_leaves_nothing_behind(temporary, name, number):
    faults = start_script("faults", temporary, name)
    beginning = [faults.stdout.readline() for _ in range(2)]
    assert re.match(r"Starting a stack \.\.\. \d", beginning[-1])
    time.sleep(3)  # the database is moving, the stack is restarting, or the load is running

    assert_stopped(faults, number, temporary)


def assert_stopped(faults, number, temporary):
    faults.send_signal(number)
    output, _ = faults.communicate()

    assert faults.returncode == 1
    assert output.endswith("\nStopped.\n")
    assert leftovers(temporary) == ([], [])
