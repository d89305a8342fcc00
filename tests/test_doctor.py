"""scripts/doctor on a running stack: a healthy one, then one with each fault."""

import re
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from chassis.testing.smtp_sink import serving
from stack import orphans
from stack.doctor import runs_as_root
from stack.gateway_checks import GatewayChecks, Limit
from stack.orphans import running
from stack.ports import free_ports
from tests.local_stack import HANG_SECONDS, PASSWORD, LocalStack, eventually
from tests.own_postgres import run_sql

# A limit high enough for the tests; the doctor needs one to check proxy trust.
LIMITED = {"THROTTLE_ANON": "1000/min", "PUBLIC_URL": "https://tasks.example.com"}
HAVE_WORKED_SINCE = """
    SELECT least(user_worker.beat_at, task_worker.beat_at, finished_at, pulled_at) > '{}'
    FROM user_service.chassis_heartbeat AS user_worker, task_service.chassis_heartbeat AS task_worker,
        task_service.notifications_reminderrun, task_service.directory_feed
"""


@pytest.fixture(scope="module")
def limited():
    """A stack with a limit; tests leave it unchanged."""
    mine = LocalStack()
    try:
        mine.start(**LIMITED)
        restart_workers(mine)
        yield mine
    finally:
        mine.remove()


def restart_workers(stack):
    """They started before their tables existed and would wait up to a minute."""
    before = [running(stack.state, name) for name in ("user-worker", "task-worker")]
    for process in before:
        process.terminate()
    assert orphans.wait_until_gone(before, seconds=HANG_SECONDS)
    began = datetime.now(UTC)
    eventually(lambda: execute(stack, HAVE_WORKED_SINCE.format(began)) == [(True,)])


@pytest.fixture
def never_started():
    mine = LocalStack()
    yield mine
    mine.remove()


@dataclass
class Report:
    done: subprocess.CompletedProcess
    found: dict

    def __getitem__(self, place):
        """Return the verdict and text of a line by section and name."""
        return self.found[place]

    def all(self, verdict):
        return {place for place, (each, _) in self.found.items() if each == verdict}


def doctor(stack, *arguments, **changed):
    done = stack.run(*arguments, script="doctor", **LIMITED, **changed)
    found, section = {}, ""
    for line in done.stdout.splitlines():
        if line.startswith("The "):
            section = line.removeprefix("The ")
        elif line_match := re.fullmatch(r"(ok|WRONG|unsure) +(.{11}) (.+)", line):
            found[section, line_match[2].strip()] = line_match[1], line_match[3]
    return Report(done, found)


def execute(stack, statement):
    """Run a statement as the superuser and return its rows."""
    return run_sql(stack.owner_url(), statement)


@contextmanager
def stopped(process):
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_healthy_stack_is_ok_and_no_secret_is_printed(limited):
    report = doctor(limited, "--mail", "ada@example.com")

    assert (report.done.returncode, report.done.stderr) == (0, ""), report.done.stdout
    # As root, the services need a Python that other users can execute.
    as_root = {("stack", "users")} if runs_as_root(limited.state) else set()
    assert (report.all("ok"), report.all("unsure")) == (report.found.keys() - as_root, as_root)
    assert len(report.found) > 30
    assert "the mail to ada@example.com is one of the files in" in report["user service", "mail"][1]
    assert "nothing wrong" in report.done.stdout
    assert not any(secret in report.done.stdout for secret in limited.state.secrets().values())


def test_it_sends_test_mails_and_checks_the_settings_in_force(own_stack):
    """Only the start sets the mail server: the doctor uses the settings of the running services."""
    mail_port, closed = free_ports(2)
    url = f"http://127.0.0.1:{closed}"
    banner = own_stack.start(
        EMAIL_URL=f"smtp://127.0.0.1:{mail_port}", MAIL_FROM="tm@tm.example", USER_SERVICE_URL=url, **LIMITED
    )

    refused = doctor(own_stack, "--mail", "ada@example.com")
    with serving(mail_port) as sink:
        accepted = doctor(own_stack, "--mail", "ada@example.com")

    assert "MAIL_FROM" not in banner
    assert f"127.0.0.1:{mail_port}: Connection refused; set EMAIL_URL" in refused["user service", "mail"][1]
    assert f"{url} gives no valid response" in refused["task service", "users"][1]
    assert "accepted a mail to ada@example.com" in accepted["user service", "mail"][1]
    assert [to for _, to, _ in sink.received] == [["ada@example.com"]] * 2
    for report in (refused, accepted):
        assert "(EMAIL_URL, USER_SERVICE_URL in user-service" in report["stack", "restart"][1]


