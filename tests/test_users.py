"""Users of the processes: secrets leave no long-lived environment, and for root each service has its own user."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from deploy import provision
from stack import check
from stack.ports import free_ports
from tests.local_stack import ROOT, LocalStack, copy_checkout, eventually, new_folder, output_of
from tests.own_postgres import own_postgres
from tests.test_fresh_checkout import bare_path
from tests.test_processes import start_in_foreground
from tests.test_roles import urls

PASSWORD = "seven green bicycles"
USER_KEY, TASK_KEY = "uN3pR8sV1xZ6cB4mK9qW2eT7yH5jL0aD", "tF6gH1jK8lP3oI9uY4rE2wQ7zX5cV0bN"


def environments(processes):
    """Return the environment of each process from /proc."""
    return {process.pid: "\n".join("=".join(pair) for pair in process.environ().items()) for process in processes}


@pytest.fixture(scope="module")
def foreground_run():
    """A stack that runs in the foreground with secrets from the environment, and its first process."""
    stack = LocalStack()
    front = start_in_foreground(stack, ADMIN_PASSWORD=PASSWORD, USER_SECRET_KEY=USER_KEY, TASK_SECRET_KEY=TASK_KEY)
    assert any("Ctrl-C" in line for line in iter(front.stdout.readline, ""))
    yield stack, psutil.Process(front.pid)
    stack.remove()
    front.wait()
    front.stdout.close()


def test_no_running_process_has_privileged_settings(foreground_run):
    stack, front = foreground_run
    secrets = stack.state.secrets()
    owners = [secrets[f"{service}_OWNER_DATABASE_PASSWORD"] for service in ("USER", "TASK")]
    assert stack.token("admin", PASSWORD)
    assert not (stack.folder / "admin-password").exists()

    shown = environments({front, stack.supervisor(), *stack.processes()})

    assert len(shown) > 10
    for text in shown.values():
        assert not any(secret in text for secret in (PASSWORD, secrets["POSTGRES_PASSWORD"], *owners))


def test_a_service_does_not_get_secrets_of_the_other(foreground_run):
    stack, _ = foreground_run

    shown = {program: environments(stack.program_processes(program)) for program in stack.programs()}

    for program, processes in shown.items():
        assert processes, program
        for text in processes.values():
            assert (USER_KEY in text) is program.startswith("user-"), program
            assert (TASK_KEY in text) is program.startswith("task-"), program


@pytest.fixture
def web_server():
    """The first process of a container: gunicorn, which migrates, creates the admin and serves."""
    with own_postgres() as server:
        made = urls(server, "contained")
        provision.provision_urls(server, made)
        (port,) = free_ports(1)
        given = {
            "DATABASE_URL": made["USER_DATABASE_URL"],
            "OWNER_DATABASE_URL": made["USER_OWNER_DATABASE_URL"],
            "ADMIN_PASSWORD": PASSWORD,
            "MIGRATE_ON_START": "true",
        }
        command = [sys.executable, "-m", "gunicorn", "--name", "user_service", "-c", "python:chassis.ops.web_server"]
        process = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{port}", "config.wsgi"],
            cwd=ROOT / "user_service",
            env={**os.environ, **check.SETTINGS, **given},
        )
        try:
            yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def test_a_migrating_web_server_drops_privileged_settings(web_server):
    master, url = web_server

    def is_ready():
        try:
            return requests.get(f"{url}/user/health/ready/", timeout=5).ok
        except requests.RequestException:
            return False

    eventually(is_ready)
    signed_in = requests.post(f"{url}/token/", json={"username": "admin", "password": PASSWORD}, timeout=30)

    assert signed_in.status_code == 200, signed_in.text
    eventually(lambda: len(master.children()) == 2)  # the first may serve before the second is forked
    processes = [master, *master.children()]
    for text in environments(processes).values():
        assert PASSWORD not in text
        assert "user_service_owner" not in text
    for process in processes:
        open_files = [str(each.readlink()) for each in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert not [name for name in open_files if "memfd" in name]


@pytest.fixture(scope="module")
def reachable():
    """A stack from a world-readable checkout with the system's Python."""
    stack = LocalStack(root=new_folder() / "checkout")
    copy_checkout(stack.root)
    settings = stack.environment(PATH=bare_path())
    try:
        for script in (["run", "--detach"], ["restart"]):
            done = subprocess.run(
                [stack.root / "scripts" / script[0], *script[1:]], env=settings, stdin=subprocess.DEVNULL, check=False
            )
            assert done.returncode == 0, stack.logs()
        yield stack
    finally:
        subprocess.run([stack.root / "scripts" / "stop"], env=settings, check=False)
        shutil.rmtree(stack.root.parent)
        shutil.rmtree(stack.folder)


def has_users(stack):
    return os.geteuid() == 0 and not bare_path().startswith("/root")


def uids(stack, program):
    return {process.uids().real for process in stack.program_processes(program)}


def may(uid, command):
    return output_of(command, user=uid, group=uid, extra_groups=[]).returncode == 0


@pytest.mark.slow
def test_as_root_each_service_runs_as_its_own_user(reachable):
    users, tasks = uids(reachable, "user-service"), uids(reachable, "task-service")

    assert users == uids(reachable, "user-worker")
    assert tasks == uids(reachable, "task-worker")
    if not has_users(reachable):
        assert users == tasks == {os.geteuid()}
        return
    (user,), (task,) = users, tasks
    (nginx,) = uids(reachable, "gateway") - {0}
    (postgres,) = uids(reachable, "postgres")
    assert len({0, user, task, nginx, postgres}) == 5
    assert postgres == pwd.getpwnam("nobody").pw_uid


@pytest.mark.slow
def test_no_service_user_can_read_the_files_of_another(reachable):
    if not has_users(reachable):
        return
    (user,), (task,) = uids(reachable, "user-service"), uids(reachable, "task-service")
    (nginx,) = uids(reachable, "gateway") - {0}
    folder = reachable.folder
    private = [folder / name for name in ("postgres", "secrets.json", "admin-password", "programs.json", "mail", "log")]

    for uid in (user, task, nginx):
        for path in private:
            assert not may(uid, ["ls", path] if path.is_dir() else ["cat", path]), (uid, path)
    theirs = reachable.program_processes("user-service")[0].pid
    assert may(user, ["cat", f"/proc/{theirs}/environ"])
    assert not may(task, ["cat", f"/proc/{theirs}/environ"])
    assert not may(task, ["cat", folder / "log" / "user-service.log"])


@pytest.mark.slow
def test_service_users_write_notifications_and_mails(reachable):
    """As root, each service owns its files, including those that an older version left to root."""
    alice = reachable.register("alice")
    admin = reachable.admin_token()
    body = {"title": "Call the landlord", "assigned_to": alice}
    assert reachable.call("POST", "/task/tasks/", token=admin, json=body).status_code == 201
    reachable.call("POST", "/user/password-reset/", json={"email": "alice@example.com"})

    notifications = reachable.folder / "log" / "notifications.log"
    eventually(lambda: notifications.is_file() and "landlord" in notifications.read_text())
    eventually(lambda: any((reachable.folder / "mail").iterdir()))
    for file in [notifications, *(reachable.folder / "mail").iterdir()]:
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.slow
def test_the_doctor_names_the_users(reachable):
    done = output_of([reachable.root / "scripts" / "doctor"], env=reachable.environment(PATH=bare_path()))

    (line,) = [line for line in done.stdout.splitlines() if " users " in line and "service" in line][:1]
    assert done.returncode == 0, done.stdout
    assert ("separate users" in line) is has_users(reachable)
