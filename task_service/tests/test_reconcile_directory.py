"""manage.py reconcile_directory: the directory takes the state of the user service, even an older one."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from chassis.testing.permission_table import rows_of_all_tables
from directory import feed
from directory.models import Feed, User
from tests.conftest import Person, add_to_directory, set_feed_age

pytestmark = pytest.mark.django_db

LIST = "/task/tasks/"
SUMMARY = "The directory has 3 accounts (including deleted ones) and is at position 102 of the feed."


def reconcile(*options):
    out = StringIO()
    call_command("reconcile_directory", *options, stdout=out)
    return out.getvalue().splitlines()


@pytest.fixture
def restored(user_service, ada, alice, bob):
    """The user service before bob was created and before alice was renamed and promoted."""
    Feed.objects.update(position=2000)
    User.objects.filter(pk__in=[ada.id, alice.id]).update(position=1500, epoch=4, min_valid_epoch=4, role="admin")
    del user_service.people[bob.id]
    user_service.add(alice, username="alicia")
    return user_service


def test_it_works(restored, ada, alice, bob, create_task):
    task, alices = create_task(assigned_to=bob.id), create_task(assigned_to=alice.id)

    assert reconcile() == [
        f"user {bob.id} (bob): deleted; tasks to unassign: {task.pk}",
        f"user {alice.id} (alice): renamed to alicia",
        SUMMARY,
    ]
    assert reconcile() == [SUMMARY]

    assert Feed.objects.get().position == 102
    facts = User.objects.values_list("username", "role", "is_active", "is_deleted", "epoch", "position")
    assert facts.get(pk=alice.id) == ("alicia", "user", True, False, 0, 102)
    assert facts.get(pk=bob.id) == ("bob", "user", False, True, 0, 103)
    (fact,) = ada.get(f"{LIST}{task.pk}/activity/").json()["results"]
    assert (fact["kind"], fact["from"], fact["reason"]) == ("unassigned", bob.id, "account deleted")
    alices.refresh_from_db()
    assert (alices.assigned_to_id, alices.version) == (alice.id, 1)
    assert [alice.get(LIST).status_code, bob.get(LIST).status_code] == [200, 401]


def test_a_dry_run_reports_the_same_and_changes_nothing(restored, bob, create_task):
    create_task(assigned_to=bob.id)
    before = rows_of_all_tables()

    lines = reconcile("--dry-run")

    assert rows_of_all_tables() == before
    assert lines[-1] == SUMMARY.replace("has", "would have").replace("is at", "be at")
    assert lines[:-1] == reconcile()[:-1]


def test_later_changes_come_through_the_feed(restored, ada, alice):
    reconcile()
    restored.position = 102
    restored.change(alice, role="admin")
    set_feed_age(seconds_ago=60)

    feed.pull_by_worker()

    assert User.objects.get(pk=alice.id).role == "admin"
    assert restored.pulls[-1] == 102


def test_a_restored_account_does_not_get_its_tasks_back(user_service, ada, bob, create_task):
    task = create_task(assigned_to=bob.id)
    user_service.delete(bob)
    set_feed_age(seconds_ago=60)
    feed.pull_by_worker()
    assert bob.get(LIST).status_code == 401
    del user_service.tombstones[bob.id]
    user_service.add(bob)

    assert reconcile()[0] == f"user {bob.id} (bob): restored"

    assert bob.get(LIST).json()["results"] == []
    answer = ada.patch(f"{LIST}{task.pk}/", {"assigned_to": bob.id})
    assert (answer.status_code, answer.json()["assignee"]["username"]) == (200, "bob")


def test_tasks_of_orphans_are_reported_and_unassigned(user_service, ada, create_task):
    task, other = create_task(assigned_to=999), create_task(assigned_to=998)
    add_to_directory(Person(998, "dora"), is_active=False, is_deleted=True)

    lines = reconcile()

    assert lines[:-1] == [
        f"user 998: does not exist; tasks to unassign: {other.pk}",
        f"user 999: does not exist; tasks to unassign: {task.pk}",
    ]
    for each in (task, other):
        each.refresh_from_db()
        assert (each.assigned_to_id, each.version) == (None, 2)


def test_all_pages_of_the_feed_are_read(user_service, ada, alice, bob):
    user_service.page_size = 1

    assert reconcile() == [SUMMARY.replace("102", "103")]
    assert user_service.pulls == [0, 101, 102]


@pytest.mark.parametrize("asked", [0, 1])
def test_a_failure_of_the_user_service_changes_nothing(user_service, bob, asked):
    user_service.page_size = 1
    user_service.people.pop(bob.id)
    before = rows_of_all_tables()
    user_service.reactions = [user_service.reaction] * asked
    user_service.reaction = lambda call: call.answer(b"", status=500)

    with pytest.raises(CommandError, match=r"^The user service gave no valid response; nothing was changed\.$"):
        reconcile()

    assert rows_of_all_tables() == before
