"""A fresh checkout on a machine with only Python: as a plain user, in a folder closed to others, with a bare PATH."""

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local_stack import ROOT, LocalStack, environment, new_folder

FENCE = re.compile(r"^```(sh|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIVIDER = "-- next --"


@pytest.fixture(scope="module")
def checkout():
    """Copy what git knows, own it, close it, start the stack in it as it is, and stop it at the end."""
    stack = LocalStack(root=new_folder() / "TM Service 100%")  # a path with what needs quoting
    for name in tracked_files():
        target = stack.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    for path in [stack.root, *stack.root.rglob("*")]:
        shutil.chown(path, *plain_user()[:2])
    stack.root.chmod(0o700)
    started = as_plain_user(stack, ["scripts/run", "--detach"])
    assert started.returncode == 0, started.stdout
    yield stack, started.stdout
    as_plain_user(stack, ["scripts/stop"])
    shutil.rmtree(stack.root.parent)
    shutil.rmtree(stack.folder)


def tracked_files():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def plain_user():
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    return user.pw_uid, user.pw_gid


def as_plain_user(stack, argv):
    """Run a command in the checkout. Output goes to a file, since what it leaves running must not hold our pipe."""
    uid, gid = plain_user()
    identity = {"user": uid, "group": gid, "extra_groups": []} if os.geteuid() == 0 else {}
    settings = environment(PATH=bare_path(), HOME=str(stack.root), GATEWAY_PORT=str(stack.port), TMPDIR="/tmp")
    output = stack.folder / "output"
    with output.open("w") as stream:
        done = subprocess.run(
            argv, cwd=stack.root, env=settings, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, **identity
        )
    return subprocess.CompletedProcess(argv, done.returncode, output.read_text())


def bare_path():
    """Return the PATH of a fresh machine; where its own Python is too old for us, with this one in front."""
    enough = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
    has_python = shutil.which("python3", path="/usr/bin:/bin")
    if has_python and subprocess.run([has_python, "-c", enough], capture_output=True).returncode == 0:
        return "/usr/bin:/bin"
    return f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"


def test_it_installs_starts_and_shows_its_progress(checkout):
    stack, output = checkout

    assert stack.is_healthy()
    for progress in ("Making the virtual environment", "packages into .venv, this once", "PostgreSQL cluster"):
        assert progress in output
    assert (stack.root / "var" / "postgres" / "PG_VERSION").is_file()


def test_it_leaves_nothing_that_git_would_see(checkout):
    stack, _ = checkout
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split() if not line.startswith("#")}

    top = {path.name for path in stack.root.iterdir()}

    assert top - {name.split("/")[0] for name in tracked_files()} <= ignored | {".cache"}


def test_the_lines_of_the_readme_work_as_pasted(checkout):
    stack, _ = checkout
    readme = (ROOT / "README.md").read_text()
    blocks = FENCE.findall(readme[readme.index("## Quick start") : readme.index("## What it answers")])
    commands = [text for kind, text in blocks if kind == "sh"]
    expected = [text for kind, text in blocks if kind == "json"]
    assert sum(text.count("curl ") for text in commands) == 5

    script = f"\necho; echo '{DIVIDER}'\n".join(commands).replace("localhost:8080", f"localhost:{stack.port}")
    printed = as_plain_user(stack, ["bash", "-euc", script]).stdout.split(DIVIDER)

    assert [without_instants(text) for text in printed] == [without_instants(text) for text in expected]


def without_instants(text):
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "INSTANT", text.strip())
