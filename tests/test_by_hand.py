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
from tests.local_stack import PASSWORD, eventually, new_folder
from tests.own_postgres import own_postgres, run_sql
from tests.test_fresh_checkout import tracked_files

pytestmark = pytest.mark.thorough
FENCE = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = (ROOT / "docs" / "by-hand.md").read_text()


def labelled(label):
    return [lines for found, lines in FENCE.findall(PAGE) if found == label]


SETUP, *PROGRAMS, VISIT = labelled("")
GUNICORN, (GATEWAY,), (DEBIAN,), (CLOSING,) = map(labelled, ("gunicorn", "gateway", "debian", "closing"))
SAVING = dict(FENCE.findall((ROOT / "docs" / "backup.md").read_text()))
CRON = re.search(r"^    0 8 \* \* \* (.*)$", PAGE, re.MULTILINE).group(1)


# What of envsubst gateway/start.sh needs.
ENVSUBST = r"""
import os, re, sys
names, text = sys.argv[1], sys.stdin.read()
sys.stdout.write(re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]] if found[0] in names else found[0], text))
"""


@dataclass
class Hands:
    """A copy of the checkout in which a person types lines, with other ports than those of the page."""

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
        """Put on PATH what a Debian has, or is given by packages: sudo, envsubst and Nginx."""
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
        return inherited | {"PATH": path, "PIP_NO_COMPILE": "1"} | more  # most modules are never run here

    def tries(self, lines, **more):
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", self.adapted(lines)],
            cwd=self.root,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def types(self, lines, **more):
        """Paste lines and return what they print; the first that fails ends it."""
        done = self.tries(lines, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def leaves_running(self, lines):
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

    def ends(self, lines):
        process = self.running.pop(lines)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
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
def hands():
    """Run the blocks of docs/by-hand.md up to the long-running programs, and keep the two servers running."""
    with own_postgres() as owner_url:
        mine = Hands(owner_url)
        for name in tracked_files():
            target = mine.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        try:
            mine.install()
            run_sql(owner_url, "DROP ROLE user_service", "DROP ROLE task_service")  # a fresh one has none of ours
            mine.owner_url = mine.types(DEBIAN).strip().removeprefix("OWNER_URL=")
            mine.types(SETUP)
            mine.types(CLOSING)
            mine.owner_url = owner_url
            with (mine.root / ".env").open("a") as settings:
                settings.writelines(f"THROTTLE_{who}=off\n" for who in ("ADMIN", "USER", "ANON"))
            for lines in PROGRAMS[:2]:
                mine.leaves_running(lines)
            for service in (USERS, TASKS):
                eventually(lambda service=service: mine.answers(service), seconds=60)
            yield mine
        finally:
            for lines in list(mine.running):
                mine.ends(lines)
            shutil.rmtree(mine.root)


def test_the_lines_make_services_in_which_one_signs_in_and_creates_a_task(hands):
    made = hands.types(VISIT)

    assert '"title":"Call the landlord"' in made


def test_the_settings_are_their_owners_alone(hands):
    assert (hands.root / ".env").stat().st_mode & 0o077 == 0


def test_the_line_for_cron_works_without_any_environment(hands):
    due = {"title": "Pay the rent", "due_date": datetime.now(tz=UTC).date().isoformat()}
    assert hands.call(TASKS, "POST", "/task/tasks/", token=hands.admin_token(), json=due).status_code == 201

    command = ["env", "-i", "/bin/sh", "-c", hands.adapted(CRON)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Reminded of 1 tasks that are due soon")
    assert '"Pay the rent' in done.stdout  # what the log channel sends goes to standard output


def test_the_workers_are_at_work_until_ctrl_c(hands):
    looking = "cd user_service && ../.venv/bin/python manage.py check_worker"
    assert "No worker was active" in hands.tries(looking).stderr

    for lines in PROGRAMS[2:]:
        hands.leaves_running(lines)

    eventually(lambda: hands.tries(looking).returncode == 0, seconds=30)
    for lines in PROGRAMS[2:]:
        assert hands.running[lines].poll() is None
        hands.ends(lines)


@pytest.mark.parametrize("service", [USERS, TASKS], ids=["users", "tasks"])
def test_gunicorn_serves_in_the_place_of_runserver(hands, service):
    hands.ends(PROGRAMS[service])
    eventually(lambda: not hands.answers(service), seconds=10)

    hands.leaves_running(GUNICORN[service])

    eventually(lambda: hands.answers(service), seconds=30)


def test_the_gateway_leads_to_both_and_tells_them_whose_request_it_is(hands):
    hands.leaves_running(GATEWAY)
    url = f"http://127.0.0.1:{hands.ports[2]}"

    eventually(lambda: is_up(f"{url}/task/health/ready/"), seconds=60)
    token = requests.post(f"{url}/token/", json=hands.admin(), timeout=30).json()["access"]
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(f"{url}/task/tasks/", headers=headers, timeout=30).status_code == 200
    assert requests.get(f"{url}/", headers={"Accept": "text/html"}, timeout=30).url == f"{url}/docs/"
    sessions = requests.get(f"{url}/user/me/sessions/", headers=headers, timeout=30).json()["results"]
    assert {session["address"] for session in sessions if session["current"]} == {"127.0.0.1"}
    hands.ends(GATEWAY)


def is_up(url):
    try:
        return requests.get(url, timeout=30).ok
    except requests.ConnectionError:
        return False


def test_a_service_is_saved_and_restored_by_the_programs_of_postgresql(hands):
    admin = hands.admin_token()
    urls = {"OWNER_URL": hands.owner_url, "USER_OWNER_DATABASE_URL": hands.settings()["USER_OWNER_DATABASE_URL"]}
    hands.types(SAVING["backup"], **urls)
    bob = {"username": "bob", "email": "bob@example.com", "password": PASSWORD}
    bob_id = hands.call(USERS, "POST", "/user/register/", json=bob).json()["id"]
    task = {"title": "Of bob", "assigned_to": bob_id}
    task_id = hands.call(TASKS, "POST", "/task/tasks/", token=admin, json=task).json()["id"]
    bobs_token = hands.token("bob", PASSWORD)

    hands.ends(GUNICORN[USERS])
    hands.types(SAVING["restore"], **urls)
    hands.leaves_running(GUNICORN[USERS])
    eventually(lambda: hands.answers(USERS), seconds=30)
    told = hands.types(SAVING["reconcile"])

    assert f"user {bob_id} (bob): gone; tasks to unassign: {task_id}" in told
    assert hands.call(TASKS, "GET", "/task/tasks/", token=bobs_token).status_code == 401
    task = hands.call(TASKS, "GET", f"/task/tasks/{task_id}/", token=admin).json()
    assert task["assigned_to"] is None
    eve = {"username": "eve", "email": "eve@example.com", "password": PASSWORD}
    eve_id = hands.call(USERS, "POST", "/user/register/", json=eve).json()["id"]
    assert bob_id < eve_id < 100
    hands.types(SAVING["ahead"], **urls)
    dora = {"username": "dora", "email": "dora@example.com", "password": PASSWORD}
    assert hands.call(USERS, "POST", "/user/register/", json=dora).json()["id"] > 100_000
    eventually(lambda: hands.call(TASKS, "GET", "/task/tasks/", token=hands.token("dora", PASSWORD)).ok, seconds=10)


def test_the_same_lines_serve_the_task_service(hands):
    urls = {"OWNER_URL": hands.owner_url, "TASK_OWNER_DATABASE_URL": hands.settings()["TASK_OWNER_DATABASE_URL"]}
    saving = {name: re.sub("USER_O", "TASK_O", lines.replace("user", "task")) for name, lines in SAVING.items()}
    before = {
        row["id"] for row in hands.call(TASKS, "GET", "/task/tasks/", token=hands.admin_token()).json()["results"]
    }
    hands.types(saving["backup"], **urls)
    hands.ends(GUNICORN[TASKS])

    hands.types(saving["restore"], **urls)

    hands.leaves_running(GUNICORN[TASKS])
    eventually(lambda: hands.answers(TASKS), seconds=30)
    made = hands.call(TASKS, "POST", "/task/tasks/", token=hands.admin_token(), json={"title": "The next one"}).json()
    after = {row["id"] for row in hands.call(TASKS, "GET", "/task/tasks/", token=hands.admin_token()).json()["results"]}
    assert after == before | {made["id"]}
    assert made["id"] == max(before) + 1
