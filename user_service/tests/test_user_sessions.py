"""An admin lists and ends the sessions of any account."""

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, Session
from tests.conftest import statuses, time_json

pytestmark = pytest.mark.django_db


def url(user, session=None):
    return f"/user/users/{user.pk}/sessions/" + (f"{session.pk}/" if session else "")


def last_event():
    event = AuditEvent.objects.latest("id")
    return event.event, event.actor_id, event.subject_id, event.details


def test_an_admin_lists_the_live_sessions_of_a_user(admin, alice, bob):
    Session.objects.open(bob)
    Session.objects.open(alice)
    Session.objects.filter(user=alice).update(expires_at=timezone.now())
    session = Session.objects.open(alice, user_agent="Firefox/143.0", address="203.0.113.7")

    answer = admin.get(url(alice))

    row = {
        "id": session.pk,
        "created_at": time_json(session.created_at),
        "last_used_at": time_json(session.rotated_at),
        "user_agent": "Firefox/143.0",
        "address": "203.0.113.7",
        "current": False,
    }
    assert (answer.status_code, answer.json()) == (200, {"next": None, "previous": None, "results": [row]})


def test_the_callers_current_session_is_marked(ada, client_of):
    Session.objects.open(ada)

    rows = client_of(ada).get(url(ada)).json()["results"]

    assert [row["current"] for row in rows] == [True, False]


def test_a_list_costs_at_most_four_statements(admin, alice, django_assert_max_num_queries):
    for _ in range(10):
        Session.objects.open(alice)

    with django_assert_max_num_queries(4):
        assert len(admin.get(url(alice)).json()["results"]) == 10


def test_ending_all_signs_the_user_out_everywhere(admin, client_of, client, ada, alice):
    clients = [client_of(alice) for _ in range(3)]
    epoch = alice.epoch

    answer = admin.delete(url(alice))

    alice.refresh_from_db()
    assert (answer.status_code, answer.content) == (204, b"")
    assert statuses(each.get("/user/me/") for each in clients) == [401] * 3
    assert client.post("/token/refresh/", {"refresh": clients[0].refresh_token}).status_code == 401
    assert alice.min_valid_epoch == alice.epoch == epoch + 1  # so the task service refuses access tokens too
    assert last_event() == ("session_expired", ada.pk, alice.pk, {"sessions_ended": 3})


def test_ending_one_session_keeps_the_others(admin, client_of, ada, alice):
    ended, other = client_of(alice), client_of(alice)
    session = alice.sessions.earliest("id")

    answer = admin.delete(url(alice, session))

    assert answer.status_code == 204
    assert statuses(each.get("/user/me/") for each in (ended, other)) == [401, 200]
    assert last_event() == ("session_expired", ada.pk, alice.pk, {"session": session.pk})


def test_a_session_of_another_user_is_404(admin, alice, bob):
    session = Session.objects.open(bob)

    assert admin.delete(url(alice, session)).status_code == 404
    assert Session.objects.filter(pk=session.pk).exists()


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_missing_account_is_404(admin, method):
    assert getattr(admin, method)("/user/users/900001/sessions/").status_code == 404
