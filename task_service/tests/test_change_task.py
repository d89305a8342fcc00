import pytest

from directory.models import User
from tasks.models import Task

FULL = {
    "title": "Water the plants",
    "description": "The fern too.",
    "status": "in_progress",
    "priority": "high",
    "due_date": "2096-02-29",
}


def path(task):
    return f"/task/tasks/{task.pk}/"


def deactivated(person):
    User.objects.filter(pk=person.id).update(is_active=False)


def difference(before, after):
    return {name for name in before | after if before[name] != after[name]}


@pytest.fixture
def task(create_task, alice):
    return create_task(**FULL | {"priority": Task.Priority.HIGH, "assigned_to": alice.id})


@pytest.mark.django_db
class TestPatch:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("title", "Feed the cat"),
            ("description", ""),
            ("priority", "low"),
            ("due_date", None),
            ("due_date", "2001-01-01"),
            ("status", "todo"),
            ("assigned_to", None),
        ],
    )
    def test_it_works(self, ada, task, field, value):
        before = ada.get(path(task)).json()

        answer = ada.patch(path(task), {field: value})

        derived = {"status": {"status_label"}, "assigned_to": {"assignee"}}.get(field, set())
        derived |= {"is_overdue"} if field == "due_date" and value else set()
        assert (answer.status_code, answer.json()[field]) == (200, value)
        assert difference(before, answer.json()) == {field, "version", "updated_at"} | derived
        assert answer.json()["version"] == before["version"] + 1
        assert answer.json()["updated_at"] > before["updated_at"]
        assert ada.get(path(task)).json() == answer.json()

    @pytest.mark.parametrize(
        "body", [{}, FULL, {"status": "In Progress", "title": " Water the plants "}, {"version": 1}]
    )
    def test_a_change_without_effect_keeps_the_version(self, ada, task, body):
        before = ada.get(path(task)).json()

        answer = ada.patch(path(task), body)

        assert (answer.status_code, answer.json()) == (200, before)
        assert ada.get(path(task)).json() == before

    @pytest.mark.parametrize(
        "body", [{"title": ""}, {"title": None}, {"status": "bogus"}, {"priority": 1}, {"titel": "x"}]
    )
    def test_an_invalid_field_prevents_the_whole_change(self, ada, task, body):
        before = ada.get(path(task)).json()

        answer = ada.patch(path(task), {"description": "Changed"} | body)

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == list(body)
        assert ada.get(path(task)).json() == before

    def test_an_invalid_due_date_is_400(self, ada, task, invalid_date):
        answer = ada.patch(path(task), {"due_date": invalid_date})

        assert [error["field"] for error in answer.json()["errors"]] == ["due_date"]
        assert str(Task.objects.get().due_date) == FULL["due_date"]

    @pytest.mark.parametrize("field", ["title", "description", "priority", "due_date", "status"])
    def test_other_fields_can_change_without_the_user_service(self, ada, task, user_service, field):
        user_service.close()

        answer = ada.patch(
            path(task), {"title": "x", "description": "x", "priority": "low", "due_date": None, "status": "todo"}
        )

        assert answer.status_code == 200
        assert answer.json()[field] != FULL[field]


