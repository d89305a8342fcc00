import pytest
from django.utils.dateparse import parse_datetime

from directory.models import User
from tasks.models import Task

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"


def invalid_fields(answer):
    """Return the fields of a 400."""
    assert answer.status_code == 400, answer.content
    return [error["field"] for error in answer.json()["errors"]]


def test_it_works(ada, alice, user_service, settings):
    settings.PUBLIC_URL = "https://tm.example"
    sent = {
        "title": "Water the plants",
        "description": "The fern too.\n\tNot the cactus.",
        "status": "in_progress",
        "priority": "urgent",
        "due_date": "2096-02-29",
        "assigned_to": alice.id,
    }

    answer = ada.post(TASKS, sent)

    task = answer.json()
    assert answer.status_code == 201
    assert {name: task[name] for name in sent} == sent
    assert answer["Location"] == f"https://tm.example/task/tasks/{task['id']}/"
    assert ada.get(answer["Location"]).json() == task


def test_omitted_fields_get_their_defaults(ada):
    task = ada.post(TASKS, {"title": "Water the plants"}).json()

    stored = Task.objects.get()
    assert task == {
        "id": stored.pk,
        "title": "Water the plants",
        "description": "",
        "status": "todo",
        "status_label": "To Do",
        "priority": "normal",
        "due_date": None,
        "is_overdue": False,
        "assigned_to": None,
        "assignee": None,
        "created_by": ada.id,
        "created_at": task["created_at"],
        "updated_at": task["created_at"],
        "completed_at": None,
        "version": 1,
    }
    assert parse_datetime(task["created_at"]) == stored.created_at


def test_a_task_can_be_created_completed(ada):
    task = ada.post(TASKS, {"title": "Done already", "status": "completed"}).json()

    assert task["completed_at"] == task["created_at"]


@pytest.mark.parametrize("due_date", ["2000-01-01", "2024-02-29", "2100-12-31"])
def test_any_due_date_in_the_century_is_accepted(ada, due_date):
    assert ada.post(TASKS, {"title": "Sometime", "due_date": due_date}).json()["due_date"] == due_date


def test_a_user_cannot_create_tasks(alice):
    answer = alice.post(TASKS, {"title": "Mine"})

    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert not Task.objects.exists()


def test_an_expired_token_is_401(charlie):
    assert charlie.post(TASKS, {"title": "Mine"}).status_code == 401
    assert not Task.objects.exists()


def test_a_title_is_required(ada):
    answer = ada.post(TASKS, {"description": "Of what?"})

    assert invalid_fields(answer) == ["title"]


@pytest.mark.parametrize(
    "title",
    [
        "",
        " \u3000\t",
        "x" * 201,
        "\U0001f331" * 201,
        "esc\x1b[31m",
        "bell\x07",
        "c1\x9b31m",
        "exe\u202egnp",
        "iso\u2066late",
        "mark\ufeffed",
        "\u200b\u200d\u2060",
        "\u00ad",
        "\u3164",
        "\u2800",
        "\ufe0f",
        None,
        7,
        True,
        ["a"],
        {"a": 1},
    ],
    ids=ascii,
)
def test_an_invalid_title_is_400(ada, title):
    answer = ada.post(TASKS, {"title": title})

    assert invalid_fields(answer) == ["title"]
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    "title",
    [
        "x" * 200,
        "\U0001f331" * 200,
        "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 and \U0001f3f4\U000e0067\U000e0062\U000e007f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "e\u0301 is not \u00e9",
        "'; DROP TABLE tasks_task; --",
        "<script>alert(1)</script> {{7*7}} ${jndi:x} %s%n",
        "=HYPERLINK(1)",
        "\\u0000 is how NUL is written",
    ],
    ids=ascii,
)
def test_a_title_is_stored_exactly_as_sent(ada, title):
    answer = ada.post(TASKS, {"title": title})

    assert answer.json()["title"] == title
    assert Task.objects.get().title == title


@pytest.mark.parametrize(
    "title",
    [
        *("  Water the plants \u3000", "Water the plants\n", "\u00a0Water the plants\r\n", "\fWater the plants\v"),
        *("Water\nthe plants", "Water \r\n\t the\u2028plants\u2029", "Water\vthe\fplants\x85"),
    ],
    ids=ascii,
)
def test_a_pasted_title_is_cleaned(ada, title):
    answer = ada.post(TASKS, {"title": title})

    assert answer.json()["title"] == "Water the plants"
    assert ada.patch(f"{TASKS}{answer.json()['id']}/", {"title": title}).json()["version"] == 1


def test_a_description_keeps_lines_with_normalized_line_ends(ada):
    body = {"title": "Water", "description": " one\vtwo\fthree\r\n\tfour\u2028"}

    assert ada.post(TASKS, body).json()["description"] == " one\ntwo\nthree\r\n\tfour\u2028"


@pytest.mark.parametrize(
    "description", [None, 1, [], "esc\x1b", "exe\u202egnp", "x" * 50_001], ids=lambda d: ascii(d)[:9]
)
def test_an_invalid_description_is_400(ada, description):
    assert invalid_fields(ada.post(TASKS, {"title": "Water", "description": description})) == ["description"]


