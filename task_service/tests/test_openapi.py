"""The OpenAPI document of the task service, and its pages."""

import pytest
from rest_framework.test import APIClient

from chassis.testing import openapi_pages
from chassis.testing.openapi_document import Document
from chassis.testing.openapi_pages import invalid_samples, samples, views_by_route
from chassis.testing.permission_table import read
from config.urls import DOCUMENTATION
from notifications.models import Delivery, Event
from tasks.models import Task
from tests.conftest import invalid_fields

pytestmark = pytest.mark.django_db

DOCUMENT = Document(DOCUMENTATION)
TASK_TYPES = {
    **dict.fromkeys(("title", "description", "status", "status_label", "priority"), "string"),
    **dict.fromkeys(("id", "assigned_to", "created_by", "version"), "integer"),
    **dict.fromkeys(("created_at", "updated_at", "completed_at"), "string date-time"),
    "due_date": "string date",
    "is_overdue": "boolean",
    "assignee": "object",
}
WRITABLE = {"title", "description", "status", "priority", "due_date", "assigned_to"}
READS = [call for call in DOCUMENT.operations if call.startswith("GET ")]
QUERIES = [(call, name) for call in READS for name in DOCUMENT.parameters(call, "query")]


def types(definition):
    schemas = DOCUMENT.spec["definitions"][definition]["properties"].items()
    kinds = {name: f"{schema['type']} {schema.get('format', '')}" for name, schema in schemas}
    return {name: kind.removesuffix("int64").strip() for name, kind in kinds.items()}


def marked(definition, mark):
    return {name for name, schema in DOCUMENT.spec["definitions"][definition]["properties"].items() if schema.get(mark)}


def defaults(schema):
    return {name for name, each in schema["properties"].items() if "default" in each}


@pytest.fixture
def stranger():
    return APIClient()


def test_the_document_is_valid_swagger():
    DOCUMENT.assert_valid()


def test_the_document_has_all_routes_and_no_others():
    openapi_pages.assert_complete(DOCUMENT)


def test_everything_has_a_description():
    openapi_pages.assert_everything_is_described(DOCUMENT)


def test_every_response_has_a_valid_example():
    assert list(openapi_pages.wrong_examples(DOCUMENT)) == []
    assert openapi_pages.answers_without_examples(DOCUMENT) == []


@pytest.mark.parametrize(
    "check",
    [
        openapi_pages.assert_loads_nothing_from_elsewhere,
        openapi_pages.assert_policy_is_narrow,
        openapi_pages.assert_pages_ask_for_the_document_alone,
    ],
)
def test_the_pages_are_safe(stranger, check):
    check(stranger, "task")


def test_the_document_is_served_as_json_and_yaml(stranger):
    openapi_pages.assert_document_is_served(stranger, "task", DOCUMENT)


def test_a_task_has_all_its_fields_with_their_types():
    assert types("Task") == TASK_TYPES
    assert marked("Task", "x-nullable") == {"due_date", "assigned_to", "assignee", "completed_at"}
    assert marked("TaskPut", "readOnly") == marked("TaskPatch", "readOnly") == TASK_TYPES.keys() - WRITABLE
    assert set(DOCUMENT.spec["definitions"]["Task"]["required"]) == TASK_TYPES.keys()


def test_bodies_differ_by_method():
    new, put, patch = (DOCUMENT.spec["definitions"][name] for name in ("NewTask", "TaskPut", "TaskPatch"))

    assert new["properties"].keys() == WRITABLE
    assert put["properties"].keys() == patch["properties"].keys() == TASK_TYPES.keys()
    assert new["required"] == put["required"] == ["title"]
    assert "required" not in patch
    assert defaults(put) == {"description", "status", "priority"}
    assert defaults(patch) == set()
    assert all(each["additionalProperties"] is False for each in (new, put, patch))


def test_the_query_parameters_are_those_of_the_views():
    openapi_pages.assert_parameters_are_known(DOCUMENT, views_by_route())


@pytest.mark.parametrize(("call", "name"), QUERIES)
def test_a_query_parameter_accepts_documented_values(ada, create_task, call, name):
    parameter = DOCUMENT.parameters(call, "query")[name]
    path = call.removeprefix("GET ").replace("{id}", str(create_task().id))

    taken = {read(ada.get(path, {name: value})).status_code for value in samples(parameter)}
    rejected = {read(ada.get(path, {name: value})).status_code for value in invalid_samples(parameter)}

    assert taken == ({400} if name == "cursor" else {200})  # a made-up cursor is never valid
    assert rejected <= {400}


