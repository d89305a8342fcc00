import pytest
from django.utils.dateparse import parse_datetime

from directory.models import User
from tasks.models import Task
from tests.conftest import FULL, TASKS, invalid_fields, task_url

pytestmark = pytest.mark.django_db


def test_it_works(ada, alice, user_service, settings):
    settings.PUBLIC_URL = "https://tm.example"
    sent = FULL | {"description": "The fern too.\n\tNot the cactus.", "assigned_to": alice.id}

    answer = ada.post(TASKS, sent)

    task = answer.json()
    assert answer.status_code == 201
    assert {name: task[name] for name in sent} == sent
    assert answer["Location"] == f"https://tm.example/task/tasks/{task['id']}/"
    assert ada.get(answer["Location"]).json() == task


def test_omitted_fields_get_their_defaults(ada):
    task = ada.post(TASKS, {"title": "Water the plants"}).json()

    defaults = {"description": "", "status": "todo", "priority": "normal", "due_date": None, "assigned_to": None}
    set_by_server = {"created_by": ada.id, "completed_at": None, "updated_at": task["created_at"], "version": 1}
    assert task | defaults | set_by_server == task
    assert parse_datetime(task["created_at"]) == Task.objects.get().created_at


def test_a_task_can_be_created_completed(ada):
    task = ada.post(TASKS, {"title": "Done already", "status": "completed"}).json()

    assert task["completed_at"] == task["created_at"]


@pytest.mark.parametrize("due_date", ["2000-01-01", "2100-12-31"])
def test_any_due_date_in_the_century_is_accepted(ada, due_date):
    assert ada.post(TASKS, {"title": "Sometime", "due_date": due_date}).json()["due_date"] == due_date


# Invalid bodies


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("title", value) for value in ("", " \u3000\t", "x" * 201, "esc\x1b[31m", "exe\u202egnp", None, 7, ["a"])),
        *(("description", value) for value in (None, 1, [], "esc\x1b", "exe\u202egnp", "x" * 50_001)),
        *((name, value) for name in ("status", "priority") for value in ("", "bogus", " todo", None, 1, True, {}, [])),
        *(("due_date", value) for value in (20260101, True, [], {}, ["2026-01-01"])),
        *(("id", 7), ("status_label", "To Do"), ("is_overdue", False), ("created_by", 101), ("completed_at", None)),
        *(("created_at", "2026-01-01T00:00:00Z"), ("updated_at", "2026-01-01T00:00:00Z"), ("version", 1)),
        *(("assignee", {"id": 102, "username": "alice"}), ("titel", "x"), ("", "x")),
        *(("assigned_to", value) for value in (0, -1, 2**63, "", " \n", "x" * 65, True, 102.0, float(2**60))),
        *(("assigned_to", value) for value in ([], [102], ["alice"], {"id": 102})),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_an_invalid_field_is_400(ada, user_service, field, value):
    answer = ada.post(TASKS, {"title": "Water", field: value})

    assert invalid_fields(answer) == [field]
    assert "ErrorDetail" not in answer.json()["detail"]
    assert (Task.objects.exists(), user_service.calls) == (False, [])


def test_an_invalid_due_date_is_400(ada, invalid_date):
    assert invalid_fields(ada.post(TASKS, {"title": "Water", "due_date": invalid_date})) == ["due_date"]
    assert not Task.objects.exists()


def test_a_title_is_required(ada):
    assert invalid_fields(ada.post(TASKS, {"description": "Of what?"})) == ["title"]


def test_all_errors_are_reported_together(ada):
    answer = ada.post(TASKS, {"title": "", "status": "bogus", "colour": "red", "version": 9})

    assert sorted(invalid_fields(answer)) == ["colour", "status", "title", "version"]


# Texts and choices


@pytest.mark.parametrize(
    "title",
    [
        *("x" * 200, "\U0001f331" * 200, "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "e\u0301 is not \u00e9"),
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 and \U0001f3f4\U000e0067\U000e0062\U000e007f",
        *("'; DROP TABLE tasks_task; --", "<script>alert(1)</script> {{7*7}} ${jndi:x} %s%n", "\\u0000 is a NUL"),
    ],
    ids=ascii,
)
def test_a_title_is_stored_exactly_as_sent(ada, title):
    answer = ada.post(TASKS, {"title": title})

    assert answer.json()["title"] == Task.objects.get().title == title


@pytest.mark.parametrize("title", [" Water the plants \u3000\r\n", "Water \r\n\t the\u2028plants\u2029"], ids=ascii)
def test_a_pasted_title_is_cleaned(ada, title):
    answer = ada.post(TASKS, {"title": title})

    assert answer.json()["title"] == "Water the plants"
    assert ada.patch(task_url(Task.objects.get()), {"title": title}).json()["version"] == 1


def test_a_description_keeps_lines_with_normalized_line_ends(ada):
    body = {"title": "Water", "description": " one\vtwo\fthree\r\n\tfour\u2028"}

    assert ada.post(TASKS, body).json()["description"] == " one\ntwo\nthree\r\n\tfour\u2028"


@pytest.mark.parametrize(
    ("sent", "stored", "label"),
    [
        *(("todo", "todo", "To Do"), ("To Do", "todo", "To Do"), ("TO DO", "todo", "To Do")),
        ("iN pRoGrEsS", "in_progress", "In Progress"),
        ("COMPLETED", "completed", "Completed"),
    ],
)
def test_a_status_is_accepted_as_value_or_label(ada, sent, stored, label):
    task = ada.post(TASKS, {"title": "Water", "status": sent}).json()

    assert (task["status"], task["status_label"]) == (stored, label)


# Assignees


def test_admins_can_assign_tasks_to_themselves(ada):
    answer = ada.post(TASKS, {"title": "Water", "assigned_to": ada.id})

    assert (answer.status_code, answer.json()["assigned_to"]) == (201, ada.id)


@pytest.mark.parametrize("unknown", [99, 2**63 - 1])
def test_an_unknown_assignee_is_400(ada, user_service, unknown):
    answer = ada.post(TASKS, {"title": "Water", "assigned_to": unknown})

    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        [{"field": "assigned_to", "code": "unknown_user", "detail": f"There is no user {unknown}."}],
    )
    assert not Task.objects.exists()


def test_an_inactive_assignee_is_400(ada, alice, user_service):
    User.objects.filter(pk=alice.id).update(is_active=False)
    user_service.add(alice, is_active=False)

    answer = ada.post(TASKS, {"title": "Water", "assigned_to": alice.id})

    assert (invalid_fields(answer), answer.json()["errors"][0]["code"]) == (["assigned_to"], "inactive_user")
    assert not Task.objects.exists()


def test_other_errors_prevent_the_lookup_of_the_assignee(ada, newcomer, user_service):
    answer = ada.post(TASKS, {"title": "", "assigned_to": newcomer.id})

    assert (invalid_fields(answer), user_service.calls) == (["title"], [])
