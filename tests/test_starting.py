"""scripts/run: a second start, two stacks in parallel, and invalid settings."""

import socket

import pytest

from stack import settings, startup
from stack.console import StackError
from stack.ports import Ports
from stack.state import StateFolder
from tests.local_stack import LocalStack, eventually


@pytest.fixture(scope="module")
def restarted():
    """A stack that was started, stopped twice and started again, and what each of these printed."""
    stack = LocalStack()
    try:
        stack.start()
        stack.register("alice")
        secrets = (stack.folder / "secrets.json").read_text()
        stops = [stack.stop(), stack.stop()]
        left = stack.processes()
        yield stack, secrets, stops, left, stack.start()
    finally:
        stack.remove()


def test_stop_ends_everything_and_says_so(restarted):
    _, _, stops, left, _ = restarted

    assert stops == ["Stopped.\n", "Nothing was running.\n"]
    assert left == []


def test_a_second_start_installs_nothing_and_keeps_the_data(restarted):
    stack, secrets, _, _, output = restarted

    assert "Installing" not in output
    assert "Creating" not in output
    assert stack.token("alice")
    assert (stack.folder / "secrets.json").read_text() == secrets


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """A stack with settings of the user, and what its start printed."""
    env_file = tmp_path_factory.mktemp("settings") / "dotenv"
    env_file.write_text("# a comment\nADMIN_USERNAME=eve\nADMIN_EMAIL=from-file@example.com\n")
    limits = {"THROTTLE_ADMIN": "", "THROTTLE_USER": "7/min", "THROTTLE_ANON": "off"}
    stack = LocalStack()
    try:
        given = {"TMSERVICE_ENV_FILE": str(env_file), "ADMIN_USERNAME": "ada", "ALLOWED_HOSTS": "tasks.example.com"}
        yield stack, stack.start(**given, **limits)
    finally:
        stack.remove()


def test_the_banner_shows_the_url_and_the_password_file(chosen):
    stack, output = chosen

    assert f"TMService is up at {stack.url}" in output
    assert str(stack.folder / "admin-password") in output
    assert stack.admin_password not in output
    assert "limits    admins 10/min, users 7/min, without a token off for each address" in output


def test_the_environment_overrides_the_env_file(chosen):
    stack, _ = chosen

    assert stack.token("ada", stack.admin_password)
    assert stack.token("from-file@example.com", stack.admin_password)


def test_links_use_the_host_of_the_request(chosen):
    stack, _ = chosen
    there = {"headers": {"Host": "tasks.example.com"}, "token": stack.token("ada", stack.admin_password)}

    made = stack.call("POST", "/task/tasks/", json={"title": "Call the landlord"}, **there)
    stack.call("POST", "/task/tasks/", json={"title": "Pay the rent"}, **there)
    page = stack.call("GET", "/task/tasks/?page_size=1", **there).json()
    stack.call("POST", "/user/password-reset/", json={"email": "from-file@example.com"})

    assert made.headers["Location"] == f"/task/tasks/{made.json()['id']}/"
    assert page["next"].startswith("/task/tasks/?page_size=1&cursor=")
    assert stack.call("GET", "/task/tasks/", headers={"Host": "a.test"}).status_code == 421
    link = f"POST {stack.url}/user/password-reset/confirm/"
    eventually(lambda: any(link in mail.read_text() for mail in (stack.folder / "mail").glob("*")))


def test_two_stacks_run_side_by_side(stack, chosen):
    chosen[0].register("zoe")
    own, other = chosen[0].token("ada", chosen[0].admin_password), stack.admin_token()

    assert chosen[0].call("GET", "/user/users/?search=zoe", token=own).json()["results"]
    assert stack.call("GET", "/user/users/?search=zoe", token=other).json()["results"] == []


def test_secrets_are_readable_only_by_their_owner(stack):
    for name in ("secrets.json", "admin-password", "programs.json", "supervisord.conf"):
        assert (stack.folder / name).stat().st_mode & 0o077 == 0, name


def test_a_second_start_is_refused_and_changes_nothing(stack):
    again = stack.run("--detach")

    assert again.returncode == 1
    assert again.stderr == f"scripts/run: This stack is already running at {stack.url}; scripts/stop stops it.\n"
    assert stack.is_healthy()


def test_a_taken_port_is_named(own_stack):
    with socket.create_server(("127.0.0.1", own_stack.port)):
        refused = own_stack.run("--detach")

    assert refused.returncode == 1
    assert refused.stderr == (
        f"scripts/run: Another program uses port {own_stack.port}; set GATEWAY_PORT to a free one.\n"
    )
    assert own_stack.processes() == []


KEY = "0123456789-abcdefghijklmnopqrstuvwxyz-one"
EQUAL_KEYS = {"JWT_SIGNING_KEY": KEY, "TASK_SECRET_KEY": KEY}