@pytest.mark.django_db
class TestPut:
    def test_it_works(self, ada, bob, task, user_service):
        sent = {
            "title": "Feed the cat",
            "description": "Twice.",
            "status": "completed",
            "priority": "low",
            "due_date": "2001-01-01",
            "assigned_to": bob.id,
        }

        answer = ada.put(path(task), sent)

        assert answer.status_code == 200
        assert {name: answer.json()[name] for name in sent} == sent
        assert answer.json()["version"] == 2
        assert ada.get(path(task)).json() == answer.json()

    def test_a_title_is_required(self, ada, task):
        answer = ada.put(path(task), {name: value for name, value in FULL.items() if name != "title"})

        assert answer.status_code == 400
        assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("title", "required")]

    def test_omitted_fields_get_their_defaults(self, ada, task):
        answer = ada.put(path(task), {"title": FULL["title"]})

        defaults = {"description": "", "status": "todo", "priority": "normal", "due_date": None, "assigned_to": None}
        assert answer.status_code == 200
        assert {name: answer.json()[name] for name in defaults} == defaults
        assert answer.json()["title"] == FULL["title"]

    def test_a_task_can_be_read_edited_and_put_back(self, ada, task):
        read = ada.get(path(task)).json()

        answer = ada.put(path(task), read | {"title": "Feed the cat"})

        assert answer.status_code == 200
        assert difference(read, answer.json()) == {"title", "version", "updated_at"}

    def test_an_assignee_missing_in_the_directory_can_be_put_back(self, ada, create_task):
        read = ada.get(path(create_task(assigned_to=999))).json()

        answer = ada.put(path(Task.objects.get()), read | {"title": "Feed the cat"})

        assert (answer.status_code, answer.json()["assigned_to"], answer.json()["assignee"]) == (200, 999, None)

    def test_a_task_can_be_put_back_unchanged(self, ada, task):
        read = ada.patch(path(task), {"status": "completed", "due_date": "2001-01-01"}).json()

        answer = ada.put(path(task), read)

        assert (answer.status_code, answer.json()) == (200, read)


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["put", "patch"])
class TestEither:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("id", 99),
            ("status_label", "Completed"),
            ("is_overdue", True),
            ("is_overdue", 0),
            ("created_by", 102),
            ("created_at", "2026-01-01T00:00:00Z"),
            ("updated_at", "2026-01-01T00:00:00Z"),
            ("completed_at", "2026-01-01T00:00:00Z"),
            ("version", 2),
            ("version", True),
        ],
    )
    def test_read_only_fields_cannot_be_changed(self, ada, task, method, field, value):
        before = ada.get(path(task)).json()

        answer = getattr(ada, method)(path(task), {"title": "Feed the cat", field: value})

        assert answer.status_code == 400
        assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, "read_only")]
        assert ada.get(path(task)).json() == before

    def test_a_list_is_400(self, ada, task, method):
        answer = getattr(ada, method)(path(task), [{"title": "a"}, {"title": "b"}])

        assert answer.status_code == 400
        assert Task.objects.get().title == FULL["title"]

    def test_a_missing_task_is_404(self, ada, method):
        assert getattr(ada, method)("/task/tasks/1/", {"title": "Feed the cat"}).status_code == 404

    def test_query_parameters_are_400(self, ada, task, method):
        answer = getattr(ada, method)(f"{path(task)}?page_size=1", {"title": "Feed the cat"})

        assert answer.status_code == 400
        assert Task.objects.get().title == FULL["title"]

    def test_a_new_unknown_assignee_is_looked_up(self, ada, newcomer, task, user_service, method):
        answer = getattr(ada, method)(path(task), {"title": "Water", "assigned_to": newcomer.id})

        assert (answer.status_code, answer.json()["assigned_to"]) == (200, newcomer.id)
        assert [call.path for call in user_service.calls] == [f"/internal/users/?ids={newcomer.id}"]

    @pytest.mark.parametrize("assignee", ["alice", None])
    def test_keeping_or_removing_the_assignee_needs_no_lookup(self, ada, alice, task, user_service, method, assignee):
        deactivated(alice)
        who = alice.id if assignee else None

        answer = getattr(ada, method)(path(task), {"title": "Water", "assigned_to": who})

        assert (answer.status_code, answer.json()["assigned_to"]) == (200, who)
        assert user_service.calls == []

    def test_assigning_again_after_removing_is_a_new_lookup(self, ada, alice, task, user_service, method):
        ada.patch(path(task), {"assigned_to": None})
        deactivated(alice)
        user_service.add(alice, is_active=False)

        answer = getattr(ada, method)(path(task), {"title": "Water", "assigned_to": alice.id})

        assert answer.status_code == 400
        assert Task.objects.get().assigned_to_id is None

    @pytest.mark.parametrize("assignee", [99, 0, -1, 2**63, "102", True, 103.0, [103]], ids=repr)
    def test_an_invalid_assignee_is_400(self, ada, alice, task, user_service, method, assignee):
        answer = getattr(ada, method)(path(task), {"title": "Changed", "assigned_to": assignee})

        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["assigned_to"]
        assert (Task.objects.get().assigned_to_id, Task.objects.get().title) == (alice.id, FULL["title"])

    def test_an_unavailable_user_service_is_503(self, ada, newcomer, task, user_service, method):
        before = ada.get(path(task)).json()
        user_service.close()

        answer = getattr(ada, method)(path(task), {"title": "Changed", "assigned_to": newcomer.id})

        assert answer.status_code == 503
        assert ada.get(path(task)).json() == before


@pytest.mark.django_db
class TestCompletion:
    def test_completing_sets_completed_at(self, ada, task):
        before = ada.get(path(task)).json()

        after = ada.patch(path(task), {"status": "Completed"}).json()

        assert difference(before, after) == {"status", "status_label", "completed_at", "version", "updated_at"}
        assert after["completed_at"] == after["updated_at"]

    def test_completing_again_keeps_completed_at(self, ada, task):
        completed_at = ada.patch(path(task), {"status": "completed"}).json()["completed_at"]

        again = ada.patch(path(task), {"status": "completed", "title": "Done"}).json()

        assert (again["title"], again["completed_at"]) == ("Done", completed_at)
        assert again["updated_at"] > completed_at

    @pytest.mark.parametrize("status", ["todo", "in_progress"])
    def test_reopening_clears_completed_at(self, ada, task, status):
        ada.patch(path(task), {"status": "completed"})

        reopened = ada.patch(path(task), {"status": status}).json()

        assert (reopened["status"], reopened["completed_at"]) == (status, None)
        assert Task.objects.get().completed_at is None


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_parallel_changes_of_different_fields_are_both_kept(self, ada, create_task, at_once):
        kept = []
        for _ in range(30):
            task = create_task()

            answers = at_once(
                (ada.patch, path(task), {"title": "Changed"}),
                (ada.patch, path(task), {"description": "Changed"}),
            )

            assert [answer.status_code for answer in answers] == [200, 200]
            task.refresh_from_db()
            kept.append((task.title, task.description, task.version))

        assert kept == [("Changed", "Changed", 3)] * 30

    def test_a_change_concurrent_with_a_deletion_is_200_or_404(self, ada, create_task, at_once):
        for _ in range(30):
            task = create_task()

            patched, put, deleted = at_once(
                (ada.patch, path(task), {"title": "Changed"}),
                (ada.put, path(task), {"title": "Changed too"}),
                (ada.delete, path(task)),
            )

            assert patched.status_code in (200, 404)
            assert put.status_code in (200, 404)
            assert deleted.status_code == 204
            assert not Task.objects.exists()

    def test_one_of_many_parallel_completions_sets_completed_at(self, ada, create_task, at_once):
        task = create_task()

        answers = at_once(*[(ada.patch, path(task), {"status": "completed"})] * 8)

        assert {answer.json()["version"] for answer in answers} == {2}
        assert len({answer.json()["completed_at"] for answer in answers}) == 1
