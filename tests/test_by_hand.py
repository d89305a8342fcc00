"""The blocks of docs/by-hand.md, and the backup by hand of docs/backup.md, run on a separate PostgreSQL."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import requests

from stack import nginx, postgres
from stack.bootstrap import ROOT
from stack.ports import free_ports
from tests.local_stack import HANG_SECONDS, PASSWORD, copy_checkout, eventually, new_folder, output_of
from tests.own_postgres import own_postgres, run_sql

pytestmark = pytest.mark.slow
FENCE = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = (ROOT / "docs" / "by-hand.md").read_text()


def labelled(label):
    return [lines for found, lines in FENCE.findall(PAGE) if found == label]


SETUP, *PROGRAMS, VISIT = labelled("")
GUNICORN, (GATEWAY,), (DEBIAN,), (CLOSING,) = map(labelled, ("gunicorn", "gateway", "debian", "closing"))
COMMANDS = dict(FENCE.findall((ROOT / "docs" / "backup.md").read_text()))
CRON = re.search(r"^    0 8 \* \* \* (.*)$", PAGE, re.MULTILINE).group(1)


# The part of envsubst that gateway/start.sh needs.
ENVSUBST = r"""
import os, re, sys
names, text = sys.argv[1], sys.stdin.read()
sys.stdout.write(re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]] if found[0] in names else found[0], text))
"""


@dataclass
class ManualSetup:
    """A copy of the checkout in which the documented commands run, on other ports."""

    owner_url: str
    root: Path = field(default_factory=new_folder)
    ports: list[int] = field(default_factory=lambda: free_ports(3))
    running: dict[str, subprocess.Popen] = field(default_factory=dict)

    def adapted(self, lines):
        lines = re.sub(r"^OWNER_URL=.*$", f"OWNER_URL='{self.owner_url}'", lines, flags=re.MULTILINE)
        for port, mine in zip(("8000", "8001", "8080"), self.ports, strict=True):
            lines = re.sub(rf"\b{port}\b", str(mine), lines)
        lines = lines.replace("localhost:5432", f"localhost:{urlsplit(self.owner_url).port}")
        return lines.replace("/srv/tmservice", str(self.root))

    def install(self):
        """Put programs of a Debian system on PATH: sudo, envsubst and Nginx."""
        programs = self.root / "bin"
        programs.mkdir()
        server = urlsplit(self.owner_url)
        peer = f"PGHOST=127.0.0.1 PGPORT={server.port} PGUSER=postgres PGPASSWORD='{unquote(server.password)}'"
        (programs / "sudo").write_text(f'#!/bin/sh\n[ "$1 $2" = "-u postgres" ] && shift 2 && exec env {peer} "$@"\n')
        if not shutil.which("envsubst"):
            (programs / "envsubst").write_text(f"#!{sys.executable}\n{ENVSUBST}")
        (programs / "nginx").symlink_to(nginx.binary())
        for program in programs.iterdir():
            program.chmod(0o755)

    def environment(self, **more):
        kept = ("HOME", "PIP_", "SSL_", "LANG", "CI")
        path = os.pathsep.join(
            [
                str(self.root / "bin"),
                str(Path(sys.executable).resolve().parent),
                str(postgres.binaries()),
                "/usr/bin:/bin",
            ]
        )
        inherited = {name: value for name, value in os.environ.items() if name.startswith(kept)}
        return inherited | {"PATH": path, "PIP_NO_COMPILE": "1"} | more  # most modules are never used

    def run_lines(self, lines, **more):
        command = ["bash", "-eo", "pipefail", "-c", self.adapted(lines)]
        return output_of(command, cwd=self.root, env=self.environment(**more), timeout=2 * HANG_SECONDS)

    def paste(self, lines, **more):
        """Run lines and return their output; stop at the first error."""
        done = self.run_lines(lines, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, lines):
        with (self.root / f"log-{len(self.running)}").open("w") as log:
            self.running[lines] = subprocess.Popen(
                ["bash", "-ec", self.adapted(lines)],
                cwd=self.root,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, lines):
        process = self.running.pop(lines)
        os.killpg(process.pid, signal.SIGINT)  # like Ctrl-C
        process.wait(30)

    def settings(self):
        return dict(line.split("=", 1) for line in (self.root / ".env").read_text().splitlines())

    def call(self, service, method, path, *, token="", **arguments):
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, url, headers=headers, timeout=30, **arguments)

    def answers(self, service):
        name = ("user", "task")[service]
        try:
            return self.call(service, "GET", f"/{name}/health/ready/").ok
        except requests.ConnectionError:
            return False

    def admin_token(self):
        return self.token(**self.admin())

    def admin(self):
        return {"username": "admin", "password": self.settings()["ADMIN_PASSWORD"]}

    def token(self, username, password):
        answer = self.call(USERS, "POST", "/token/", json={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        return answer.json()["access"]


USERS, TASKS = 0, 1


@pytest.fixture(scope="module")
def manual():
    """Run the blocks of docs/by-hand.md up to the long-running programs, and keep both servers running."""
    with own_postgres() as owner_url:
        mine = ManualSetup(owner_url)
        copy_checkout(mine.root)
        try:
            mine.install()
            run_sql(owner_url, "DROP ROLE user_service", "DROP ROLE task_service")  # a new server does not have them
            mine.owner_url = mine.paste(DEBIAN).strip().removeprefix("OWNER_URL=")
            mine.paste(SETUP)
            mine.paste(CLOSING)
            mine.owner_url = owner_url
            with (mine.root / ".env").open("a") as settings:
                settings.writelines(f"THROTTLE_{who}=off\n" for who in ("ADMIN", "USER", "ANON"))
            for lines in PROGRAMS[:2]:
                mine.start(lines)
            for service in (USERS, TASKS):
                eventually(lambda service=service: mine.answers(service))
            yield mine
        finally:
            for lines in list(mine.running):
                mine.stop(lines)
            shutil.rmtree(mine.root)


def test_services_set_up_by_hand_create_a_task(manual):
    made = manual.paste(VISIT)

    assert '"title":"Call the landlord"' in made


def test_the_settings_file_is_private(manual):
    assert (manual.root / ".env").stat().st_mode & 0o077 == 0


def test_the_cron_line_works_without_an_environment(manual):
    due = {"title": "Pay the rent", "due_date": datetime.now(tz=UTC).date().isoformat()}
    assert manual.call(TASKS, "POST", "/task/tasks/", token=manual.admin_token(), json=due).status_code == 201

    command = ["env", "-i", "/bin/sh", "-c", manual.adapted(CRON)]
    done = output_of(command, cwd="/")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Reminded of 1 tasks that are due soon")
    assert '"Pay the rent' in done.stdout  # the log channel writes to standard output


def test_the_workers_run_until_ctrl_c(manual):
    looking = "cd user_service && ../.venv/bin/python manage.py check_worker"
    assert "No worker was active" in manual.run_lines(looking).stderr

    for lines in PROGRAMS[2:]:
        manual.start(lines)

    eventually(lambda: manual.run_lines(looking).returncode == 0)
    for lines in PROGRAMS[2:]:
        assert manual.running[lines].poll() is None
        manual.stop(lines)


@pytest.mark.parametrize("service", [USERS, TASKS], ids=["users", "tasks"])
def test_gunicorn_replaces_runserver(manual, service):
    manual.stop(PROGRAMS[service])
    eventually(lambda: not manual.answers(service))

    manual.start(GUNICORN[service])

    eventually(lambda: manual.answers(service))


def test_the_gateway_routes_to_both_and_names_the_client(manual):
    manual.start(GATEWAY)
    url = f"http://127.0.0.1:{manual.ports[2]}"

    eventually(lambda: is_up(f"{url}/task/health/ready/"))
    token = requests.post(f"{url}/token/", json=manual.admin(), timeout=30).json()["access"]
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{url}/task/tasks/", headers=headers, timeout=30).status_code == 200
    assert requests.get(f"{url}/", headers={"Accept": "text/html"}, timeout=30).url == f"{url}/docs/"
    sessions = requests.get(f"{url}/user/me/sessions/", headers=headers, timeout=30).json()["results"]
    assert {session["address"] for session in sessions if session["current"]} == {"127.0.0.1"}
    manual.stop(GATEWAY)


def is_up(url):
    try:
        return requests.get(url, timeout=30).ok
    except requests.ConnectionError:
        return False


def test_postgresql_tools_back_up_and_restore_a_service(manual):
    admin = manual.admin_token()
    urls = {"OWNER_URL": manual.owner_url, "USER_OWNER_DATABASE_URL": manual.settings()["USER_OWNER_DATABASE_URL"]}
    manual.paste(COMMANDS["backup"], **urls)
    bob = {"username": "bob", "email": "bob@example.com", "password": PASSWORD}
    bob_id = manual.call(USERS, "POST", "/user/register/", json=bob).json()["id"]
    task = {"title": "Of bob", "assigned_to": bob_id}
    task_id = manual.call(TASKS, "POST", "/task/tasks/", token=admin, json=task).json()["id"]
    bobs_token = manual.token("bob", PASSWORD)

    manual.stop(GUNICORN[USERS])
    manual.paste(COMMANDS["restore"], **urls)
    manual.start(GUNICORN[USERS])
    eventually(lambda: manual.answers(USERS))
    output = manual.paste(COMMANDS["reconcile"])

    assert f"user {bob_id} (bob): deleted; tasks to unassign: {task_id}" in output
    assert manual.call(TASKS, "GET", "/task/tasks/", token=bobs_token).status_code == 401
    task = manual.call(TASKS, "GET", f"/task/tasks/{task_id}/", token=admin).json()
    assert task["assigned_to"] is None
    eve = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}
    eve_id = manual.call(USERS, "POST", "/user/register/", json=eve).json()["id"]
    assert bob_id < eve_id < 100
    manual.paste(COMMANDS["ahead"], **urls)
    dora = {"username": "dora", "email": "dora@example.com", "password": PASSWORD}
    assert manual.call(USERS, "POST", "/user/register/", json=dora).json()["id"] > 100_000
    eventually(lambda: manual.call(TASKS, "GET", "/task/tasks/", token=manual.token("dora", PASSWORD)).ok)


def test_the_same_commands_back_up_the_task_service(manual):
    token = manual.admin_token()
    urls = {"OWNER_URL": manual.owner_url, "TASK_OWNER_DATABASE_URL": manual.settings()["TASK_OWNER_DATABASE_URL"]}
    task_lines = {name: re.sub("USER_O", "TASK_O", lines.replace("user", "task")) for name, lines in COMMANDS.items()}
    before = {row["id"] for row in manual.call(TASKS, "GET", "/task/tasks/", token=token).json()["results"]}
    manual.paste(task_lines["backup"], **urls)
    manual.stop(GUNICORN[TASKS])

    manual.paste(task_lines["restore"], **urls)

    manual.start(GUNICORN[TASKS])
    eventually(lambda: manual.answers(TASKS))
    token = manual.admin_token()
    made = manual.call(TASKS, "POST", "/task/tasks/", token=token, json={"title": "The next one"}).json()
    after = {row["id"] for row in manual.call(TASKS, "GET", "/task/tasks/", token=token).json()["results"]}
    assert after == before | {made["id"]}
    assert made["id"] == max(before) + 1