@pytest.mark.slow
def test_a_changed_admin_password_is_reported(own_stack):
    """Neither the banner nor the doctor signs in: failed attempts would lock the account."""
    first = own_stack.start(**LIMITED)
    change = {"current_password": own_stack.admin_password, "new_password": PASSWORD}
    changed = own_stack.call("POST", "/user/me/password/", token=own_stack.admin_token(), json=change)
    own_stack.stop()

    second = own_stack.start(EMAIL_URL="smtp://127.0.0.1:1", **LIMITED)
    reports = [doctor(own_stack) for _ in range(2)]
    third = doctor(own_stack, ADMIN_PASSWORD=PASSWORD)

    assert changed.status_code == 204, changed.text
    assert "admin; the password is in" in first
    assert f"admin, or another admin (see scripts/doctor); the password is not the one in {own_stack.folder}" in second
    assert "MAIL_FROM is an address at tmservice.invalid, which mail servers refuse" in second
    for report in reports:
        assert report["stack", "password"][0] == "unsure"
        assert report["user service", "mail"][0] == "WRONG"
        assert "set it to one of your own" in report["user service", "mail"][1]
    assert third["stack", "password"] == ("ok", "the password in ADMIN_PASSWORD is an admin's")
    assert execute(own_stack, "SELECT count(*) FROM user_service.accounts_attempt WHERE failures > 0") == [(0,)]


# Statements that cause and fix a fault, and words of the finding.
DATABASE_FAULTS = {
    ("user service", "role"): (
        "GRANT USAGE ON SCHEMA task_service TO user_service; GRANT SELECT ON task_service.tasks_task TO user_service",
        "REVOKE ALL ON task_service.tasks_task FROM user_service; REVOKE ALL ON SCHEMA task_service FROM user_service",
        "can access 1 tables outside its schema, such as task_service.tasks_task",
    ),
    ("task service", "role"): (
        "ALTER ROLE task_service SUPERUSER",
        "ALTER ROLE task_service NOSUPERUSER",
        "is a superuser",
    ),
    ("user service", "counting"): (
        "ALTER TABLE user_service.chassis_window SET LOGGED",
        "ALTER TABLE user_service.chassis_window SET UNLOGGED",
        "SET UNLOGGED",
    ),
    ("user service", "admin"): (
        "UPDATE user_service.accounts_user SET is_active = false WHERE username = 'admin'",
        "UPDATE user_service.accounts_user SET is_active = true WHERE username = 'admin'",
        "ensure_admin",
    ),
    ("task service", "migrations"): (
        "UPDATE task_service.django_migrations SET name = 'gone' WHERE app = 'tasks' AND name = '0001_initial'",
        "UPDATE task_service.django_migrations SET name = '0001_initial' WHERE name = 'gone'",
        "such as tasks.0001_initial; run: scripts/manage task migrate",
    ),
    ("task service", "worker"): (
        "UPDATE task_service.chassis_heartbeat SET beat_at = now() - interval '5 minutes'",
        "UPDATE task_service.chassis_heartbeat SET beat_at = now()",
        "none was active for 5 minutes; start one: scripts/manage task run_worker",
    ),
    ("task service", "directory"): (
        "UPDATE task_service.directory_feed SET pulled_at = now() - interval '5 minutes'",
        "UPDATE task_service.directory_feed SET pulled_at = now()",
        "last read 5 minutes ago",
    ),
}


def test_each_database_fault_is_reported_on_its_line(limited):
    faults = DATABASE_FAULTS
    with stopped(running(limited.state, "task-worker")):
        try:
            for make, _, _ in faults.values():
                execute(limited, make)
            report = doctor(limited)
        finally:
            for _, fix, _ in faults.values():
                execute(limited, fix)

    assert report.done.returncode == 1
    assert report.all("WRONG") == faults.keys()
    for place, (_, _, words) in faults.items():
        assert words in report[place][1]
    remedies = re.findall(r"scripts/manage (\w+) (\w+)", report.done.stdout)
    assert {command for _, command in remedies} == {"ensure_admin", "migrate", "run_worker"}
    for side, command in remedies:
        assert limited.run(side, command, "--help", script="manage").returncode == 0


def test_settings_not_yet_in_force_are_named_but_not_checked(limited):
    key = "another-key-0123456789-abcdefghijklmnop"
    changed = {"EMAIL_URL": "smtp://127.0.0.1:1", "JWT_SIGNING_KEY": key, "DUE_SOON_DAYS": "7"}

    report = doctor(limited, TRUSTED_PROXIES="10.0.0.1", **changed)

    assert (report.done.returncode, report.all("WRONG")) == (0, set())
    everywhere = "user-service, user-worker, task-service, task-worker"
    named = f"DUE_SOON_DAYS, TRUSTED_PROXIES in {everywhere}, gateway; EMAIL_URL, JWT_SIGNING_KEY in {everywhere}"
    text = f"the stack runs with outdated settings ({named}); scripts/restart applies the current ones"
    assert report["stack", "restart"] == ("unsure", text)
    assert key not in report.done.stdout


def test_settings_that_a_restart_would_refuse_are_reported(limited):
    report = doctor(limited, USER_SECRET_KEY="changeme" * 8)

    assert report.all("WRONG") == {("stack", "restart")}
    assert "scripts/restart would refuse" in report["stack", "restart"][1]
    assert "user_service: USER_SECRET_KEY is a sample value" in report["stack", "restart"][1]
    assert ("user service", "database") in report.all("ok")


