"""The inbox: the notifications of the caller, and marking them as read."""

import pytest
from django.utils import timezone

from notifications.models import Event, Notification
from tests.deliveries import change

pytestmark = pytest.mark.django_db

INBOX = "/task/notifications/"


def inbox(person, query=""):
    return person.get(INBOX + query).json()


def ids(answer):
    return [item["id"] for item in answer["results"]]


def read(person, id_):
    return person.post(f"{INBOX}{id_}/read/")


@pytest.fixture
def notify(create_task):
    """Return a function that creates notifications about tasks of a person and returns their ids."""

    def create(person, number=1):
        kind = Event.Kind.STATUS_CHANGED
        tasks = [create_task(assigned_to=person.id) for _ in range(number)]
        events = Event.objects.bulk_create(
            Event(kind=kind, task_id=task.pk, task_title="Pay", text=f"Text {each}") for each, task in enumerate(tasks)
        )
        items = Notification.objects.bulk_create(Notification(event=event, recipient_id=person.id) for event in events)
        return [item.pk for item in items]

    return create


def test_it_works(ada, alice, create_task):
    task = create_task(title="Pay")
    change(task, by=ada, assigned_to_id=alice.id)
    change(task, by=ada, status="completed")

    completed, assigned = inbox(alice)["results"]

    event = Event.objects.get(kind="task_status_changed")
    assert completed == {
        "id": Notification.objects.get(event=event, recipient_id=alice.id).pk,
        "kind": "task_status_changed",
        "task": {"id": task.pk, "title": "Pay", "is_gone": False},
        "by": {"id": ada.id, "username": "ada"},
        "message": "ada completed \u2068Pay\u2069",
        "created_at": event.created_at.isoformat().replace("+00:00", "Z"),
        "read_at": None,
    }
    assert (assigned["kind"], assigned["message"]) == ("task_assigned", "ada assigned alice to \u2068Pay\u2069")


def test_callers_see_only_their_own_entries(ada, alice, bob, notify):
    hers, his = notify(alice, 2), notify(bob)

    assert [ids(inbox(person)) for person in (alice, bob, ada)] == [hers[::-1], his, []]


def test_entries_keep_the_old_title(ada, alice, task):
    change(task, by=ada, status="completed")
    change(task, by=ada, title="Fire alice")

    (item,) = inbox(alice)["results"]

    assert (item["task"]["title"], item["message"]) == ("Pay", "ada completed \u2068Pay\u2069")


# Pages and filters


def test_a_page_has_20_entries_and_can_be_oldest_first(alice, notify):
    hers = notify(alice, 21)

    assert ids(inbox(alice)) == hers[:0:-1]
    assert ids(inbox(alice, "?ordering=id")) == hers[:20]


@pytest.mark.parametrize(("unread", "expected"), [("true", [2, 0]), ("False", [1])])
def test_entries_can_be_filtered_by_unread(alice, notify, unread, expected):
    hers = notify(alice, 3)
    read(alice, hers[1])

    assert ids(inbox(alice, f"?unread={unread}")) == [hers[number] for number in expected]


# Reading


def test_marking_as_read_keeps_the_first_time(alice, notify):
    first, second = notify(alice, 2)
    before = timezone.now()
    answers = [read(alice, first) for _ in range(2)]

    noted = Notification.objects.get(pk=first).read_at
    assert [answer.status_code for answer in answers] == [200, 200]
    assert before <= noted <= timezone.now()
    assert answers[0].json()["read_at"] == noted.isoformat().replace("+00:00", "Z")
    assert answers[0].json() == answers[1].json() == inbox(alice)["results"][1]
    assert Notification.objects.get(pk=second).read_at is None


def test_a_recipient_cannot_mark_the_entry_of_another(ada, alice, notify):
    (hers,) = notify(alice)
    adas = Notification.objects.create(event=Event.objects.get(), recipient_id=ada.id).pk

    assert read(alice, hers).status_code == 200
    assert (read(alice, adas).status_code, inbox(ada)["results"][0]["read_at"]) == (404, None)


def test_a_page_and_marking_as_read_take_3_statements_each(alice, notify, django_assert_max_num_queries):
    id_, *_ = notify(alice, 30)

    for query in ("", "?unread=true&page_size=100"):
        with django_assert_max_num_queries(3):
            inbox(alice, query)
    with django_assert_max_num_queries(3):
        read(alice, id_)
