"""scripts/backup and scripts/restore: what was stored comes back, of one service too, and both agree afterwards."""

import os
import pty
import stat
import subprocess
import sys

import pytest

from stack.backup import written_whole
from stack.console import StackError
from tests.local_stack import PASSWORD, START_SECONDS, LocalStack, eventually, interrupt

pytestmark = pytest.mark.thorough

TASKS = "/task/tasks/"


@pytest.fixture(scope="module")
def mine():
    """A stack, at first in a terminal, of which tests take backups. They go on where the one before has left it."""
    stack = LocalStack()
    with (stack.folder / "terminal").open("w") as terminal:
        command = [sys.executable, stack.root / "scripts" / "run"]
        process = subprocess.Popen(
            command, env=stack.environment(), stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
        )
    try:
        eventually(lambda: process.poll() is not None or "TMService is up" in said(stack), seconds=START_SECONDS)
        assert process.poll() is None, said(stack)
        yield stack
    finally:
        interrupt(process)
        stack.remove()


def said(stack):
    """Return what stands in the terminal in which the stack was started."""
    return (stack.folder / "terminal").read_text()


@pytest.fixture(scope="module")
def people(mine):
    """Ids by name: who is there before the backup. Alice and Dora have a task each."""
    ids = {name: mine.register(name) for name in ("alice", "dora")}
    for name in ids:
        assigned(mine, f"Before the backup, of {name}", ids[name])
    return ids


@pytest.fixture(scope="module")
def backup(mine, people, tmp_path_factory):
    file = tmp_path_factory.mktemp("backups") / "both.dump"
    file.write_text("an older backup")
    done = mine.run(str(file), script="backup")
    assert done.returncode == 0, done.stderr
    return file


def assigned(stack, title, user_id):
    body = {"title": title, "assigned_to": user_id}
    answer = stack.call("POST", TASKS, token=stack.admin_token(), json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def titles(stack, token):
    answer = stack.call("GET", TASKS, token=token)
    assert answer.status_code == 200, answer.text
    return {row["title"] for row in answer.json()["results"]}


def assignees(stack):
    rows = stack.call("GET", TASKS, token=stack.admin_token()).json()["results"]
    return {row["title"]: row["assignee"] and row["assignee"]["username"] for row in rows}


def delete(stack, user_id):
    assert stack.call("DELETE", f"/user/users/{user_id}/", token=stack.admin_token()).status_code == 204


def reasons(stack, task_id):
    page = stack.call("GET", f"{TASKS}{task_id}/activity/", token=stack.admin_token()).json()["results"]
    return {row["reason"] for row in page if row["kind"] == "unassigned"}


def restore(stack, *arguments):
    done = stack.run(*map(str, arguments), script="restore")
    assert done.returncode == 0, done.stdout + done.stderr + stack.logs()
    return done.stdout


def test_a_backup_is_its_owners_alone_and_replaces_the_file_as_a_whole(backup):
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert backup.read_bytes().startswith(b"PGDMP")
    assert [each.name for each in backup.parent.iterdir()] == [backup.name]


def typed(stack, script, *arguments, **options):
    """Type a line in a folder of one's own, with input and output that tests choose."""
    command = [sys.executable, stack.root / "scripts" / script, *arguments]
    done = subprocess.run(command, env=stack.environment(), stderr=subprocess.PIPE, text=True, timeout=300, **options)
    return done.returncode, done.stderr


def test_a_backup_goes_by_standard_output_and_comes_back_by_standard_input(mine, people, tmp_path):
    before, file = assignees(mine), tmp_path / "both.dump"
    with file.open("wb") as output:
        assert typed(mine, "backup", "-", stdin=subprocess.DEVNULL, stdout=output)[0] == 0
    new = assigned(mine, "After the backup", people["alice"])

    assert file.read_bytes().startswith(b"PGDMP")
    with file.open("rb") as input_:
        status, told = typed(mine, "restore", "--yes", "-", stdin=input_, stdout=subprocess.DEVNULL)
    assert status == 0, told
    assert assignees(mine) == before
    assert mine.call("GET", f"{TASKS}{new}/", token=mine.admin_token()).status_code == 404
    assert [path for path in mine.folder.iterdir() if path.name.startswith(("backup-", "restore-"))] == []


@pytest.mark.parametrize("name", ["./-", "./--list", "a-b.dump"])
def test_a_file_may_have_any_name(mine, tmp_path, name):
    options = {"cwd": tmp_path, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}

    assert typed(mine, "backup", name, **options)[0] == 0
    status, told = typed(mine, "restore", name, **options)

    assert [path.name for path in tmp_path.iterdir()] == [name.removeprefix("./")]
    assert (status, told.partition(" has stored in ")[0]) == (
        1,
        "scripts/restore: This replaces all that the user service and the task service",
    )


@pytest.mark.parametrize("script", ["backup", "restore"])
def test_no_backup_is_printed_to_a_terminal_or_typed(mine, script):
    ours, theirs = pty.openpty()
    try:
        status, told = typed(mine, script, "-", stdin=theirs, stdout=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert (status, told.count("\n"), f"scripts/{script} - " in told) == (1, 1, True)


def test_a_backup_that_is_not_taken_as_a_whole_fails(mine):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        status, told = typed(mine, "backup", "-", stdin=subprocess.DEVNULL, stdout=writing)
    finally:
        os.close(writing)

    assert status == 1
    assert told.endswith("scripts/backup: Standard output has not taken all of it: Broken pipe.\n")


def test_a_backup_that_fails_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "both.dump"
    file.write_text("an older backup")

    def fail():
        with written_whole(file) as draft:
            draft.write_text("half of a")
            raise StackError("The server closed the connection.")

    with pytest.raises(StackError):
        fail()
    assert file.read_text() == "an older backup"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "This replaces all that the user service and the task service has stored in "),
        (["--only", "task"], "This replaces all that the task service has stored in "),
    ],
)
def test_a_restore_asks_before_it_overwrites(mine, backup, arguments, sentence):
    done = mine.run(*arguments, str(backup), script="restore")

    assert (done.returncode, done.stderr.startswith(f"scripts/restore: {sentence}")) == (1, True)
    assert done.stderr.endswith("; add --yes if you mean it.\n")
    assert mine.is_healthy()