def test_a_stopped_database_and_gateway_are_reported(limited):
    with stopped(limited.supervisor()):  # or it would restart them at once
        gone = [running(limited.state, name) for name in ("postgres", "gateway")]
        for process in gone:
            process.send_signal(signal.SIGINT)
        assert orphans.wait_until_gone(gone, seconds=HANG_SECONDS)
        report = doctor(limited)
    eventually(limited.is_healthy)

    assert report.done.returncode == 1
    assert "postgres, gateway should be running but is not" in report["stack", "programs"][1]
    assert report.all("WRONG") == {
        ("stack", "programs"),
        ("user service", "database"),
        ("task service", "database"),
        ("task service", "users"),
        ("gateway", "gateway"),
    }
    assert "Connection refused; is PostgreSQL running" in report["user service", "database"][1]
    assert "does not answer" in report["gateway", "gateway"][1]


GATEWAY_FAULTS = {
    "proxy trust": ("proxy_set_header X-Forwarded-For $forwarded_client;", "", "a client can choose its address"),
    "request id": ("proxy_set_header X-Request-ID $kept_request_id;", "proxy_set_header X-Request-ID x;", "became x"),
    "hosts": ("return 421;", "return 204;", "204"),
    "hidden": (
        "location ~ ^/(?:user/(?:me|",
        "location ~ ^/(?:internal|user/(?:me|",
        "/internal/users/ (4",
    ),
}


def test_a_misconfigured_gateway_is_reported(limited):
    file = limited.folder / "nginx" / "conf.d" / "tmservice.conf"
    right = file.read_text()
    broken = right
    for before, after, _ in GATEWAY_FAULTS.values():
        assert before in broken
        broken = broken.replace(before, after)

    try:
        reload(limited, file, broken)
        report = doctor(limited)
    finally:
        reload(limited, file, right)

    assert report.done.returncode == 1
    # On a busy machine a worker may be late, too.
    assert {place for place in report.all("WRONG") if place[0] == "gateway"} == {
        ("gateway", it) for it in GATEWAY_FAULTS
    }
    for name, (_, _, words) in GATEWAY_FAULTS.items():
        assert words in report["gateway", name][1]


def reload(stack, file, configuration):
    """Reload Nginx with a configuration and wait for the old workers to exit."""
    file.write_text(configuration)
    master = running(stack.state, "gateway")
    before = master.children()
    master.send_signal(signal.SIGHUP)
    eventually(lambda: not any(map(orphans.is_alive, before)) and master.children())


def test_without_limits_proxy_trust_is_unsure(stack):
    found = dict(GatewayChecks(stack.url).examine())

    assert {name for name, finding in found.items() if finding.state == "ok"} == found.keys() - {"proxy trust"}
    assert found["proxy trust"].state == "unsure"
    assert "THROTTLE_ANON is off" in found["proxy trust"].text


def test_with_loopback_as_trusted_proxy_trust_is_unsure(monkeypatch):
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.0/8")

    found = GatewayChecks("http://nobody.invalid").proxy_trust()

    assert (found.state, "TRUSTED_PROXIES" in found.text) == ("unsure", True)


class Unavailable(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_another_program_at_the_address_is_reported():
    with HTTPServer(("127.0.0.1", 0), Unavailable) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        checks = GatewayChecks(f"http://127.0.0.1:{server.server_port}")
        found, trust = dict(checks.examine()), checks.proxy_trust()
        server.shutdown()

    assert [(name, finding.state) for name, finding in found.items()] == [("gateway", "WRONG")]
    assert "answers the liveness check with 503" in found["gateway"].text
    assert (trust.state, "the task service is not healthy" in trust.text) == ("unsure", True)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (Limit(4, 60, False), Limit(3, 60, False), True),
        (Limit(4, 60, False), Limit(1, 60, False), True),  # other clients count too
        (Limit(4, 60, False), Limit(4, 60, False), False),
        (Limit(0, 60, False), Limit(0, 60, True), True),
        (Limit(0, 60, True), Limit(0, 60, True), True),
        (Limit(0, 60, True), Limit(4, 60, False), False),
        (Limit(0, 60, False), Limit(0, 60, False), False),  # 1/min, and each is the first request
    ],
)
def test_two_requests_are_counted_together_or_not(first, second, together):
    assert first.is_counted_with(second) is together


def test_a_stopped_stack_is_reported(never_started):
    done = never_started.run(script="doctor")

    assert done.returncode == 1
    assert done.stdout == f"WRONG   stack       no stack is running in {never_started.folder}; scripts/run starts one\n"


@pytest.mark.parametrize("address", ["nobody", "ada@example.com\nBcc: eve@example.com"])
def test_an_invalid_mail_address_is_refused(never_started, address):
    done = never_started.run("--mail", address, script="doctor")

    assert done.returncode == 2
    assert done.stderr == f"scripts/doctor: --mail: {address!r} is not a mail address.\n"
