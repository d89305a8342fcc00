"""A fresh checkout on a machine with only Python: as a plain user, in a folder closed to others, with a bare PATH."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import examples
from tests.local_stack import HANG_SECONDS, ROOT, LocalStack, copy_checkout, environment, new_folder, tracked_files

ANSWERED = [(number, block) for number, block in enumerate(examples.blocks()) if block.answer]
SECONDS_PER_DAY = 24 * 60 * 60
NEAR_MIDNIGHT_SECONDS = 200


@pytest.fixture(scope="module")
def checkout():
    """Copy the tracked files, close the folder to others, paste the README and the API tour there, stop the stack."""
    stack = LocalStack(root=new_folder() / "TM Service 100%")  # a path that needs quoting
    copy_checkout(stack.root)
    for path in [stack.root, *stack.root.rglob("*")]:
        shutil.chown(path, *plain_user()[:2])
    stack.root.chmod(0o700)
    wait_out_midnight()
    lines = examples.script(stack.port)
    pasted = as_plain_user(stack, ["timeout", str(4 * HANG_SECONDS), "bash", "-c", lines])
    yield stack, pasted.stdout
    as_plain_user(stack, ["scripts/stop"])
    shutil.rmtree(stack.root.parent)
    shutil.rmtree(stack.folder)


def wait_out_midnight():
    """Due dates in the sample data are relative to the day it was loaded."""
    left = SECONDS_PER_DAY - time.time() % SECONDS_PER_DAY
    if left < NEAR_MIDNIGHT_SECONDS:
        time.sleep(left)


def plain_user():
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    return user.pw_uid, user.pw_gid


def as_plain_user(stack, argv):
    """Run a command in the checkout. Output goes to a file, since processes left running must not hold the pipe."""
    uid, gid = plain_user()
    identity = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    settings = environment(PATH=bare_path(), HOME=str(stack.root), GATEWAY_PORT=str(stack.port), TMPDIR="/tmp")
    settings = {name: value for name, value in settings.items() if not name.startswith("THROTTLE_")}
    output = stack.folder / "output"
    with output.open("w") as stream:
        done = subprocess.run(
            argv, cwd=stack.root, env=settings, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, **identity
        )
    return subprocess.CompletedProcess(argv, done.returncode, output.read_text())


def bare_path():
    """Return the PATH of a fresh machine, with this Python in front if the system's is too old."""
    enough = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    has_python = shutil.which("python3", path="/usr/bin:/bin")
    if has_python and subprocess.run([has_python, "-c", enough], capture_output=True).returncode == 0:
        return "/usr/bin:/bin"
    return f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"


def test_it_installs_starts_and_shows_its_progress(checkout):
    stack, pasted = checkout

    assert stack.is_healthy(), pasted
    for progress in ("Creating the virtual environment", "packages into .venv (once)", "PostgreSQL cluster"):
        assert progress in pasted
    assert (stack.root / "var" / "postgres" / "PG_VERSION").is_file()


def test_it_leaves_nothing_in_git_status(checkout):
    stack, _ = checkout
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if not line.startswith("#")}

    top = {path.name for path in stack.root.iterdir()}

    assert top - {name.split("/")[0] for name in tracked_files()} <= ignored | {".cache"}


def test_the_first_task_takes_less_than_three_minutes(checkout):
    """In CPU time: the time of the clock depends on what else the machine does, and on the network."""
    _, pasted = checkout
    first_answer, _ = ANSWERED[0]

    made = examples.read(pasted)[first_answer]

    assert json.loads(made.text)["id"] == 1
    assert 0 < made.cpu_seconds < 180


@pytest.mark.parametrize(("number", "block"), ANSWERED, ids=[block.place for _, block in ANSWERED])
def test_commands_print_the_documented_responses(checkout, number, block):
    _, pasted = checkout

    printed = examples.read(pasted)[number].text

    assert examples.normal(block.kind, printed) == examples.normal(block.kind, block.answer)


@pytest.mark.parametrize("service", ["user", "task"])
def test_the_docs_have_an_example_of_every_operation(checkout, service):
    stack, _ = checkout
    document = stack.call("GET", f"/{service}/swagger.json").json()

    calls = [(name.upper(), path) for path, item in document["paths"].items() for name in item if name != "parameters"]

    assert calls
    assert [f"{method} {path}" for method, path in calls if not examples.has_sample(method, path)] == []