@pytest.mark.parametrize(
    ("sent", "stored", "label"),
    [
        ("todo", "todo", "To Do"),
        ("To Do", "todo", "To Do"),
        ("TO DO", "todo", "To Do"),
        ("in_progress", "in_progress", "In Progress"),
        ("iN pRoGrEsS", "in_progress", "In Progress"),
        ("COMPLETED", "completed", "Completed"),
    ],
)
def test_a_status_is_accepted_as_value_or_label(ada, sent, stored, label):
    task = ada.post(TASKS, {"title": "Water", "status": sent}).json()

    assert (task["status"], task["status_label"]) == (stored, label)
    assert Task.objects.get().status == stored


@pytest.mark.parametrize("field", ["status", "priority"])
@pytest.mark.parametrize("value", ["", "bogus", " todo", "normal ", None, 1, True, {}, []], ids=repr)
def test_an_unknown_status_or_priority_is_400(ada, field, value):
    assert invalid_fields(ada.post(TASKS, {"title": "Water", field: value})) == [field]


def test_an_invalid_due_date_is_400(ada, invalid_date):
    assert invalid_fields(ada.post(TASKS, {"title": "Water", "due_date": invalid_date})) == ["due_date"]
    assert not Task.objects.exists()


@pytest.mark.parametrize("value", [20260101, True, [], {}, ["2026-01-01"]], ids=repr)
def test_a_due_date_that_is_not_a_string_is_400(ada, value):
    assert invalid_fields(ada.post(TASKS, {"title": "Water", "due_date": value})) == ["due_date"]


@pytest.mark.parametrize("who", ["ada", "alice"])
def test_tasks_can_be_assigned_to_admins_and_to_the_caller(ada, user_service, request, who):
    person = request.getfixturevalue(who)

    answer = ada.post(TASKS, {"title": "Water", "assigned_to": person.id})

    assert (answer.status_code, answer.json()["assigned_to"]) == (201, person.id)


@pytest.mark.parametrize("unknown", [99, 2**63 - 1])
def test_an_unknown_assignee_is_400(ada, user_service, unknown):
    answer = ada.post(TASKS, {"title": "Water", "assigned_to": unknown})

    assert answer.json()["errors"] == [
        {"field": "assigned_to", "code": "unknown_user", "detail": f"There is no user {unknown}."}
    ]
    assert answer.status_code == 400
    assert not Task.objects.exists()


def test_an_inactive_assignee_is_400(ada, alice, user_service):
    User.objects.filter(pk=alice.id).update(is_active=False)
    user_service.add(alice, is_active=False)

    answer = ada.post(TASKS, {"title": "Water", "assigned_to": alice.id})

    assert invalid_fields(answer) == ["assigned_to"]
    assert answer.json()["errors"][0]["code"] == "inactive_user"
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    "assignee",
    [0, -1, 2**63, "", " \n", "x" * 65, True, 102.0, float(2**60), [], [102], ["alice"], {"id": 102}],
    ids=lambda value: repr(value)[:24],
)
def test_an_invalid_assignee_is_400_without_a_lookup(ada, user_service, assignee):
    answer = ada.post(TASKS, {"title": "Water", "assigned_to": assignee})

    assert invalid_fields(answer) == ["assigned_to"]
    assert user_service.calls == []


def test_other_errors_prevent_the_lookup_of_the_assignee(ada, alice, user_service):
    answer = ada.post(TASKS, {"title": "", "assigned_to": alice.id})

    assert invalid_fields(answer) == ["title"]
    assert user_service.calls == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 7),
        ("status_label", "To Do"),
        ("is_overdue", False),
        ("created_by", 101),
        ("created_at", "2026-01-01T00:00:00Z"),
        ("updated_at", "2026-01-01T00:00:00Z"),
        ("completed_at", None),
        ("version", 1),
    ],
)
def test_read_only_fields_are_400(ada, field, value):
    answer = ada.post(TASKS, {"title": "Water", field: value})

    assert invalid_fields(answer) == [field]
    assert answer.json()["errors"][0]["code"] == "read_only"
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("field", "nearest"),
    [("titel", "title"), ("due", None), ("asigned_to", "assigned_to"), ("Status", "status"), ("__proto__", None)],
)
def test_an_unknown_field_is_400_with_a_suggestion(ada, field, nearest):
    answer = ada.post(TASKS, {"title": "Water", field: "x"})

    assert invalid_fields(answer) == [field]
    expected = f"Unknown field; did you mean {nearest}?" if nearest else "Unknown field."
    assert answer.json()["errors"][0]["detail"] == expected
    assert not Task.objects.exists()


def test_a_field_with_an_empty_name_is_400(ada):
    answer = ada.post(TASKS, {"title": "Water", "": "x"})

    assert answer.status_code == 400
    assert [error["code"] for error in answer.json()["errors"]] == ["unknown_field"]
    assert "ErrorDetail" not in answer.json()["detail"]


def test_all_errors_are_reported_together(ada):
    answer = ada.post(TASKS, {"title": "", "status": "bogus", "colour": "red", "version": 9})

    assert sorted(invalid_fields(answer)) == ["colour", "status", "title", "version"]


def test_query_parameters_are_400(ada):
    answer = ada.post(f"{TASKS}?status=todo", {"title": "Water"})

    assert invalid_fields(answer) == ["status"]
    assert not Task.objects.exists()
