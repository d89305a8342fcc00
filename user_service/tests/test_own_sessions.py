from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import Session
from chassis.testing.forge import read_claims
from tests.conftest import read_pages, status_and_fields, statuses, time_json

pytestmark = pytest.mark.django_db

URL = "/user/me/sessions/"


def listed(client, **query):
    answer = client.get(URL, query)
    assert answer.status_code == 200
    return answer.json()["results"]


def session_url(client):
    return f"{URL}{read_claims(client.access_token)['sid']}/"


@pytest.fixture
def sign_in(client, password):
    """Signs Alice in through the API and returns the listed session."""

    def post(*, headers=None, **environment):
        body = {"username": "Alice", "password": password}
        client.set_tokens(**client.post("/token/", body, headers=headers, **environment).json())
        return next(row for row in listed(client) if row["current"])

    return post


def test_a_session_is_listed_with_its_client(sign_in, alice):
    row = sign_in(headers={"User-Agent": "Firefox/143.0"}, REMOTE_ADDR="203.0.113.7")

    session = Session.objects.get()
    assert row == {
        "id": session.pk,
        "created_at": time_json(session.created_at),
        "last_used_at": time_json(session.rotated_at),
        "user_agent": "Firefox/143.0",
        "address": "203.0.113.7",
        "current": True,
    }


def test_only_the_calling_session_is_current(client_of, alice):
    clients = [client_of(alice) for _ in range(3)]

    current = [[row["id"] for row in listed(client) if row["current"]] for client in clients]

    assert current == [[session.pk] for session in Session.objects.order_by("pk")]


def test_it_lists_only_the_callers_sessions_even_for_admins(client_of, ada, alice, bob):
    clients = {user: client_of(user) for user in (alice, bob, ada)}
    client_of(alice)

    seen = {user: {row["id"] for row in listed(client)} for user, client in clients.items()}

    assert seen == {user: set(user.sessions.values_list("pk", flat=True)) for user in clients}


def test_ended_sessions_are_neither_listed_nor_found(client_of, client, alice):
    here, out, expired = client_of(alice), client_of(alice), client_of(alice)
    client.post("/token/logout/", {"refresh": out.refresh_token})
    Session.objects.filter(pk=Session.objects.latest("pk").pk).update(expires_at=timezone.now())

    assert [row["id"] for row in listed(here)] == [Session.objects.earliest("pk").pk]
    assert statuses(here.delete(session_url(ended)) for ended in (out, expired)) == [404, 404]


def test_a_refresh_updates_only_the_last_use(sign_in, client, refresh, alice):
    sign_in(headers={"User-Agent": "Firefox/143.0"}, REMOTE_ADDR="203.0.113.7")
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(hours=1))
    (before,) = listed(client)

    refresh(client.refresh_token, REMOTE_ADDR="198.51.100.9")

    (after,) = listed(client)
    assert after["last_used_at"] > before["last_used_at"]
    assert after == before | {"last_used_at": after["last_used_at"]}


@pytest.mark.parametrize("query", [{}, {"ordering": "created_at"}])
def test_sessions_are_paginated_newest_first_by_default(client_of, alice, query):
    for _ in range(24):
        Session.objects.open(alice)

    pages, _ = read_pages(client_of(alice), URL, {"page_size": 10, **query})

    ids = sorted(alice.sessions.values_list("pk", flat=True), reverse=not query)
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [row["id"] for page in pages for row in page] == ids


@pytest.mark.parametrize(("name", "value"), [("ordering", "current_jti"), ("user", "1"), ("page_size", "0")])
def test_an_invalid_query_is_refused(client_of, alice, name, value):
    assert status_and_fields(client_of(alice).get(URL, {name: value})) == (400, [name])


def test_a_list_costs_at_most_three_statements(client_of, alice, django_assert_max_num_queries):
    clients = [client_of(alice) for _ in range(10)]

    with django_assert_max_num_queries(3):
        assert len(listed(clients[0])) == 10


def test_ending_a_session_revokes_its_tokens_at_once(client_of, refresh, alice):
    here, there = client_of(alice), client_of(alice)

    answer = here.delete(session_url(there))

    assert (answer.status_code, answer.content) == (204, b"")
    assert statuses(each.get("/user/me/") for each in (there, here)) == [401, 200]
    assert statuses(refresh(each.refresh_token) for each in (there, here)) == [401, 200]


def test_the_current_session_can_be_ended(client_of, refresh, alice):
    here, there = client_of(alice), client_of(alice)

    answer = here.delete(session_url(here))

    assert answer.status_code == 204
    assert statuses(each.get("/user/me/") for each in (here, there)) == [401, 200]
    assert refresh(here.refresh_token).status_code == 401


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (None, ""),
        ("x" * 201, "x" * 200),
        ("\0" * 300, ""),
        ("x" * 199 + "\0\0yz", "x" * 199 + "y"),
        ("a\x1b[2J\x7f\x85b", "a[2Jb"),
        ("evil\u202exe.\u2066\u200b\u2028\ufeff\xad!", "evilxe.!"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("\xe9t\xe9 \xff", "\xe9t\xe9 \xff"),
    ],
)
def test_any_user_agent_is_stored_cleaned(sign_in, alice, sent, kept):
    assert sign_in(headers={"User-Agent": sent} if sent else None)["user_agent"] == kept


def test_an_old_user_agent_is_cleaned_on_output(client_of, alice):
    client = client_of(alice)
    Session.objects.update(user_agent="Fire\x1b\u202efox")

    assert [row["user_agent"] for row in listed(client)] == ["Firefox"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "kept"),
    [
        ("192.0.2.1", "203.0.113.7", "203.0.113.7"),
        ("192.0.2.1", "203.0.113.7:80", "192.0.2.1"),
        ("192.0.2.1", "fe80::1%eth0", "fe80::1"),
        ("198.51.100.9", "203.0.113.7", "198.51.100.9"),
        ("2001:db8::7", "", "2001:db8::7"),
        ("fe80::1234%eth0", "", "fe80::1234"),
        ("", "", None),  # on a Unix socket
    ],
)
def test_a_session_has_the_address_of_its_client(sign_in, alice, settings, peer, forwarded, kept):
    settings.GATEWAY_ADDRESSES = [ip_network("192.0.2.1")]

    row = sign_in(headers={"X-Forwarded-For": forwarded}, REMOTE_ADDR=peer)

    assert row["address"] == kept
