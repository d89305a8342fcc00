"""The OpenAPI document of the task service, and its pages."""

import pytest
from rest_framework.test import APIClient

from chassis.testing import openapi_pages
from chassis.testing.openapi_document import Document
from chassis.testing.openapi_pages import invalid_samples, known_parameters, samples, views_by_route
from chassis.testing.permission_table import read
from config.urls import DOCUMENTATION
from notifications.models import Delivery, Event, Notification
from tasks.models import Task

pytestmark = pytest.mark.django_db

DOCUMENT = Document(DOCUMENTATION)
TASK_TYPES = {
    "id": "integer",
    "title": "string",
    "description": "string",
    "status": "string",
    "status_label": "string",
    "priority": "string",
    "due_date": "string date",
    "is_overdue": "boolean",
    "assigned_to": "integer",
    "assignee": "object",
    "created_by": "integer",
    "created_at": "string date-time",
    "updated_at": "string date-time",
    "completed_at": "string date-time",
    "version": "integer",
}
WRITABLE = {"title", "description", "status", "priority", "due_date", "assigned_to"}
READS = [call for call in DOCUMENT.operations if call.startswith("GET ")]
QUERIES = [(call, name) for call in READS for name in DOCUMENT.parameters(call, "query")]


def types(definition):
    schemas = DOCUMENT.spec["definitions"][definition]["properties"]
    kinds = {name: (schema.get("type"), schema.get("format")) for name, schema in schemas.items()}
    return {
        name: " ".join(filter(None, (kind, "" if form == "int64" else form))) for name, (kind, form) in kinds.items()
    }


def marked(definition, mark):
    return {name for name, schema in DOCUMENT.spec["definitions"][definition]["properties"].items() if schema.get(mark)}


@pytest.fixture
def stranger():
    return APIClient()


def test_the_document_is_valid_swagger():
    DOCUMENT.assert_valid()


def test_the_document_has_all_routes_and_no_others():
    openapi_pages.assert_complete(DOCUMENT)


def test_everything_has_a_description():
    openapi_pages.assert_everything_is_described(DOCUMENT)


def test_every_example_matches_its_schema():
    assert list(openapi_pages.wrong_examples(DOCUMENT)) == []


def test_every_response_with_a_body_has_an_example():
    assert openapi_pages.answers_without_examples(DOCUMENT) == []


def test_the_pages_load_nothing_from_other_hosts(stranger):
    openapi_pages.assert_loads_nothing_from_elsewhere(stranger, "task")


def test_the_pages_have_a_strict_policy(stranger):
    openapi_pages.assert_policy_is_narrow(stranger, "task")


def test_the_pages_request_only_the_document(stranger):
    openapi_pages.assert_pages_ask_for_the_document_alone(stranger, "task")


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
    assert {name for name, schema in put["properties"].items() if "default" in schema} == {
        *("description", "status", "priority")
    }
    assert not any("default" in schema for schema in patch["properties"].values())
    assert all(each["additionalProperties"] is False for each in (new, put, patch))


def test_the_query_parameters_are_those_of_the_views():
    openapi_pages.assert_parameters_are_known(DOCUMENT, views_by_route())


def test_parameters_are_found():
    assert len(QUERIES) == 12 + 12 + 15 + 3 + 1 + 3 + 3 + 3
    assert known_parameters(views_by_route()["/task/notifications/"]) == {"unread", "cursor", "ordering", "page_size"}


@pytest.mark.parametrize(("call", "name"), QUERIES)
def test_a_query_parameter_accepts_documented_values(ada, create_task, call, name):
    parameter = DOCUMENT.parameters(call, "query")[name]
    path = call.removeprefix("GET ").replace("{id}", str(create_task().id))

    taken = {read(ada.get(path, {name: value})).status_code for value in samples(parameter)}
    rejected = {read(ada.get(path, {name: value})).status_code for value in invalid_samples(parameter)}

    assert taken == ({400} if name == "cursor" else {200})  # a made-up cursor is never valid
    assert rejected <= {400}


@pytest.mark.parametrize("call", READS)
def test_an_undocumented_query_parameter_is_400(ada, create_task, call):
    path = call.removeprefix("GET ").replace("{id}", str(create_task().id))

    assert ada.get(path, {"limit": "1"}).json()["errors"][0]["code"] == "unknown_parameter"


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


def test_the_notification_schemas_match_the_responses(ada, alice, create_task):
    task = create_task()
    Task.objects.filter(pk=task.pk).change(by_id=ada.id, assigned_to_id=alice.id)
    notification = Notification.objects.get(recipient=alice.id)

    for client, call, path in (
        (alice, "GET /task/notifications/", "/task/notifications/"),
        (alice, "POST /task/notifications/{id}/read/", f"/task/notifications/{notification.pk}/read/"),
        (ada, "GET /task/tasks/{id}/notifications/", f"/task/tasks/{task.pk}/notifications/"),
        (ada, "GET /task/tasks/{id}/activity/", f"/task/tasks/{task.pk}/activity/"),
    ):
        answer = client.generic(call.split()[0], path)
        assert answer.json().get("results") != []
        assert DOCUMENT.response_errors(call, "200", answer.json()) == []


HEADERS = {
    "POST /task/tasks/": {"Idempotency-Key", "X-Request-ID"},
    "GET /task/tasks/{id}/": {"If-None-Match", "X-Request-ID"},
    "PUT /task/tasks/{id}/": {"If-Match", "X-Request-ID"},
    "PATCH /task/tasks/{id}/": {"If-Match", "X-Request-ID"},
    "DELETE /task/tasks/{id}/": {"If-Match", "X-Request-ID"},
    "GET /task/tasks/export.csv": {"X-Request-ID"},
    "POST /task/tasks/bulk/": {"X-Request-ID"},
}


@pytest.mark.parametrize("call", HEADERS)
def test_operations_accept_their_headers(call):
    assert DOCUMENT.parameters(call, "header").keys() == HEADERS[call]


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


def test_a_new_task_has_location_and_etag():
    headers = DOCUMENT.operations["POST /task/tasks/"]["responses"]["201"]["headers"]

    assert {"ETag", "Location"} <= headers.keys()


def test_a_412_has_changed_fields(ada, create_task):
    task = create_task()
    path = f"/task/tasks/{task.pk}/"
    tag = ada.get(path)["ETag"]
    ada.patch(path, {"status": "completed"})

    answer = ada.patch(path, {"title": "Feed the cat"}, headers={"If-Match": tag})

    assert answer.json()["changed_fields"] == ["status"]
    assert DOCUMENT.response_errors("PATCH /task/tasks/{id}/", "412", answer.json()) == []


def test_every_operation_requires_a_bearer_token():
    assert DOCUMENT.spec["securityDefinitions"]["Bearer"]["type"] == "apiKey"
    assert all(operation["security"] == [{"Bearer": []}] for operation in DOCUMENT.operations.values())


@pytest.mark.parametrize(
    "name", ["", "drf-yasg/", "drf-yasg/insQ.min.js", "drf-yasg/swagger-ui-dist/index.html", "../config/settings.py"]
)
def test_no_other_file_is_served(stranger, name):
    assert stranger.get(f"/task/static/{name}").status_code == 404


def test_reading_the_documentation_is_not_counted(stranger):
    answers = [stranger.get("/task/docs/"), read(stranger.get("/task/static/drf-yasg/style.css"))]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert not any("RateLimit" in answer.headers for answer in answers)


def test_other_responses_keep_the_default_policy(ada):
    for path in ("/task/tasks/", "/task/nowhere/", "/task/health/live/"):
        assert ada.get(path)["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