def test_what_is_no_backup_is_refused_before_anything_is_stopped(mine, backup, tmp_path):
    (tmp_path / "letter").write_text("Dear Sir or Madam")

    for name in ("letter", "missing"):
        done = mine.run("--yes", str(tmp_path / name), script="restore")

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert mine.is_healthy()


def test_with_the_user_side_alone_restored_whoever_came_later_is_nobody_here_either(mine, people, backup):
    bob_id = mine.register("bob")
    bobs_task = assigned(mine, "After the backup, of bob", bob_id)
    bobs_token, alices_token = mine.token("bob"), mine.token("alice")
    assert titles(mine, bobs_token) == {"After the backup, of bob"}
    delete(mine, people["dora"])
    eventually(lambda: assignees(mine)["Before the backup, of dora"] is None, seconds=5)

    told = restore(mine, "--only", "user", "--yes", backup)

    assert said(mine).endswith("Stopped from elsewhere.\n")
    assert f"user {bob_id} (bob): deleted; tasks to unassign: {bobs_task}" in told
    assert assignees(mine) == {
        "After the backup, of bob": None,
        "Before the backup, of alice": "alice",
        "Before the backup, of dora": None,  # she was away for a while
    }
    assert reasons(mine, bobs_task) == {"account deleted"}
    assert mine.call("GET", TASKS, token=bobs_token).status_code == 401
    assert mine.call("GET", "/user/me/", token=bobs_token).status_code == 401
    for token in (alices_token, mine.token("alice")):
        assert titles(mine, token) == {"Before the backup, of alice"}
    assigned(mine, "Now that dora is back", people["dora"])
    eve_id = mine.register("eve")
    assert eve_id > bob_id
    assert titles(mine, mine.token("eve")) == set()
    assert mine.call("GET", TASKS, token=bobs_token).status_code == 401


NEW_KEY = "Lp0vR3nq8sT5wY2zC7fH1jM4kN6bX9dG"


def test_a_new_key_signs_everybody_out_at_once(mine):
    before = mine.call("POST", "/token/", json={"username": "alice", "password": PASSWORD}).json()

    assert mine.run(script="restart", JWT_SIGNING_KEY=NEW_KEY).returncode == 0

    for path in ("/user/me/", TASKS):
        assert mine.call("GET", path, token=before["access"]).status_code == 401
        assert mine.call("GET", path, token=mine.token("alice")).status_code == 200
    assert mine.call("POST", "/token/refresh/", json={"refresh": before["refresh"]}).status_code == 401


@pytest.fixture(scope="module")
def stopped(mine, people):
    delete(mine, people["dora"])
    mine.stop()
    return mine


def test_a_backup_that_was_cut_off_changes_nothing(stopped, backup, tmp_path):
    (tmp_path / "cut").write_bytes(backup.read_bytes()[:-2000])

    done = stopped.run("--yes", str(tmp_path / "cut"), script="restore")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert stopped.processes() == []


def test_a_stopped_stack_can_be_saved_too_and_only_what_was_saved_put_back(stopped, tmp_path):
    assert stopped.run("--only", "user", str(tmp_path / "users.dump"), script="backup").returncode == 0

    done = stopped.run("--only", "task", "--yes", str(tmp_path / "users.dump"), script="restore")

    assert (done.returncode, "users.dump holds nothing of the task service." in done.stderr) == (1, True)
    assert stopped.processes() == []


def test_with_the_task_side_alone_restored_the_feed_tells_what_was_missed(stopped, backup):
    restore(stopped, "--only", "task", "--yes", backup)

    assert stopped.processes() == []
    stopped.start()
    missed = {"Before the backup, of alice": "alice", "Before the backup, of dora": None}
    eventually(lambda: assignees(stopped) == missed, seconds=20)
    eve = stopped.token("eve")
    assert titles(stopped, eve) == set()
    assigned(stopped, "Of eve", stopped.call("GET", "/user/me/", token=eve).json()["id"])
    assert titles(stopped, eve) == {"Of eve"}


def test_a_new_machine_takes_up_what_another_has_saved(backup, own_stack):
    told = restore(own_stack, backup)

    assert "The directory has 3 accounts (including deleted ones)" in told
    assert told.endswith("Restored the user service and the task service.\n")
    assert own_stack.processes() == []


def test_where_there_is_nothing_a_backup_is_refused(own_stack, tmp_path):
    done = own_stack.run(str(tmp_path / "nothing.dump"), script="backup")

    assert (done.returncode, "scripts/run makes it." in done.stderr) == (1, True)
    assert not (tmp_path / "nothing.dump").exists()


def test_a_postgresql_of_ones_own_is_left_to_its_owner(own_stack, tmp_path):
    for script in ("backup", "restore"):
        done = own_stack.run(
            str(tmp_path / "mine.dump"), script=script, USER_DATABASE_URL="postgresql://a:b@127.0.0.1:1/c"
        )

        assert "USER_DATABASE_URL names a PostgreSQL of your own; " in done.stderr
