"""The Postman collection: it calls every documented operation, and newman runs it against a running stack."""

import base64
import json
import os
import re

import pytest
import requests

from stack import node
from tests.local_stack import ROOT, output_of

POSTMAN = ROOT / "postman"
ADMIN_REQUEST = ("--folder", "Create a task with a misspelled field")  # needs no data and creates none
DEFAULT_LIMITS = {"THROTTLE_ADMIN": "10/min", "THROTTLE_USER": "10/min", "THROTTLE_ANON": "5/min"}


@pytest.fixture(scope="module")
def collection():
    return json.loads((POSTMAN / "tmservice.postman_collection.json").read_text())


def items(collection):
    return [item for folder in collection["item"] for item in folder["item"]]


def test_it_calls_every_documented_operation_and_no_other(stack, collection):
    documents = [stack.call("GET", f"/{service}/swagger.json").json() for service in ("user", "task")]
    documented = {
        (method.upper(), re.sub(r"{(\w+)}", r":\1", path))
        for document in documents
        for path, item in document["paths"].items()
        for method in item.keys() - {"parameters"}
    }

    called = {(item["request"]["method"], "/" + "/".join(item["request"]["url"]["path"])) for item in items(collection)}

    assert len(documented) > 30
    assert called == documented


def test_environments_differ_only_in_base_url_without_secrets():
    local, deployed = (
        json.loads((POSTMAN / f"{name}.postman_environment.json").read_text())["values"]
        for name in ("local", "deployed")
    )
    values = [{each["key"]: each["value"] for each in environment} for environment in (local, deployed)]

    assert values[0].pop("base_url") == "http://localhost:8080"
    assert values[1].pop("base_url").startswith("https://")
    assert values[0] == values[1]
    assert {name for name, value in values[0].items() if value} == {"admin_username"}
    assert {each["key"] for each in local if each["type"] == "secret"} == values[0].keys() - {"admin_username"}


class NewmanRun:
    """A run of newman and its report."""

    def __init__(self, folder, stack, *arguments, **variables):
        report, self.environment = folder / "report.json", folder / "environment.json"
        source = self.environment if self.environment.is_file() else POSTMAN / "local.postman_environment.json"
        variables = {"base_url": stack.url, "admin_password": stack.admin_password} | variables
        done = newman(
            *("run", POSTMAN / "tmservice.postman_collection.json", "--environment", source, "--color", "off"),
            *("--reporters", "cli,json", "--reporter-json-export", report, "--export-environment", self.environment),
            *(word for name, value in variables.items() for word in ("--env-var", f"{name}={value}")),
            *arguments,
        )
        self.output, self.status = done.stdout + done.stderr, done.returncode
        # newman repeats a request in its report for each request that a script sent for it.
        executions = json.loads(report.read_text())["run"]["executions"]
        self.executions = list({each["cursor"]["ref"]: each for each in executions}.values())

    def assert_passed(self):
        failed = [test for each in self.executions for test in each.get("assertions", []) if "error" in test]
        assert (self.status, failed) == (0, []), self.output
        assert sum(len(each.get("assertions", [])) for each in self.executions) > 0

    @property
    def names(self):
        return [each["item"]["name"] for each in self.executions]

    @property
    def statuses(self):
        return [each["response"]["code"] for each in self.executions]

    @property
    def variables(self):
        return {each["key"]: each["value"] for each in json.loads(self.environment.read_text())["values"]}


def newman(*arguments):
    program = node.install(ROOT / "tests" / "newman") / "node_modules" / "newman" / "bin" / "newman.js"
    environment = {"PATH": node.node_environment()["PATH"], "HOME": os.environ.get("HOME", "/")}
    return output_of(["node", program, *arguments], env=environment)


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def expired(token):
    """Return the token with an expiry in the past; its signature no longer matches."""
    header, _, signature = token.split(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims(token) | {"exp": 1}).encode()).decode().rstrip("=")
    return f"{header}.{payload}.{signature}"


def tampered(token):
    """Return the token, not expired, with a wrong signature."""
    return token[:-8] + "AAAAAAAA"


def admin_tokens(stack):
    return stack.call("POST", "/token/", json={"username": "admin", "password": stack.admin_password}).json()


