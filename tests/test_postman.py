"""The Postman collection: whether it is what is documented, and whether it runs against a started stack."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import requests
from jsonschema import Draft7Validator

from stack import node
from stack.console import Refused
from stack.postman import builder, command, documents
from stack.postman.steps import Folder
from stack.postman.story import STORY
from tests.local_stack import ROOT

POSTMAN = ROOT / "postman"
OF_ADMIN = ("--folder", "A slip of the pen is refused")  # a request of an admin that needs and makes nothing
USUAL_LIMITS = {"THROTTLE_ADMIN": "10/min", "THROTTLE_USER": "10/min", "THROTTLE_ANON": "5/min"}


@pytest.fixture(scope="module")
def operations():
    return documents.operations()


@pytest.fixture(scope="module")
def collection():
    return json.loads((POSTMAN / "tmservice.postman_collection.json").read_text())


def items(collection):
    return [item for folder in collection["item"] for item in folder["item"]]


def script(item, listen="test"):
    return "\n".join(line for each in item["event"] if each["listen"] == listen for line in each["script"]["exec"])


def environment(name):
    return json.loads((POSTMAN / f"{name}.postman_environment.json").read_text())


# What is committed.


def test_the_files_are_what_would_be_made():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "postman", "--check"], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_is_not_is_named_with_the_difference(monkeypatch, tmp_path, operations):
    shutil.copytree(POSTMAN, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "tmservice.postman_collection.json"
    file.write_text(file.read_text().replace("Alice signs in", "Alice logs in"))
    monkeypatch.setattr(command, "PARTS", tmp_path)

    with pytest.raises(Refused) as refused:
        command.compare(builder.files(STORY, operations))

    assert "postman/tmservice.postman_collection.json is not up to date" in str(refused.value)
    assert re.search(r'^-.*"Alice logs in"', str(refused.value), re.MULTILINE)
    assert re.search(r'^\+.*"Alice signs in"', str(refused.value), re.MULTILINE)


def test_a_file_that_is_missing_is_named(monkeypatch, tmp_path, operations):
    monkeypatch.setattr(command, "PARTS", tmp_path)

    with pytest.raises(Refused, match=r"postman/tmservice\.postman_collection\.json is not up to date"):
        command.compare(builder.files(STORY, operations))


def test_every_operation_of_both_services_is_in_the_collection(collection):
    documented = {
        (method.upper(), re.sub(r"{(\w+)}", r":\1", path))
        for service in documents.SERVICES
        for path, item in documents.document(service)["paths"].items()
        for method in item.keys() - {"parameters"}
    }

    called = {(item["request"]["method"], path_of(item)) for item in items(collection)}

    assert len(documented) > 30
    assert called == documented


def path_of(item):
    return "/" + "/".join(item["request"]["url"]["path"])


def test_an_operation_that_no_step_calls_is_named(operations):
    without_notifications = [folder for folder in STORY if folder.name != "Notifications"]

    with pytest.raises(
        Refused, match=r"^No step of the story calls GET /task/notifications/, GET /task/tasks/{task_id}"
    ):
        builder.files(without_notifications, operations)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"operation": "makeTask"}, "The step 'A task is made' calls makeTask, which is no operation"),
        ({"status": 418}, "The step 'A task is made' expects 418, which POST /task/tasks/ does not document"),
        (
            {"headers": {"If-Match": "*"}},
            "The step 'A task is made' sets If-Match, which POST /task/tasks/ does not take",
        ),
        ({"query": {"limit": "1"}}, "The step 'A task is made' sets limit, which POST /task/tasks/ does not take"),
        ({"path": {"user_id": "1"}}, "The step 'A task is made' sets user_id, which POST /task/tasks/ does not take"),
        ({"body": {"name": "x"}}, "The step 'A task is made' sends name, which POST /task/tasks/ does not take"),
        ({"name": "Alice signs up"}, "Two steps of the story are called 'Alice signs up'"),
    ],
)
def test_a_step_that_is_not_as_documented_is_named(operations, change, told):
    story = [
        Folder(folder.name, folder.description, tuple(changed(step, change) for step in folder.steps))
        for folder in STORY
    ]

    with pytest.raises(Refused, match=re.escape(told)):
        builder.files(story, operations)


def changed(step, change):
    return replace(step, **change) if step.name == "A task is made" else step


def test_every_request_has_tests_of_status_type_and_limit_and_most_of_what_they_say(collection):
    for item in items(collection):
        assert re.search(r'pm.test\("The status is \d{3}"', script(item)), item["name"]
        assert re.search(r'pm.test\("It (is [a-z]+/|has no body)', script(item)), item["name"]
        assert "it tells what is left" in script(item), item["name"]
    assert sum("jsonSchema" in script(item) for item in items(collection)) > 50


def test_a_schema_in_a_test_takes_what_is_documented_and_nothing_else(collection):
    (item,) = (item for item in items(collection) if item["name"] == "Nobody signs up as an admin")
    problem = dict.fromkeys(("type", "title", "detail", "code", "instance", "request_id"), "x")
    problem |= {"status": 403, "errors": [{"field": None, "code": "x", "detail": "x"}]}

    validator = Draft7Validator(schema_in(item))

    assert validator.is_valid(problem)
    assert not validator.is_valid(problem | {"secret": "x"})
    assert not validator.is_valid({name: value for name, value in problem.items() if name != "code"})
    assert not validator.is_valid(problem | {"errors": [{"field": 1, "code": "x", "detail": "x"}]})


def schema_in(item):
    return json.loads(re.search(r"const schema = (.*);$", script(item), re.MULTILINE).group(1))


def test_every_schema_is_one(collection):
    schemas = [schema_in(item) for item in items(collection) if "const schema" in script(item)]

    for schema in schemas:
        Draft7Validator.check_schema(schema)
    assert schemas


def test_the_environments_differ_in_their_address_alone_and_hold_no_secret():
    local, deployed = environment("local"), environment("deployed")
    values = [{each["key"]: each["value"] for each in one["values"]} for one in (local, deployed)]

    assert values[0].pop("base_url") == "http://localhost:8080"
    assert values[1].pop("base_url").startswith("https://")
    assert values[0] == values[1]
    assert {name for name, value in values[0].items() if value} == {"admin_username"}
    assert {each["key"] for each in local["values"] if each["type"] == "secret"} == values[0].keys() - {
        "admin_username"
    }


# Newman, against a really started stack.


class Run:
    """One run of newman, and what it has reported."""

    def __init__(self, folder, stack, *arguments, **variables):
        report, self.kept = folder / "report.json", folder / "environment.json"
        source = self.kept if self.kept.is_file() else POSTMAN / "local.postman_environment.json"
        variables = {"base_url": stack.url, "admin_password": password(stack)} | variables
        done = newman(
            *("run", POSTMAN / "tmservice.postman_collection.json", "--environment", source, "--color", "off"),
            *("--reporters", "cli,json", "--reporter-json-export", report, "--export-environment", self.kept),
            *(word for name, value in variables.items() for word in ("--env-var", f"{name}={value}")),
            *arguments,
        )
        self.output, self.status = done.stdout + done.stderr, done.returncode
        # It tells of a request once more for each one that was sent for its token.
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
        return {each["key"]: each["value"] for each in json.loads(self.kept.read_text())["values"]}


def newman(*arguments):
    program = node.install(ROOT / "tests" / "newman") / "node_modules" / "newman" / "bin" / "newman.js"
    environment_ = {"PATH": node.with_node()["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(["node", program, *arguments], env=environment_, check=False, capture_output=True, text=True)


def password(stack):
    return (stack.folder / "admin-password").read_text().strip()


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def run_out(token):
    """Return the token with an end that has passed."""
    header, _, signature = token.split(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims(token) | {"exp": 1}).encode()).decode().rstrip("=")
    return f"{header}.{payload}.{signature}"


def spoiled(token):
    """Return a token that has not run out, but is not good."""
    return token[:-8] + "AAAAAAAA"


def pair_of_admin(stack):
    return stack.call("POST", "/token/", json={"username": "admin", "password": password(stack)}).json()


def everything(stack):
    """Return the ids of all accounts and tasks."""
    token = stack.admin_token()
    return [[*rows(stack, path, token)] for path in ("/user/users/?page_size=100", "/task/tasks/?page_size=100")]


def rows(stack, path, token):
    while path:
        page = stack.call("GET", path.removeprefix(stack.url), token=token).json()
        yield from (row["id"] for row in page["results"])
        path = page["next"]


@pytest.mark.thorough
def test_it_runs_as_a_whole_again_and_again_and_leaves_nothing(tmp_path, stack, collection):
    names = [item["name"] for item in items(collection)]
    before = everything(stack)

    first = Run(tmp_path, stack)
    again = Run(tmp_path, stack)  # with the variables that the first has kept

    for run in (first, again):
        run.assert_passed()
        assert run.names == names
    assert everything(stack) == before


@pytest.mark.thorough
def test_at_the_usual_limits_it_waits_and_sends_again(tmp_path, own_stack):
    own_stack.start(**USUAL_LIMITS)
    url = f"http://127.0.0.1:{own_stack.port}"  # newman takes localhost for ::1, which counts by itself

    run = Run(tmp_path, own_stack, "--folder", "Sign up and sign in", base_url=url)

    run.assert_passed()
    limited = [each for each in run.executions if each["response"]["code"] == 429]
    assert len(limited) == 1
    assert "assertions" not in limited[0]
    assert run.names.count(limited[0]["item"]["name"]) == 2
    for each in run.executions:
        headers = {header["key"]: header["value"] for header in each["response"]["header"]}
        if "jwks" not in each["item"]["request"]["url"]["path"]:  # public keys are not counted
            assert re.fullmatch(r'"(anon|user)";r=\d;t=\d+', headers["RateLimit"])

    for _ in range(5):  # all that an address has without a token: signing up and in has to wait
        requests.post(f"{url}/token/verify/", json={"token": "none"}, timeout=30)
    nobody = {"alice_username": "", "alice_access": "", "alice_refresh": ""}
    tokens = Run(tmp_path, own_stack, "--folder", "Tasks", base_url=url, **nobody)

    tokens.assert_passed()
    assert re.search(r"POST /\S+: over the limit; going on in \d+ seconds", " ".join(tokens.output.split()))


@pytest.mark.thorough
def test_a_token_that_has_run_out_is_refreshed(tmp_path, stack):
    pair = pair_of_admin(stack)

    run = Run(*(tmp_path, stack, *OF_ADMIN), admin_access=run_out(pair["access"]), admin_refresh=pair["refresh"])

    run.assert_passed()
    assert run.statuses == [400]
    assert run.variables["admin_refresh"] != pair["refresh"]
    assert claims(run.variables["admin_refresh"])["sid"] == claims(pair["refresh"])["sid"]


@pytest.mark.thorough
def test_a_token_that_is_refused_is_replaced_and_its_request_sent_again(tmp_path, stack):
    pair = pair_of_admin(stack)

    run = Run(*(tmp_path, stack, *OF_ADMIN), admin_access=spoiled(pair["access"]), admin_refresh=pair["refresh"])

    run.assert_passed()
    assert run.statuses == [401, 400]
    assert claims(run.variables["admin_refresh"])["sid"] == claims(pair["refresh"])["sid"]


@pytest.mark.thorough
def test_where_refreshing_does_not_help_it_signs_in_anew(tmp_path, stack):
    pair = pair_of_admin(stack)
    tokens = {"admin_access": run_out(pair["access"]), "admin_refresh": spoiled(pair["refresh"])}

    run = Run(*(tmp_path, stack, *OF_ADMIN), **tokens)

    run.assert_passed()
    assert run.statuses == [400]
    assert claims(run.variables["admin_refresh"])["sid"] != claims(pair["refresh"])["sid"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["Alice reads her account", "A plain user makes no tasks", "Only admins list accounts"]
)
def test_a_request_can_be_sent_alone(tmp_path, stack, name):
    run = Run(tmp_path, stack, "--folder", name)

    run.assert_passed()
    assert run.names == [name]


@pytest.mark.thorough
def test_where_alices_account_is_gone_she_signs_up_anew(tmp_path, stack):
    of_nobody = {"alice_username": "alice-of-last-year", "alice_password": "her password of last year"}

    run = Run(tmp_path, stack, "--folder", "Alice reads her account", **of_nobody)

    run.assert_passed()
    assert run.statuses == [200]
    assert run.variables["alice_username"] != of_nobody["alice_username"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("given", "told"), [("", "set admin_password in the environment"), ("wrong", "admin cannot sign in: ")]
)
def test_a_password_that_is_missing_or_wrong_is_told(tmp_path, stack, given, told):
    run = Run(tmp_path, stack, *OF_ADMIN, admin_password=given)

    assert run.status == 1
    assert told in run.output
