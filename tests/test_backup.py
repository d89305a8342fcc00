"""scripts/backup and scripts/restore, for both services and for one; both services agree afterwards."""

import os
import pty
import stat
import subprocess
import sys

import pytest

from stack.backup import write_atomically
from stack.console import StackError
from tests.local_stack import HANG_SECONDS, PASSWORD, LocalStack, eventually, interrupt

pytestmark = pytest.mark.slow

TASKS = "/task/tasks/"


@pytest.fixture(scope="module")
def saved_stack():
    """A stack, started in a terminal, that is backed up. Each test continues with the state of the previous one."""
    stack = LocalStack()
    with (stack.folder / "terminal").open("w") as terminal:
        command = [sys.executable, stack.root / "scripts" / "run"]
        process = subprocess.Popen(
            command, env=stack.environment(), stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
        )
    try:
        eventually(lambda: process.poll() is not None or "TMService is up" in terminal_output(stack))
        assert process.poll() is None, terminal_output(stack)
        yield stack
    finally:
        interrupt(process)
        stack.remove()


def terminal_output(stack):
    """Return the output of the terminal in which the stack was started."""
    return (stack.folder / "terminal").read_text()


@pytest.fixture(scope="module")
def user_ids(saved_stack):
    """IDs by name of the users before the backup. Each has a task."""
    ids = {name: saved_stack.register(name) for name in ("alice", "dora")}
    for name in ids:
        create_task(saved_stack, f"Before the backup, of {name}", ids[name])
    return ids


@pytest.fixture(scope="module")
def backup(saved_stack, user_ids, tmp_path_factory):
    file = tmp_path_factory.mktemp("backups") / "both.dump"
    file.write_text("an older backup")
    done = saved_stack.run(str(file), script="backup")
    assert done.returncode == 0, done.stderr
    return file


def create_task(stack, title, user_id):
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


def test_a_backup_is_private_and_replaces_the_file_atomically(backup):
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert backup.read_bytes().startswith(b"PGDMP")
    assert [each.name for each in backup.parent.iterdir()] == [backup.name]


def run_script(stack, script, *arguments, **options):
    """Run a script with the given folder, input and output; return its status and standard error."""
    command = [sys.executable, stack.root / "scripts" / script, *arguments]
    done = subprocess.run(
        command, env=stack.environment(), stderr=subprocess.PIPE, text=True, timeout=HANG_SECONDS, **options
    )
    return done.returncode, done.stderr


def test_a_backup_can_be_piped_out_and_in(saved_stack, user_ids, tmp_path):
    before, file = assignees(saved_stack), tmp_path / "both.dump"
    with file.open("wb") as output:
        assert run_script(saved_stack, "backup", "-", stdin=subprocess.DEVNULL, stdout=output)[0] == 0
    new = create_task(saved_stack, "After the backup", user_ids["alice"])

    assert file.read_bytes().startswith(b"PGDMP")
    with file.open("rb") as input_:
        status, output = run_script(saved_stack, "restore", "--yes", "-", stdin=input_, stdout=subprocess.DEVNULL)
    assert status == 0, output
    assert assignees(saved_stack) == before
    assert saved_stack.call("GET", f"{TASKS}{new}/", token=saved_stack.admin_token()).status_code == 404
    assert [path for path in saved_stack.folder.iterdir() if path.name.startswith(("backup-", "restore-"))] == []


@pytest.mark.parametrize("name", ["./-", "./--list", "a-b.dump"])
def test_a_file_may_have_any_name(saved_stack, tmp_path, name):
    options = {"cwd": tmp_path, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}

    assert run_script(saved_stack, "backup", name, **options)[0] == 0
    status, output = run_script(saved_stack, "restore", name, **options)

    assert [path.name for path in tmp_path.iterdir()] == [name.removeprefix("./")]
    assert (status, output.partition(" in ")[0]) == (
        1,
        "scripts/restore: This replaces all data of the user service and the task service",
    )


@pytest.mark.parametrize("script", ["backup", "restore"])
def test_a_terminal_is_refused_as_input_and_output(saved_stack, script):
    ours, theirs = pty.openpty()
    try:
        status, output = run_script(saved_stack, script, "-", stdin=theirs, stdout=theirs)
    finally:
        os.close(ours)
        os.close(theirs)

    assert (status, output.count("\n"), f"scripts/{script} - " in output) == (1, 1, True)


def test_a_backup_into_a_closed_pipe_fails(saved_stack):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        status, output = run_script(saved_stack, "backup", "-", stdin=subprocess.DEVNULL, stdout=writing)
    finally:
        os.close(writing)

    assert status == 1
    assert output.endswith("scripts/backup: The backup could not be written to standard output: Broken pipe.\n")


def test_a_failed_backup_leaves_the_file_unchanged(tmp_path):
    file = tmp_path / "both.dump"
    file.write_text("an older backup")

    def fail():
        with write_atomically(file) as draft:
            draft.write_text("half of a")
            raise StackError("The server closed the connection.")

    with pytest.raises(StackError):
        fail()
    assert file.read_text() == "an older backup"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "This replaces all data of the user service and the task service in "),
        (["--only", "task"], "This replaces all data of the task service in "),
    ],
)
def test_a_restore_overwrites_only_with_yes(saved_stack, backup, arguments, sentence):
    done = saved_stack.run(*arguments, str(backup), script="restore")

    assert (done.returncode, done.stderr.startswith(f"scripts/restore: {sentence}")) == (1, True)
    assert done.stderr.endswith("; add --yes to confirm.\n")
    assert saved_stack.is_healthy()


