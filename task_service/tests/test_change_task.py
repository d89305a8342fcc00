import pytest

from directory.models import User
from tasks.models import Task
from tests.conftest import FULL, invalid_fields, stored_tasks, task_url


def deactivated(person):
    User.objects.filter(pk=person.id).update(is_active=False)


def difference(before, after):
    return {name for name in before | after if before[name] != after[name]}


@pytest.fixture
def task(create_task, alice):
    return create_task(**FULL | {"priority": Task.Priority.HIGH, "assigned_to": alice.id})


@pytest.fixture
def read(ada, task):
    return ada.get(task_url(task)).json()


@pytest.mark.django_db
class TestPatch:
    @pytest.mark.parametrize(
        ("field", "value", "derived"),
        [
            *(("title", "Water the plants", set()), ("description", "", set()), ("priority", "low", set())),
            *(("due_date", None, set()), ("due_date", "2001-01-01", {"is_overdue"})),
            *(("status", "todo", {"status_label"}), ("assigned_to", None, {"assignee"})),
        ],
    )
    def test_it_works(self, ada, task, read, user_service, field, value, derived):
        user_service.close()

        answer = ada.patch(task_url(task), {field: value})

        assert (answer.status_code, answer.json()[field]) == (200, value)
        assert difference(read, answer.json()) == {field, "version", "updated_at"} | derived
        assert answer.json()["version"] == read["version"] + 1
        assert answer.json()["updated_at"] > read["updated_at"]
        assert ada.get(task_url(task)).json() == answer.json()

    @pytest.mark.parametrize("body", [{}, FULL, {"status": "In Progress", "title": " Feed the cat "}, {"version": 1}])
    def test_a_change_without_effect_is_not_recorded(self, ada, task, read, body):
        before = stored_tasks()

        answer = ada.patch(task_url(task), body)

        assert (answer.status_code, answer.json(), stored_tasks()) == (200, read, before)

    @pytest.mark.parametrize(
        "body",
        [
            {"title": ""},
            {"title": None},
            {"status": "bogus"},
            {"titel": "x"},
            {"due_date": "2026-02-30"},
            {"assigned_to": 99},
            {"assigned_to": True},
        ],
    )
    def test_an_invalid_field_prevents_the_whole_change(self, ada, task, user_service, body):
        before = stored_tasks()

        answer = ada.patch(task_url(task), {"description": "Changed"} | body)

        assert (invalid_fields(answer), stored_tasks()) == (list(body), before)


