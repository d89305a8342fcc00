"""scripts/fuzz finds no fault in the services, and reports each kind of fault."""

import copy
import json
import re
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from stack import bootstrap
from tests.lab import fuzz
from tests.local_stack import eventually, leftovers, start_script

CASES = 1_000
NO = {"code": "invalid", "errors": [{"field": "size", "code": "invalid"}]}
PROBLEM = {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}, "errors": {}}}
THING = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
DOCUMENT = {
    "swagger": "2.0",
    "info": {"title": "Things", "version": "1"},
    "basePath": "/",
    "produces": ["application/json"],
    "securityDefinitions": {"Bearer": {"type": "apiKey", "name": "Authorization", "in": "header"}},
    "paths": {
        "/thing/": {
            "get": {
                "operationId": "readThing",
                "parameters": [{"name": "size", "in": "query", "type": "integer", "minimum": 1, "maximum": 9}],
                "responses": {
                    "200": {"description": "It.", "schema": {"$ref": "#/definitions/Thing"}},
                    "400": {"description": "Not so.", "schema": {"$ref": "#/definitions/Problem"}},
                    "default": {"description": "Else.", "schema": {"$ref": "#/definitions/Problem"}},
                },
            }
        }
    },
    "definitions": {"Thing": THING, "Problem": PROBLEM},
}
SETUP = {
    "role": "user",
    "seed": 1,
    "password": "correct horse battery",
    "keeper": {"username": "admin", "password": "correct horse battery"},
    "caller": {"id": 2, "username": "bob"},
    "example": {},
    "protected": [],
    "password_tokens": [],
    "email_tokens": [],
}


class StandIn(BaseHTTPRequestHandler):
    """A service with one operation, whose responses the test chooses."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.answer(200, {"access": "token", "refresh": "token"})

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path != "/thing/":
            return self.answer(404, NO)
        size = re.fullmatch("(?:size=[1-9])?", query)
        return self.answer(*(self.server.says if size or self.server.takes_all else (400, NO)))

    def __getattr__(self, name):
        if not name.startswith("do_"):
            raise AttributeError(name)
        return lambda: self.answer(405, NO, Allow="GET")

    def answer(self, status, content, **headers):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(content).encode()
        self.send_response(status)
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def python() -> Path:
    return bootstrap.install("fuzz", venv=bootstrap.VENV / "fuzz", interpreter=fuzz.interpreter())


@pytest.fixture
def stand_in() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.says, server.takes_all = (200, {"id": 1}), False
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def call_all(python, stand_in, temporary, capfd):
    """Return a function that fuzzes the fake service and returns the result."""
    setup = SETUP | {"port": stand_in.server_port}

    def call():
        document = fuzz.strict(copy.deepcopy(DOCUMENT))
        passed, tally = fuzz.call_all(python, document, setup, temporary / "run", 40)
        return passed, tally, capfd.readouterr().out

    return call


def no_such_day(day):
    errors = [{"field": "size", "code": "invalid", "detail": f"There is no such date: {day}."}]
    return 400, {"code": "invalid", "errors": errors}


def test_no_answer_is_a_server_error_or_undocumented(temporary):
    fuzzing = start_script("fuzz", temporary, f"--cases={CASES}", "--seed=1")

    output, _ = fuzzing.communicate()

    assert fuzzing.returncode == 0, output
    closing = r"([\d,]+) cases over 44 operations, as admin and as user: 0 server errors, 0 undocumented"
    made = re.fullmatch(closing, output.splitlines()[-1])
    assert made, output
    assert int(made[1].replace(",", "")) >= CASES, output
    assert leftovers(temporary) == ([], [])


def test_a_service_that_matches_its_document_passes(call_all):
    passed, tally, output = call_all()

    assert passed, output
    assert tally["GET /thing/"].keys() >= {"200", "400"}
    assert all(f"{phase} (in" in output for phase in ("Coverage", "Fuzzing"))


@pytest.mark.parametrize(
    ("says", "finding"),
    [
        ((418, NO), "Undocumented status code"),
        pytest.param((500, NO), "Server error", marks=pytest.mark.slow),
        pytest.param((200, {"id": 1, "secret": "x"}), "Response violates schema", marks=pytest.mark.slow),
        pytest.param((200, {}), "Response violates schema", marks=pytest.mark.slow),
        pytest.param((200, {"id": "1"}), "Response violates schema", marks=pytest.mark.slow),
        (no_such_day("2071-04-30"), "Schema-valid request rejected"),
        pytest.param((400, NO), "Schema-valid request rejected", marks=pytest.mark.slow),
    ],
)
def test_a_fault_is_reported_with_a_command_to_repeat_it(stand_in, call_all, says, finding):
    stand_in.says = says

    passed, _, output = call_all()

    assert not passed
    assert finding in output
    assert re.search(r"curl -X GET .*/thing/", output)


def test_a_nonexistent_date_may_be_refused(stand_in, call_all):
    stand_in.says = no_such_day("2071-04-31")

    assert call_all()[0]


def test_accepting_forbidden_data_is_a_failure(stand_in, call_all):
    stand_in.takes_all = True

    passed, _, output = call_all()

    assert not passed
    assert "Schema-violating request accepted" in output


def test_an_operation_that_never_succeeds_is_a_failure(capsys):
    document = fuzz.strict(copy.deepcopy(DOCUMENT))
    for tally, status in (({"200": 1, "400": 9}, 0), ({"400": 9, "401": 30}, 1)):
        run = fuzz.FuzzRun("task", "user", document, passed=True, tally={"GET /thing/": tally})

        assert fuzz.report([run], is_small=False) == status
    assert "GET /thing/ as user never succeeded" in capsys.readouterr().out


def test_one_failed_run_fails_all(capsys):
    runs = [fuzz.FuzzRun("task", role, {"paths": {}}, passed=role == "user", tally={}) for role in ("user", "admin")]

    assert fuzz.report(runs, is_small=False) == 1
    assert capsys.readouterr().out.endswith("failures at the task service as admin\n")


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("--cases=0", "--cases is 0; it must be 1 or more"),
        ("--cases=many", "invalid int value: 'many'"),
        ("--x", "--x"),
    ],
)
def test_an_invalid_option_is_refused(temporary, option, error):
    fuzzing = start_script("fuzz", temporary, option)

    output, _ = fuzzing.communicate()

    assert fuzzing.returncode == 2
    assert error in output.splitlines()[-1]
    assert leftovers(temporary) == ([], [])


@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing_behind(temporary):
    fuzzing = start_script("fuzz", temporary)
    eventually(lambda: list(temporary.glob("*/user-user/setup.json")))

    fuzzing.send_signal(signal.SIGINT)
    output, _ = fuzzing.communicate()

    assert fuzzing.returncode == 1
    assert output.endswith("\nStopped.\n")
    assert leftovers(temporary) == ([], [])
