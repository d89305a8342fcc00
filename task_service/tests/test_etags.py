"""Conditional requests: If-None-Match and If-Match."""

import re

import pytest

from directory.models import User
from tasks.models import Task
from tests.conftest import TASKS, invalid_fields, stored_tasks, task_url

pytestmark = pytest.mark.django_db

OTHER = "0123456789ab"  # the hash of another representation


def if_none_match(tag):
    return {"If-None-Match": tag}


def if_match(tag):
    return {"If-Match": tag}


@pytest.fixture
def task(create_task, alice):
    return create_task(assigned_to=alice.id)


@pytest.fixture
def tag(ada, task):
    return ada.get(task_url(task))["ETag"]


class TestReading:
    def test_the_tag_of_a_task_has_its_version_and_a_content_hash(self, ada, alice, task, tag):
        assert re.fullmatch(r'"1\.[0-9a-f]{12}"', tag)
        assert alice.get(task_url(task))["ETag"] == ada.head(task_url(task))["ETag"] == tag

        ada.patch(task_url(task), {"title": "Changed"})

        assert re.fullmatch(r'"2\.[0-9a-f]{12}"', ada.get(task_url(task))["ETag"])

    def test_the_tag_changes_with_the_username_of_the_assignee(self, ada, alice, task, tag):
        User.objects.filter(pk=alice.id).update(username="alison")

        answer = ada.get(task_url(task), headers=if_none_match(tag))

        assert (answer.status_code, answer.json()["assignee"]["username"]) == (200, "alison")
        assert (answer["ETag"] != tag, answer["ETag"].startswith('"1.')) == (True, True)

    @pytest.mark.parametrize("method", ["get", "head"])
    @pytest.mark.parametrize("header", ["{}", "W/{}", '"x", {}', "*"])
    def test_a_matching_if_none_match_is_304(self, ada, task, tag, method, header):
        answer = getattr(ada, method)(task_url(task), headers=if_none_match(header.format(tag)))

        assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", tag)
        assert (answer["Cache-Control"], answer["Vary"]) == ("no-store", "origin, Authorization")
        assert "Content-Type" not in answer

    @pytest.mark.parametrize("end", ["", "summary/", "{id}/activity/"])
    def test_lists_have_weak_tags(self, ada, task, end):
        url = TASKS + end.format(id=task.pk)
        first = ada.get(url)

        same = ada.get(url, headers=if_none_match(first["ETag"]))
        stripped = ada.get(url, headers=if_none_match(first["ETag"].removeprefix("W/")))
        ada.patch(task_url(task), {"title": "Changed", "status": "completed"})
        changed = ada.get(url, headers=if_none_match(first["ETag"]))

        assert re.fullmatch(r'W/"[0-9a-f]{12}(-[0-9a-f]{16}\.[0-9]+\.[0-9]+)?"', first["ETag"])
        assert [(each.status_code, each.content) for each in (same, stripped)] == [(304, b"")] * 2
        assert (changed.status_code, changed["ETag"] == first["ETag"]) == (200, False)

    @pytest.mark.parametrize("below", ["", "activity/"])
    def test_a_former_assignee_gets_404_instead_of_304(self, ada, alice, task, below):
        seen = alice.get(task_url(task, below))["ETag"]
        ada.patch(task_url(task), {"assigned_to": None})

        for header in (seen, "*"):
            answer = alice.get(task_url(task, below), headers=if_none_match(header))
            assert (answer.status_code, "ETag" in answer) == (404, False)


