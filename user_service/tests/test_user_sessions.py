"""An admin lists and ends the sessions of any account."""

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, Session

pytestmark = pytest.mark.django_db


def url(user, session=None):
    return f"/user/users/{user.pk}/sessions/" + (f"{session.pk}/" if session else "")


def test_an_admin_lists_the_sessions_of_a_user(client_of, ada, alice):
    session = Session.objects.open(alice, user_agent="Firefox/143.0", address="203.0.113.7")

    answer = client_of(ada).get(url(alice))

    assert answer.status_code == 200
    assert answer.json() == {
        "next": None,
        "previous": None,
        "results": [
            {
                "id": session.pk,
                "created_at": session.created_at.isoformat().replace("+00:00", "Z"),
                "last_used_at": session.rotated_at.isoformat().replace("+00:00", "Z"),
                "user_agent": "Firefox/143.0",
                "address": "203.0.113.7",
                "current": False,
            }
        ],
    }


def test_the_callers_current_session_is_marked(client_of, ada):
    Session.objects.open(ada)

    rows = client_of(ada).get(url(ada)).json()["results"]

    assert [row["current"] for row in rows] == [True, False]


def test_only_live_sessions_of_that_user_are_listed(client_of, ada, alice, bob):
    Session.objects.open(bob)
    Session.objects.open(alice)
    Session.objects.filter(user=alice).update(expires_at=timezone.now())
    live = Session.objects.open(alice)

    rows = client_of(ada).get(url(alice)).json()["results"]

    assert [row["id"] for row in rows] == [live.pk]


def test_a_list_costs_at_most_four_statements(client_of, ada, alice, django_assert_max_num_queries):
    for _ in range(10):
        Session.objects.open(alice)
    client = client_of(ada)

    with django_assert_max_num_queries(4):
        assert len(client.get(url(alice)).json()["results"]) == 10


def test_ending_all_signs_the_user_out_everywhere(client_of, client, ada, alice):
    clients = [client_of(alice) for _ in range(3)]
    epoch = alice.epoch

    answer = client_of(ada).delete(url(alice))

    alice.refresh_from_db()
    assert (answer.status_code, answer.content) == (204, b"")
    assert [each.get("/user/me/").status_code for each in clients] == [401] * 3
    assert client.post("/token/refresh/", {"refresh": clients[0].refresh_token}).status_code == 401
    assert alice.least_epoch == alice.epoch == epoch + 1  # so the task service refuses access tokens too
    event = AuditEvent.objects.latest("id")
    assert (event.event, event.actor_id, event.subject_id) == ("session_expired", ada.pk, alice.pk)
    assert event.details == {"sessions_ended": 3}


def test_ending_one_session_keeps_the_others(client_of, ada, alice):
    ended, other = client_of(alice), client_of(alice)
    session = Session.objects.earliest("id")

    answer = client_of(ada).delete(url(alice, session))

    assert answer.status_code == 204
    assert ended.get("/user/me/").status_code == 401
    assert other.get("/user/me/").status_code == 200
    event = AuditEvent.objects.latest("id")
    assert (event.event, event.actor_id, event.subject_id) == ("session_expired", ada.pk, alice.pk)
    assert event.details == {"session": session.pk}


def test_a_session_of_another_user_is_404(client_of, ada, alice, bob):
    session = Session.objects.open(bob)

    assert client_of(ada).delete(url(alice, session)).status_code == 404
    assert Session.objects.filter(pk=session.pk).exists()


@pytest.mark.parametrize("method", ["get", "delete"])
def test_a_missing_account_is_404(client_of, ada, method):
    assert getattr(client_of(ada), method)("/user/users/900001/sessions/").status_code == 404


@pytest.mark.parametrize("method", ["get", "delete"])
def test_only_admins_are_allowed(client, client_of, alice, bob, method):
    own = Session.objects.open(alice)

    statuses = {getattr(client_of(alice), method)(url(user)).status_code for user in (alice, bob)}
    statuses.add(client_of(alice).delete(url(alice, own)).status_code)

    assert statuses == {403}
    assert getattr(client, method)(url(alice)).status_code == 401
    assert Session.objects.filter(pk=own.pk).exists()