def test_an_invalid_setting_stops_the_start(own_stack):
    refused = own_stack.run("--detach", **EQUAL_KEYS)

    sentence = "task_service: JWT_SIGNING_KEY must not equal the SECRET_KEY of a service; make two different keys."
    assert (refused.returncode, refused.stderr) == (1, f"scripts/run: {sentence}\n")
    assert own_stack.processes() == []


REFUSALS = {
    "a short key": ({"JWT_SIGNING_KEY": "short"}, "user_service: JWT_SIGNING_KEY is shorter than 32 bytes"),
    "a sample key": ({"JWT_SIGNING_KEY": "change-me-" * 4}, "user_service: JWT_SIGNING_KEY is a sample value"),
    "equal keys": (EQUAL_KEYS, "task_service: JWT_SIGNING_KEY must not equal the SECRET_KEY of a service"),
    "a rate that is none": ({"THROTTLE_USER": "10/week"}, "user_service: THROTTLE_USER must be a rate such as 10/min"),
    "an origin that is none": (
        {"CORS_ALLOWED_ORIGINS": "app.example.com"},
        "user_service: CORS_ALLOWED_ORIGINS must be origins such as https://app.example.com, not 'app.example.com'.",
    ),
    "a wildcard host": ({"ALLOWED_HOSTS": "*"}, "user_service: ALLOWED_HOSTS=* is for DEBUG only"),
    "debug with a public host": (
        {"DEBUG": "true", "ALLOWED_HOSTS": "tasks.example.com"},
        "user_service: DEBUG must be off if ALLOWED_HOSTS contains a public host (tasks.example.com).",
    ),
    "debug on a public address": (
        {"DEBUG": "true", "GATEWAY_BIND": "0.0.0.0"},
        "user_service: DEBUG must be off if GATEWAY_BIND is not a loopback address.",
    ),
    "a flag that is none": ({"DEBUG": "maybe"}, "user_service: DEBUG must be true or false, not 'maybe'."),
    "another database": (
        {"TASK_DATABASE_URL": "mysql://h/d"},
        "task_service: DATABASE_URL must be a postgresql:// URL",
    ),
    "an address that is none": ({"MAIL_FROM": "TMService"}, "user_service: MAIL_FROM is not a valid address"),
    "a link without a token": (
        {"PASSWORD_URL": "https://app.example.com/"},
        "user_service: PASSWORD_URL must contain TOKEN after a #, as in",
    ),
    "a link whose token is sent to the server": (
        {"CONFIRM_EMAIL_URL": "https://app.example.com/?token=TOKEN"},
        "user_service: CONFIRM_EMAIL_URL must contain TOKEN after a #, as in",
    ),
    "an address with a path": (
        {"PUBLIC_URL": "https://example.com/tasks"},
        "user_service: PUBLIC_URL must be http://HOST or https://HOST with an optional port",
    ),
    "a zone that is none": ({"TIME_ZONE": "Mars"}, "task_service: TIME_ZONE must be a time zone such as UTC"),
    "an hour that is none": ({"REMIND_AT": "8am"}, "task_service: REMIND_AT must be a time of day from 00:00 to 23:59"),
}


@pytest.mark.parametrize(("changed", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_a_service_refuses_an_invalid_setting(tmp_path, monkeypatch, changed, sentence):
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    state, service = StateFolder(tmp_path), sentence.partition(":")[0]
    state.create()
    given = settings.for_services(state, Ports(8080, 1, 2, 3))[service]

    with pytest.raises(StackError) as refused:
        startup.wait_for_all([startup.read_settings(service, given)])

    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_the_demo_loads_sample_data_once(own_stack):
    first = own_stack.start("--demo")
    token = own_stack.admin_token()
    tasks = own_stack.call("GET", "/task/tasks/?page_size=100", token=token).json()["results"]
    own_stack.stop()
    own_stack.start("--demo")
    again = own_stack.call("GET", "/task/tasks/?page_size=100", token=own_stack.admin_token()).json()["results"]

    assert "alice" in first
    assert len(tasks) >= 10
    assert {task["status"] for task in tasks} == {"todo", "in_progress", "completed"}
    assert [task["id"] for task in again] == [task["id"] for task in tasks]
    alice = own_stack.token("alice", (own_stack.folder / "demo-password").read_text().strip())
    assert own_stack.call("GET", "/task/tasks/", token=alice).json()["results"]


def test_a_failed_start_leaves_no_process_behind(own_stack):
    refused = own_stack.run("--detach", ADMIN_EMAIL="no address")

    assert refused.returncode == 1
    assert refused.stderr.startswith("scripts/run: ADMIN_EMAIL cannot be used: Must be an address such as")
    assert own_stack.processes() == []
    assert (own_stack.folder / "secrets.json").is_file()