@pytest.mark.parametrize("call", DOCUMENT.operations)
def test_an_undocumented_query_parameter_is_400(ada, create_task, call):
    method, route = call.split()
    path = route.replace("{id}", str(create_task().id))

    answer = ada.generic(method, f"{path}?limit=1")

    assert (invalid_fields(answer), answer.json()["errors"][0]["code"]) == (["limit"], "unknown_parameter")


WITH_BODY = ["POST /task/tasks/", "POST /task/tasks/bulk/", "PUT /task/tasks/{id}/", "PATCH /task/tasks/{id}/"]


@pytest.mark.parametrize("call", WITH_BODY)
def test_examples_of_bodies_are_accepted(ada, directory, create_task, call):
    create_task(id=1)  # the one in the examples
    method, route = call.split()
    schema = DOCUMENT.parameters(call, "body")["body"]["schema"]["$ref"]
    example = DOCUMENT.spec["definitions"][schema.rpartition("/")[2]]["example"]
    example = {**example, "assigned_to": ada.id} if "assigned_to" in example else example

    answer = getattr(ada, method.lower())(route.replace("{id}", "1"), example)

    assert str(answer.status_code) in DOCUMENT.operations[call]["responses"]
    assert answer.status_code in (200, 201)


def test_all_bodies_have_an_example():
    assert [call for call in DOCUMENT.operations if DOCUMENT.parameters(call, "body")] == WITH_BODY


@pytest.mark.parametrize(("changes", "is_taken"), [({}, True), ({"titel": "x"}, False), ({"status": "done"}, False)])
def test_schema_and_service_agree_on_a_body(ada, directory, changes, is_taken):
    body = {"title": "Feed the cat", **changes}

    assert (DOCUMENT.body_errors("POST /task/tasks/", body) == []) is is_taken
    assert (ada.post("/task/tasks/", body).status_code == 201) is is_taken


def test_a_task_can_be_sent_back(ada, create_task):
    path = f"/task/tasks/{create_task().id}/"
    task = ada.get(path).json()

    assert DOCUMENT.body_errors("PUT /task/tasks/{id}/", task) == []
    assert ada.put(path, task).status_code == 200


def test_kinds_and_states_are_those_of_the_models():
    definitions = DOCUMENT.spec["definitions"]

    assert definitions["Task"]["properties"]["status"]["enum"] == Task.Status.values
    assert definitions["Notification"]["properties"]["kind"]["enum"] == Event.Kind.values
    assert definitions["Delivery"]["properties"]["state"]["enum"] == Delivery.State.values


HEADERS = {
    "POST /task/tasks/": {"Idempotency-Key"},
    "GET /task/tasks/{id}/": {"If-None-Match"},
    "PUT /task/tasks/{id}/": {"If-Match"},
    "PATCH /task/tasks/{id}/": {"If-Match"},
    "DELETE /task/tasks/{id}/": {"If-Match"},
    "GET /task/tasks/export.csv": set(),
    "POST /task/tasks/bulk/": set(),
}


@pytest.mark.parametrize("call", HEADERS)
def test_operations_accept_their_headers(call):
    assert DOCUMENT.parameters(call, "header").keys() == HEADERS[call] | {"X-Request-ID"}


STATUSES = {
    "GET /task/tasks/": {200, 304, 400, 401, 429, 503},
    "POST /task/tasks/": {201, 400, 401, 403, 409, 413, 415, 422, 429, 503},
    "GET /task/tasks/export.csv": {200, 400, 401, 429, 503},
    "PATCH /task/tasks/{id}/": {200, 400, 401, 403, 404, 412, 413, 415, 429, 503},
    "DELETE /task/tasks/{id}/": {204, 400, 401, 403, 404, 412, 429, 503},
    "POST /task/notifications/{id}/read/": {200, 400, 401, 404, 429, 503},
}


@pytest.mark.parametrize("call", STATUSES)
def test_operations_have_their_statuses_and_no_others(call):
    responses = DOCUMENT.operations[call]["responses"]

    assert {int(status) for status in responses if status != "default"} == STATUSES[call]
    assert {"RateLimit", "RateLimit-Policy", "X-Request-ID"} <= responses["429"]["headers"].keys()
    assert "Retry-After" in responses["429"]["headers"]
    assert responses["401"]["schema"] == {"$ref": "#/definitions/Problem"}


def test_every_operation_requires_a_bearer_token():
    assert DOCUMENT.spec["securityDefinitions"]["Bearer"]["type"] == "apiKey"
    assert all(operation["security"] == [{"Bearer": []}] for operation in DOCUMENT.operations.values())


@pytest.mark.parametrize("name", ["", "drf-yasg/", "drf-yasg/insQ.min.js", "../config/settings.py"])
def test_no_other_file_is_served(stranger, name):
    assert stranger.get(f"/task/static/{name}").status_code == 404
