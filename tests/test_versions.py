"""The version before the newest migrations works on the current schema, alone and with the current other service.

This is why migrations expand and contract (docs/operations.md, "Migrations"): both versions run during a rollout, and
a rollback finds a schema that the old version can use.
"""

import json
import subprocess

import psutil
import pytest

from tests.local_stack import ROOT, eventually

MIGRATIONS = "*/migrations/*.py"


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def version_before():
    """Return the newest commit on the main line that lacks some current migrations.

    Commits inside a merge were never a version.
    """
    today = {
        path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/**/migrations/0*.py") if ".venv" not in path.parts
    }
    for commit in git("rev-list", "--first-parent", "HEAD").decode().split():
        then = {
            name for name in git("ls-tree", "-r", "--name-only", commit).decode().split() if "/migrations/0" in name
        }
        if then != today:
            return commit
    raise AssertionError("the history holds no version with other migrations")


@pytest.fixture(scope="module")
def old_code(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    archive = folder / "archive.tar"
    archive.write_bytes(git("archive", version_before()))
    subprocess.run(["tar", "--extract", "--file", archive, "--directory", folder], check=True)
    return folder


def run_old_code(stack, service, folder):
    """Let the supervisor run a service and its worker from another checkout."""
    programs = list(stack.programs().values())
    for program in programs:
        if program["folder"] == str(ROOT / service):
            program["folder"] = str(folder / service)
            program["environment"]["PYTHONPATH"] = str(folder)
    (stack.folder / "programs.json").write_text(json.dumps(programs))
    for name in (service.replace("_", "-"), f"{service.removesuffix('_service')}-worker"):
        before = stack.leader(name)
        before.terminate()
        eventually(lambda: runs_from(stack, name, folder / service))  # noqa: B023  # called at once
    eventually(stack.is_healthy)


def runs_from(stack, name, folder):
    try:
        return stack.leader(name).cwd() == str(folder)
    except (psutil.Error, ValueError):
        return False


def exercise(stack, *, round_):
    """Use the main features. Return the path of a task that was created and deleted."""
    admin = stack.admin_token()
    name = f"alice{round_}"
    id_ = stack.register(name)
    alice = stack.token(name)

    made = stack.call("POST", "/task/tasks/", token=admin, json={"title": "Call", "assigned_to": id_})
    path = f"/task/tasks/{made.json()['id']}/"
    moved = stack.call("PATCH", path, token=admin, json={"status": "completed"})
    seen = stack.call("GET", "/task/tasks/?status=completed", token=alice)
    history = stack.call("GET", f"{path}activity/", token=alice)
    renamed = stack.call("PATCH", f"/user/users/{id_}/", token=admin, json={"email": f"{name}@new.example"})

    assert (made.status_code, moved.status_code, renamed.status_code) == (201, 200, 200)
    assert [task["title"] for task in seen.json()["results"]] == ["Call"]
    assert len(history.json()["results"]) == 3
    eventually(lambda: is_notified_of(stack, path, admin))
    stack.call("PATCH", f"/user/users/{id_}/", token=admin, json={"is_active": False})
    eventually(lambda: stack.call("GET", path, token=alice).status_code == 401)
    assert stack.call("DELETE", path, token=admin).status_code == 204
    return path


def kinds(stack, path):
    history = stack.call("GET", f"{path}activity/", token=stack.admin_token())
    return [row["kind"] for row in history.json()["results"]]


def is_notified_of(stack, path, admin):
    rows = stack.call("GET", f"{path}notifications/", token=admin).json()["results"]
    return len(rows) >= 2 and all(row["state"] == "sent" for row in rows)


@pytest.mark.slow
def test_old_and_new_versions_share_the_current_schema(own_stack, old_code):
    own_stack.start()
    exercise(own_stack, round_=1)

    run_old_code(own_stack, "user_service", old_code)
    exercise(own_stack, round_=2)
    run_old_code(own_stack, "task_service", old_code)
    deleted_by_the_old = exercise(own_stack, round_=3)
    restarted = own_stack.run(script="restart")  # current code again, on data of the old version
    deleted = exercise(own_stack, round_=4)
    run_old_code(own_stack, "task_service", old_code)
    exercise(own_stack, round_=5)

    assert restarted.returncode == 0, restarted.stdout + restarted.stderr
    for path in (deleted_by_the_old, deleted):
        assert kinds(own_stack, path) == ["deleted", "changed", "assigned", "created"]