class TestWriting:
    @pytest.fixture(params=["put", "patch", "delete"])
    def write(self, request):
        """Change the title to "Mine", or delete the task, on a condition."""

        def send(person, url, condition):
            return getattr(person, request.param)(url, {"title": "Mine"}, headers=if_match(condition))

        return send

    @pytest.mark.parametrize("condition", ["{}", "W/{}", f'"1.{OTHER}"', f'"7.{OTHER}", {{}}', "*"])
    def test_a_matching_if_match_changes_the_task(self, ada, task, tag, write, condition):
        answer = write(ada, task_url(task), condition.format(tag))

        assert answer.status_code in (200, 204)
        assert not Task.objects.exclude(title="Mine").exists()

    @pytest.mark.parametrize(
        ("condition", "changed_fields"),
        [("{}", ["title"]), ("W/{}", ["title"]), ('{}, "abc"', ["title"]), (f'"7.{OTHER}"', []), ('"abc"', [])],
    )
    def test_a_stale_if_match_is_412(self, ada, task, tag, write, condition, changed_fields):
        ada.patch(task_url(task), {"title": "Changed"})
        before = stored_tasks()

        answer = write(ada, task_url(task), condition.format(tag))

        assert (answer.status_code, answer["Content-Type"]) == (412, "application/problem+json")
        problem = answer.json()
        assert (problem["status"], problem["code"]) == (412, "precondition_failed")
        assert problem["changed_fields"] == changed_fields
        assert stored_tasks() == before

    def test_the_412_lists_the_changed_fields(self, ada, bob, task, tag, write, user_service):
        ada.patch(task_url(task), {"title": "Changed"})
        second = ada.patch(task_url(task), {"status": "completed", "due_date": "2030-01-01"})["ETag"]
        ada.patch(task_url(task), {"assigned_to": bob.id, "priority": "low"})
        ada.patch(task_url(task), {"priority": "high"})

        since_first, since_second, since_the_newer_of_both = (
            write(ada, task_url(task), condition).json()["changed_fields"]
            for condition in (tag, second, f"{second}, {tag}")
        )

        assert since_first == ["assigned_to", "due_date", "priority", "status", "title"]
        assert since_second == since_the_newer_of_both == ["assigned_to", "priority"]

    def test_an_invalid_condition_is_400(self, ada, task, write):
        before = stored_tasks()

        answers = [write(ada, task_url(task), condition) for condition in ("", "nonsense", f'x, "1.{OTHER}"')]

        assert [invalid_fields(answer) for answer in answers] == [["If-Match"]] * 3
        assert stored_tasks() == before

    def test_conditions_do_not_grant_access(self, ada, alice, bob, charlie, task, tag, write):
        before = stored_tasks()

        for condition in (tag, '"abc"', "*", "nonsense"):
            assert write(ada, f"{TASKS}{task.pk + 1}/", condition).status_code == 404
            assert [write(who, task_url(task), condition).status_code for who in (alice, bob, charlie)] == [
                403,
                404,
                401,
            ]
        assert stored_tasks() == before

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_a_late_body_is_412_not_400(self, ada, task, tag, method):
        read = ada.get(task_url(task)).json()
        ada.patch(task_url(task), {"status": "completed"})

        answer = getattr(ada, method)(task_url(task), read | {"title": "Mine"}, headers=if_match(tag))

        assert (answer.status_code, answer.json().get("changed_fields")) == (412, ["status"])
        assert Task.objects.get().title == task.title

    def test_every_response_has_the_current_tag(self, ada, alice, user_service):
        created = ada.post(TASKS, {"title": "Water", "assigned_to": alice.id})
        url = f"{TASKS}{created.json()['id']}/"
        tags = [created["ETag"], ada.get(url)["ETag"]]
        for method, body, headers in (
            (ada.patch, {"title": "Feed"}, if_match(tags[0])),
            (ada.patch, {"title": "Feed"}, {}),
            (ada.put, {"title": "Feed", "status": "completed"}, {}),
        ):
            tags += [method(url, body, headers=headers)["ETag"], ada.get(url)["ETag"]]

        assert [tag.partition(".")[0] for tag in tags] == ['"1', '"1', '"2', '"2', '"2', '"2', '"3', '"3']
        assert tags[::2] == tags[1::2]
        assert (tags[2], len(set(tags))) == (tags[4], 3)


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_one_of_two_changes_of_a_version_succeeds(self, ada, create_task, at_once):
        def change(task, tag, values):
            return ada.patch(task_url(task), values, headers=if_match(tag))

        for _ in range(15):
            task = create_task()
            tag = ada.get(task_url(task))["ETag"]

            one, other = at_once((change, task, tag, {"title": "One"}), (change, task, tag, {"description": "Other"}))

            changed, rejected = sorted((one, other), key=lambda answer: answer.status_code)
            field, expected = ("title", ("One", "")) if changed is one else ("description", (task.title, "Other"))
            assert (changed.status_code, rejected.status_code) == (200, 412)
            assert rejected.json()["changed_fields"] == [field]
            task.refresh_from_db()
            assert (task.title, task.description, task.version) == (*expected, 2)