@pytest.mark.django_db
class TestPut:
    def test_it_works(self, ada, bob, task, user_service):
        sent = {"title": "Weed", "description": "All.", "status": "completed", "priority": "low"}
        sent |= {"due_date": "2001-01-01", "assigned_to": bob.id}

        answer = ada.put(task_url(task), sent)

        assert answer.status_code == 200
        assert {name: answer.json()[name] for name in sent} == sent
        assert answer.json()["version"] == 2
        assert ada.get(task_url(task)).json() == answer.json()

    def test_a_title_is_required(self, ada, task):
        answer = ada.put(task_url(task), {name: value for name, value in FULL.items() if name != "title"})

        assert (invalid_fields(answer), answer.json()["errors"][0]["code"]) == (["title"], "required")

    def test_omitted_fields_get_their_defaults(self, ada, task):
        answer = ada.put(task_url(task), {"title": FULL["title"]})

        defaults = {"description": "", "status": "todo", "priority": "normal", "due_date": None, "assigned_to": None}
        assert (answer.status_code, answer.json() | defaults) == (200, answer.json())
        assert answer.json()["title"] == FULL["title"]

    def test_a_task_can_be_read_edited_and_put_back(self, ada, task, read):
        answer = ada.put(task_url(task), read | {"title": "Water the plants"})

        assert answer.status_code == 200
        assert difference(read, answer.json()) == {"title", "version", "updated_at"}

    def test_a_task_can_be_put_back_unchanged(self, ada, task):
        read = ada.patch(task_url(task), {"status": "completed", "due_date": "2001-01-01"}).json()
        before = stored_tasks()

        answer = ada.put(task_url(task), read)

        assert (answer.status_code, answer.json(), stored_tasks()) == (200, read, before)


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["put", "patch"])
class TestEither:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("id", 99), ("status_label", "Completed"), ("is_overdue", True), ("is_overdue", 0), ("created_by", 102)),
            *((name, "2026-01-01T00:00:00Z") for name in ("created_at", "updated_at", "completed_at")),
            *(("version", 2), ("version", True)),
        ],
    )
    def test_read_only_fields_cannot_be_changed(self, ada, task, method, field, value):
        before = stored_tasks()

        answer = getattr(ada, method)(task_url(task), {"title": "Water the plants", field: value})

        assert (invalid_fields(answer), answer.json()["errors"][0]["code"]) == ([field], "read_only")
        assert stored_tasks() == before

    def test_a_new_unknown_assignee_is_looked_up(self, ada, newcomer, task, user_service, method):
        answer = getattr(ada, method)(task_url(task), {"title": "Water", "assigned_to": newcomer.id})

        assert (answer.status_code, answer.json()["assigned_to"]) == (200, newcomer.id)
        assert [call.path for call in user_service.calls] == [f"/internal/users/?ids={newcomer.id}"]

    @pytest.mark.parametrize("assignee", ["alice", None])
    def test_keeping_or_removing_the_assignee_needs_no_lookup(self, ada, alice, task, user_service, method, assignee):
        deactivated(alice)
        who = alice.id if assignee else None

        answer = getattr(ada, method)(task_url(task), {"title": "Water", "assigned_to": who})

        assert (answer.status_code, answer.json()["assigned_to"]) == (200, who)
        assert user_service.calls == []

    def test_assigning_again_after_removing_is_a_new_lookup(self, ada, alice, task, user_service, method):
        ada.patch(task_url(task), {"assigned_to": None})
        deactivated(alice)
        user_service.add(alice, is_active=False)

        answer = getattr(ada, method)(task_url(task), {"title": "Water", "assigned_to": alice.id})

        assert (answer.status_code, Task.objects.get().assigned_to_id) == (400, None)

    def test_an_unavailable_user_service_is_503(self, ada, newcomer, task, user_service, method):
        before = stored_tasks()
        user_service.close()

        answer = getattr(ada, method)(task_url(task), {"title": "Changed", "assigned_to": newcomer.id})

        assert (answer.status_code, answer["Retry-After"], stored_tasks()) == (503, "2", before)


@pytest.mark.django_db
class TestCompletion:
    def test_completing_sets_completed_at(self, ada, task, read):
        after = ada.patch(task_url(task), {"status": "Completed"}).json()

        assert difference(read, after) == {"status", "status_label", "completed_at", "version", "updated_at"}
        assert after["completed_at"] == after["updated_at"]

    def test_completing_again_keeps_completed_at(self, ada, task):
        completed_at = ada.patch(task_url(task), {"status": "completed"}).json()["completed_at"]

        again = ada.patch(task_url(task), {"status": "completed", "title": "Done"}).json()

        assert (again["title"], again["completed_at"]) == ("Done", completed_at)
        assert again["updated_at"] > completed_at

    @pytest.mark.parametrize("status", ["todo", "in_progress"])
    def test_reopening_clears_completed_at(self, ada, task, status):
        ada.patch(task_url(task), {"status": "completed"})

        reopened = ada.patch(task_url(task), {"status": status}).json()

        assert (reopened["status"], reopened["completed_at"]) == (status, None)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_parallel_changes_of_different_fields_are_all_kept(self, ada, alice, create_task, at_once):
        for _ in range(15):
            task = create_task()

            answers = at_once(
                (ada.patch, task_url(task), {"title": "Changed", "priority": "high"}),
                (ada.patch, task_url(task), {"description": "Changed", "due_date": "2030-01-01"}),
                (ada.patch, task_url(task), {"status": "completed", "assigned_to": alice.id}),
            )

            task.refresh_from_db()
            assert ([answer.status_code for answer in answers], task.version) == ([200] * 3, 4)
            assert (task.title, task.description, task.status) == ("Changed", "Changed", "completed")
            assert (task.priority, str(task.due_date), task.assigned_to_id) == (3, "2030-01-01", alice.id)
            assert sorted(task.activity.values_list("version", flat=True)) == [2, 2, 3, 3, 4, 4]

    def test_one_of_many_parallel_completions_sets_completed_at(self, ada, create_task, at_once):
        task = create_task()

        answers = at_once(*[(ada.patch, task_url(task), {"status": "completed"})] * 8)

        assert {answer.json()["version"] for answer in answers} == {2}
        assert len({answer.json()["completed_at"] for answer in answers}) == 1
