"""Conditional requests: If-None-Match and If-Match."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from directory.models import User
from tasks.models import Activity, Task

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"
OTHER = "0123456789ab"  # the hash of another representation


def path(task):
    return f"{TASKS}{task.pk}/"


def if_none_match(tag):
    return {"If-None-Match": tag}


def if_match(tag):
    return {"If-Match": tag}


@pytest.fixture
def task(create_task, alice):
    return create_task(assigned_to=alice.id)


@pytest.fixture
def tag(ada, task):
    return ada.get(path(task))["ETag"]


class TestReading:
    def test_the_tag_of_a_task_has_its_version_and_a_content_hash(self, ada, alice, task, tag):
        assert re.fullmatch(r'"1\.[0-9a-f]{12}"', tag)
        assert ada.get(path(task))["ETag"] == alice.get(path(task))["ETag"] == ada.head(path(task))["ETag"] == tag

        ada.patch(path(task), {"title": "Changed"})

        assert re.fullmatch(r'"2\.[0-9a-f]{12}"', ada.get(path(task))["ETag"])

    def test_the_tag_changes_with_the_username_of_the_assignee(self, ada, alice, task, tag):
        User.objects.filter(pk=alice.id).update(username="alison")

        answer = ada.get(path(task), headers=if_none_match(tag))

        assert (answer.status_code, answer.json()["assignee"]["username"]) == (200, "alison")
        assert (answer["ETag"] != tag, answer["ETag"].startswith('"1.')) == (True, True)

    @pytest.mark.parametrize("method", ["get", "head"])
    def test_a_matching_if_none_match_is_304(self, ada, task, tag, method):
        for header in (tag, f"W/{tag}", f'"x", {tag}', f' {tag} , W/"y"', f'"a,b",{tag}', f"nonsense, {tag}", "*"):
            answer = getattr(ada, method)(path(task), headers=if_none_match(header))

            assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", tag), header
            assert (answer["Cache-Control"], answer["Vary"]) == ("no-store", "origin, Authorization")
            assert answer["X-Request-ID"]
            assert "Content-Type" not in answer

    def test_another_if_none_match_is_200(self, ada, task, tag):
        bare, digest = tag.strip('"'), tag.strip('"').removeprefix("1.")
        others = ["", bare, f'"{bare}', '"1"', f'"1.{OTHER}"', f'"2.{digest}"', '"*"', "nonsense", "é", "," * 5000]

        for header in others:
            answer = ada.get(path(task), headers=if_none_match(header))
            assert (answer.status_code, answer["ETag"], answer.json()["id"]) == (200, tag, task.pk), header

    @pytest.mark.parametrize("end", ["", "summary/", "{id}/activity/"])
    def test_lists_have_weak_tags(self, ada, task, end):
        url = TASKS + end.format(id=task.pk)
        first = ada.get(url)

        same = ada.get(url, headers=if_none_match(first["ETag"]))
        stripped = ada.get(url, headers=if_none_match(first["ETag"].removeprefix("W/")))
        ada.patch(path(task), {"title": "Changed", "status": "completed"})
        changed = ada.get(url, headers=if_none_match(first["ETag"]))

        assert re.fullmatch(r'W/"[0-9a-f]{12}"', first["ETag"])
        assert [(each.status_code, each.content) for each in (same, stripped)] == [(304, b"")] * 2
        assert (changed.status_code, changed["ETag"] == first["ETag"]) == (200, False)

    def test_the_tag_of_a_page_differs_between_callers(self, ada, bob, task):
        assert ada.get(TASKS)["ETag"] != bob.get(TASKS)["ETag"]

    @pytest.mark.parametrize("header", ["{}", "*"])
    def test_a_former_assignee_gets_404_instead_of_304(self, ada, alice, task, tag, header):
        activity = alice.get(f"{path(task)}activity/")["ETag"]
        ada.patch(path(task), {"assigned_to": None})

        for url, seen in [(path(task), tag), (f"{path(task)}activity/", activity)]:
            answer = alice.get(url, headers=if_none_match(header.format(seen)))
            assert (answer.status_code, "ETag" in answer) == (404, False)

    def test_an_invalid_token_gets_401_instead_of_304(self, charlie, task, tag):
        assert charlie.get(path(task), headers=if_none_match("*")).status_code == 401


class TestWriting:
    @pytest.fixture(params=["put", "patch", "delete"])
    def write(self, request):
        """Change the title to "Mine", or delete the task, on a condition."""

        def send(person, url, condition, body=None):
            body = {"title": "Mine"} if body is None else body
            return getattr(person, request.param)(url, body, headers=if_match(condition))

        return send

    @pytest.fixture
    def is_mine(self):
        return lambda: not Task.objects.exclude(title="Mine").exists()

    @pytest.mark.parametrize(
        "condition", ["{}", "W/{}", f'"1.{OTHER}"', f'"7.{OTHER}", {{}}', f'"abc", "1.{OTHER}"', '"a,b", {}', "*"]
    )
    def test_a_matching_if_match_changes_the_task(self, ada, task, tag, write, is_mine, condition):
        answer = write(ada, path(task), condition.format(tag))

        assert (answer.status_code in (200, 204), is_mine()) == (True, True)

    def test_a_stale_if_match_is_412(self, ada, task, tag, write):
        ada.patch(path(task), {"title": "Changed"})
        before = ada.get(path(task)).json(), Activity.objects.count()

        for condition in (
            tag,
            f"W/{tag}",
            f'{tag}, "abc"',
            f'"7.{OTHER}"',
            '"abc"',
            '"2"',
            f'"02.{OTHER}"',
            '"2.X"',
            '"*"',
        ):
            answer = write(ada, path(task), condition)

            assert (answer.status_code, answer["Content-Type"]) == (412, "application/problem+json")
            problem = answer.json()
            assert (problem["status"], problem["code"]) == (412, "precondition_failed")
            assert problem["changed_fields"] == (["title"] if tag in condition else []), condition
        assert (ada.get(path(task)).json(), Activity.objects.count()) == before

    def test_the_412_lists_the_changed_fields(self, ada, bob, alice, task, tag, write, user_service):
        ada.patch(path(task), {"title": "Changed"})
        second = ada.patch(path(task), {"status": "completed", "due_date": "2030-01-01"})["ETag"]
        ada.patch(path(task), {"assigned_to": bob.id, "priority": "low"})
        ada.patch(path(task), {"priority": "high"})

        since_first, since_second, since_the_newer_of_both = (
            write(ada, path(task), condition).json()["changed_fields"]
            for condition in (tag, second, f"{second}, {tag}")
        )

        assert since_first == ["assigned_to", "due_date", "priority", "status", "title"]
        assert since_second == since_the_newer_of_both == ["assigned_to", "priority"]

    def test_an_invalid_condition_is_400(self, ada, task, write, is_mine):
        for condition in ("", "nonsense", f'x, "1.{OTHER}"', "1", '"', "'1.x'", "W/", "**", "1.0123456789ab"):
            answer = write(ada, path(task), condition)

            assert answer.status_code == 400
            assert [error["field"] for error in answer.json()["errors"]] == ["If-Match"]
        assert not is_mine()

    def test_conditions_do_not_grant_access(self, ada, alice, bob, charlie, task, tag, write, is_mine):
        for condition in (tag, '"abc"', "*", "nonsense"):
            assert write(ada, f"{TASKS}{task.pk + 1}/", condition).status_code == 404
            assert write(bob, path(task), condition).status_code == 404
            assert write(alice, path(task), condition).status_code == 403
            assert write(charlie, path(task), condition).status_code == 401
        assert not is_mine()

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_an_invalid_body_is_400_with_a_matching_tag(self, ada, task, tag, method):
        for condition in (tag, "*"):
            answer = getattr(ada, method)(path(task), {"title": ""}, headers=if_match(condition))
            assert [error["field"] for error in answer.json()["errors"]] == ["title"]

    @pytest.mark.parametrize("method", ["put", "patch"])
    def test_a_late_put_is_412_not_400(self, ada, task, tag, method):
        read = ada.get(path(task)).json()
        ada.patch(path(task), {"status": "completed"})

        answer = getattr(ada, method)(path(task), read | {"title": "Mine"}, headers=if_match(tag))

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
    """A fault would show once in many rounds; RACE_ROUNDS=1000 runs more."""

    rounds = int(os.environ.get("RACE_ROUNDS", 15))

    @pytest.fixture
    def run_concurrently(self):
        """Return a function that runs calls concurrently, each in a permanent thread with its own connection."""
        with ThreadPoolExecutor(3) as pool:

            def run_all(*calls):
                barrier = Barrier(len(calls))

                def run(call):
                    connection.ensure_connection()
                    barrier.wait(timeout=30)
                    return call()

                return [each.result() for each in [pool.submit(run, call) for call in calls]]

            yield run_all
            run_all(*[lambda: connection.close()] * 3)

    def test_one_of_two_changes_of_a_version_succeeds(self, ada, create_task, run_concurrently):
        def changing(task, tag, **values):
            return lambda: ada.patch(path(task), values, headers=if_match(tag))

        for number in range(self.rounds):
            task = create_task()
            tag = ada.get(path(task))["ETag"]

            one, other = run_concurrently(changing(task, tag, title="One"), changing(task, tag, description="Other"))

            changed, rejected = sorted((one, other), key=lambda answer: answer.status_code)
            field = "title" if changed is one else "description"
            assert (changed.status_code, rejected.status_code, number) == (200, 412, number)
            assert rejected.json()["changed_fields"] == [field]
            task.refresh_from_db()
            expected = ("One", "") if changed is one else ("Water the plants", "Other")
            assert (task.title, task.description, task.version) == (*expected, 2)

    def test_changes_of_different_fields_are_all_kept(self, ada, alice, create_task, run_concurrently):
        def changing(task, **values):
            return lambda: ada.patch(path(task), values).status_code

        for _ in range(self.rounds):
            task = create_task()

            statuses = run_concurrently(
                changing(task, title="Changed", priority="high"),
                changing(task, description="Changed", due_date="2030-01-01"),
                changing(task, status="completed", assigned_to=alice.id),
            )

            task.refresh_from_db()
            assert (statuses, task.version) == ([200] * 3, 4)
            assert (task.title, task.description, task.status) == ("Changed", "Changed", "completed")
            assert (task.priority, str(task.due_date), task.assigned_to_id) == (3, "2030-01-01", alice.id)
            assert sorted(task.activity.values_list("version", flat=True)) == [2, 2, 3, 3, 4, 4]