def all_ids(stack):
    """Return the ids of all accounts and tasks."""
    token = stack.admin_token()
    return [[*rows(stack, path, token)] for path in ("/user/users/?page_size=100", "/task/tasks/?page_size=100")]


def rows(stack, path, token):
    while path:
        page = stack.call("GET", path.removeprefix(stack.url), token=token).json()
        yield from (row["id"] for row in page["results"])
        path = page["next"]


@pytest.mark.slow
def test_the_whole_collection_runs_twice_and_leaves_nothing(tmp_path, stack, collection):
    names = [item["name"] for item in items(collection)]
    before = all_ids(stack)

    first = NewmanRun(tmp_path, stack)
    second = NewmanRun(tmp_path, stack)  # with the variables that the first run saved

    for run in (first, second):
        run.assert_passed()
        assert run.names == names
    assert all_ids(stack) == before


@pytest.mark.slow
def test_at_the_default_limits_it_waits_and_retries(tmp_path, own_stack):
    own_stack.start(**DEFAULT_LIMITS)
    url = f"http://127.0.0.1:{own_stack.port}"  # newman resolves localhost to ::1, which has a limit of its own

    run = NewmanRun(tmp_path, own_stack, "--folder", "Registration and tokens", base_url=url)

    run.assert_passed()
    limited = [each for each in run.executions if each["response"]["code"] == 429]
    assert len(limited) == 1
    assert "assertions" not in limited[0]
    assert run.names.count(limited[0]["item"]["name"]) == 2
    for each in run.executions:
        headers = {header["key"]: header["value"] for header in each["response"]["header"]}
        if "jwks" not in each["item"]["request"]["url"]["path"]:  # public keys are not counted
            assert re.fullmatch(r'"(anon|user)";r=\d;t=\d+', headers["RateLimit"])

    for _ in range(5):  # uses up the limit of the address: registration and login must wait
        requests.post(f"{url}/token/verify/", json={"token": "none"}, timeout=30)
    no_alice = {"alice_username": "", "alice_access": "", "alice_refresh": ""}
    tokens = NewmanRun(tmp_path, own_stack, "--folder", "Tasks", base_url=url, **no_alice)

    tokens.assert_passed()
    assert re.search(r"POST /\S+: rate limited, waiting \d+ seconds", " ".join(tokens.output.split()))


TOKENS = {
    "an expired one is refreshed": (expired, str, [400], True),
    "a rejected one is refreshed and the request retried": (tampered, str, [401, 400], True),
    "with a rejected refresh token it signs in": (expired, tampered, [400], False),
}


@pytest.mark.slow
@pytest.mark.parametrize(("access", "refresh", "statuses", "is_same_session"), TOKENS.values(), ids=TOKENS)
def test_an_unusable_token_is_replaced(tmp_path, stack, access, refresh, statuses, is_same_session):
    pair = admin_tokens(stack)
    tokens = {"admin_access": access(pair["access"]), "admin_refresh": refresh(pair["refresh"])}

    run = NewmanRun(tmp_path, stack, *ADMIN_REQUEST, **tokens)

    run.assert_passed()
    assert run.statuses == statuses
    assert run.variables["admin_refresh"] != tokens["admin_refresh"]
    assert (claims(run.variables["admin_refresh"])["sid"] == claims(pair["refresh"])["sid"]) is is_same_session


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Read own account", "Create a task as a plain user", "List accounts as a plain user"])
def test_a_request_can_be_sent_alone(tmp_path, stack, name):
    run = NewmanRun(tmp_path, stack, "--folder", name)

    run.assert_passed()
    assert run.names == [name]


@pytest.mark.slow
def test_alice_is_registered_again_if_her_account_is_gone(tmp_path, stack):
    old_account = {"alice_username": "alice-of-last-year", "alice_password": "her password of last year"}

    run = NewmanRun(tmp_path, stack, "--folder", "Read own account", **old_account)

    run.assert_passed()
    assert run.statuses == [200]
    assert run.variables["alice_username"] != old_account["alice_username"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "message"), [("", "set admin_password in the environment"), ("wrong", "admin cannot log in: ")]
)
def test_a_missing_or_wrong_password_is_reported(tmp_path, stack, value, message):
    run = NewmanRun(tmp_path, stack, *ADMIN_REQUEST, admin_password=value)

    assert run.status == 1
    assert message in run.output