def test_an_invalid_file_is_refused_before_the_stack_stops(saved_stack, backup, tmp_path):
    (tmp_path / "letter").write_text("Dear Sir or Madam")

    for name in ("letter", "missing"):
        done = saved_stack.run("--yes", str(tmp_path / name), script="restore")

        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert saved_stack.is_healthy()


def test_restoring_users_alone_unassigns_later_accounts(saved_stack, user_ids, backup):
    bob_id = saved_stack.register("bob")
    bobs_task = create_task(saved_stack, "After the backup, of bob", bob_id)
    bobs_token, alices_token = saved_stack.token("bob"), saved_stack.token("alice")
    assert titles(saved_stack, bobs_token) == {"After the backup, of bob"}
    delete(saved_stack, user_ids["dora"])
    eventually(lambda: assignees(saved_stack)["Before the backup, of dora"] is None)

    output = restore(saved_stack, "--only", "user", "--yes", backup)

    assert terminal_output(saved_stack).endswith("Stopped by another process.\n")
    assert f"user {bob_id} (bob): deleted; tasks to unassign: {bobs_task}" in output
    assert assignees(saved_stack) == {
        "After the backup, of bob": None,
        "Before the backup, of alice": "alice",
        "Before the backup, of dora": None,  # she was away for a while
    }
    assert reasons(saved_stack, bobs_task) == {"account deleted"}
    assert saved_stack.call("GET", TASKS, token=bobs_token).status_code == 401
    assert saved_stack.call("GET", "/user/me/", token=bobs_token).status_code == 401
    for token in (alices_token, saved_stack.token("alice")):
        assert titles(saved_stack, token) == {"Before the backup, of alice"}
    create_task(saved_stack, "Now that dora is back", user_ids["dora"])
    eve_id = saved_stack.register("eve")
    assert eve_id > bob_id
    assert titles(saved_stack, saved_stack.token("eve")) == set()
    assert saved_stack.call("GET", TASKS, token=bobs_token).status_code == 401


NEW_KEY = "Lp0vR3nq8sT5wY2zC7fH1jM4kN6bX9dG"


def test_a_new_signing_key_ends_every_session(saved_stack):
    before = saved_stack.call("POST", "/token/", json={"username": "alice", "password": PASSWORD}).json()

    assert saved_stack.run(script="restart", JWT_SIGNING_KEY=NEW_KEY).returncode == 0

    for path in ("/user/me/", TASKS):
        assert saved_stack.call("GET", path, token=before["access"]).status_code == 401
        assert saved_stack.call("GET", path, token=saved_stack.token("alice")).status_code == 200
    assert saved_stack.call("POST", "/token/refresh/", json={"refresh": before["refresh"]}).status_code == 401


@pytest.fixture(scope="module")
def stopped(saved_stack, user_ids):
    delete(saved_stack, user_ids["dora"])
    saved_stack.stop()
    return saved_stack


def test_a_truncated_backup_changes_nothing(stopped, backup, tmp_path):
    (tmp_path / "cut").write_bytes(backup.read_bytes()[:-2000])

    done = stopped.run("--yes", str(tmp_path / "cut"), script="restore")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert stopped.processes() == []


def test_a_service_missing_from_the_backup_is_not_restored(stopped, tmp_path):
    assert stopped.run("--only", "user", str(tmp_path / "users.dump"), script="backup").returncode == 0

    done = stopped.run("--only", "task", "--yes", str(tmp_path / "users.dump"), script="restore")

    assert (done.returncode, "users.dump contains no data of the task service." in done.stderr) == (1, True)
    assert stopped.processes() == []


def test_restoring_tasks_alone_catches_up_from_the_feed(stopped, backup):
    restore(stopped, "--only", "task", "--yes", backup)

    assert stopped.processes() == []
    stopped.start()
    missed = {"Before the backup, of alice": "alice", "Before the backup, of dora": None}
    eventually(lambda: assignees(stopped) == missed)
    eve = stopped.token("eve")
    assert titles(stopped, eve) == set()
    create_task(stopped, "Of eve", stopped.call("GET", "/user/me/", token=eve).json()["id"])
    assert titles(stopped, eve) == {"Of eve"}


def test_a_backup_restores_on_a_new_machine(backup, own_stack):
    output = restore(own_stack, backup)

    assert "The directory has 3 accounts (including deleted ones)" in output
    assert output.endswith("Restored the user service and the task service.\n")
    assert own_stack.processes() == []


def test_a_backup_without_a_database_is_refused(own_stack, tmp_path):
    done = own_stack.run(str(tmp_path / "nothing.dump"), script="backup")

    assert (done.returncode, "scripts/run creates it." in done.stderr) == (1, True)
    assert not (tmp_path / "nothing.dump").exists()


def test_an_external_postgresql_is_not_backed_up_or_restored(own_stack, tmp_path):
    for script in ("backup", "restore"):
        done = own_stack.run(
            str(tmp_path / "external.dump"), script=script, USER_DATABASE_URL="postgresql://a:b@127.0.0.1:1/c"
        )

        assert "USER_DATABASE_URL points to an external PostgreSQL; " in done.stderr
