from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import Session

pytestmark = pytest.mark.django_db

URL = "/user/me/sessions/"


def one(session):
    return f"{URL}{session.pk}/"


def listed(client, **query):
    answer = client.get(URL, query)
    assert answer.status_code == 200
    return answer.json()["results"]


def get_session(client):
    return Session.objects.get(pk=next(row["id"] for row in listed(client, page_size=100) if row["current"]))


@pytest.fixture
def sign_in(client, password):
    """Signs Alice in through the API and returns the listed session."""

    def post(*, headers=None, **environment):
        body = {"username": "Alice", "password": password}
        answer = client.post("/token/", body, headers=headers, **environment)
        assert answer.status_code == 200
        client.set_tokens(**answer.json())
        return next(row for row in listed(client) if row["current"])

    return post


def test_a_session_is_listed_with_its_client(sign_in, alice):
    row = sign_in(headers={"User-Agent": "Firefox/143.0"}, REMOTE_ADDR="203.0.113.7")

    session = Session.objects.get()
    assert row == {
        "id": session.pk,
        "created_at": session.created_at.isoformat().replace("+00:00", "Z"),
        "last_used_at": session.rotated_at.isoformat().replace("+00:00", "Z"),
        "user_agent": "Firefox/143.0",
        "address": "203.0.113.7",
        "current": True,
    }


def test_only_the_calling_session_is_current(client_of, alice):
    clients = [client_of(alice) for _ in range(3)]

    current = [[row["id"] for row in listed(client) if row["current"]] for client in clients]

    assert current == [[session.pk] for session in Session.objects.order_by("pk")]
    assert all(type(row["current"]) is bool for row in listed(clients[0]))


def test_it_lists_only_the_callers_sessions_even_for_admins(client_of, ada, alice, bob):
    clients = {user: client_of(user) for user in (alice, bob, ada)}
    client_of(alice)

    seen = {user: {row["id"] for row in listed(client)} for user, client in clients.items()}

    assert seen == {user: set(user.sessions.values_list("pk", flat=True)) for user in clients}
    assert len(seen[alice]) == 2


def test_ended_sessions_are_not_listed(client_of, client, alice):
    here, out, expired = client_of(alice), client_of(alice), client_of(alice)
    gone = [get_session(out), get_session(expired)]
    client.post("/token/logout/", {"refresh": out.refresh_token})
    Session.objects.filter(pk=gone[1].pk).update(expires_at=timezone.now())

    (row,) = listed(here)

    assert row["id"] == get_session(here).pk
    assert row["id"] not in [session.pk for session in gone]


def test_a_refresh_updates_the_last_use(client_of, client, alice):
    here = client_of(alice)
    Session.objects.update(rotated_at=F("rotated_at") - timedelta(hours=1))
    (before,) = listed(here)

    client.post("/token/refresh/", {"refresh": here.refresh_token})

    (after,) = listed(here)
    assert (after["id"], after["created_at"], after["current"]) == (before["id"], before["created_at"], True)
    assert after["last_used_at"] > before["last_used_at"]


def test_a_refresh_keeps_the_client_of_the_sign_in(sign_in, client, alice):
    row = sign_in(headers={"User-Agent": "Firefox/143.0"}, REMOTE_ADDR="203.0.113.7")

    client.post("/token/refresh/", {"refresh": client.refresh_token}, REMOTE_ADDR="198.51.100.9")

    (after,) = listed(client)
    assert (after["user_agent"], after["address"]) == (row["user_agent"], row["address"])


def test_sessions_are_paginated_newest_first(client_of, alice):
    for _ in range(24):
        Session.objects.open(alice)
    client = client_of(alice)

    seen, answer = [], client.get(URL, {"page_size": 10})
    while True:
        seen.append([row["id"] for row in answer.json()["results"]])
        if not (link := answer.json()["next"]):
            break
        answer = client.get(link)

    newest_first = list(Session.objects.order_by("-created_at", "-pk").values_list("pk", flat=True))
    assert [len(page) for page in seen] == [10, 10, 5]
    assert [pk for page in seen for pk in page] == newest_first
    assert len(listed(client)) == 20


def test_the_order_can_be_reversed(client_of, alice):
    client_of(alice), client_of(alice)
    client = client_of(alice)

    assert [row["id"] for row in listed(client, ordering="created_at")] == sorted(
        alice.sessions.values_list("pk", flat=True)
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [({"ordering": "current_jti"}, "ordering"), ({"user": "1"}, "user"), ({"page_size": "0"}, "page_size")],
)
def test_an_invalid_query_is_refused(client_of, alice, query, field):
    answer = client_of(alice).get(URL, query)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


def test_a_list_costs_at_most_three_statements(client_of, alice, django_assert_max_num_queries):
    clients = [client_of(alice) for _ in range(10)]

    with django_assert_max_num_queries(3):
        assert len(listed(clients[0])) == 10


def test_tokens_are_not_shown(client_of, client, alice):
    here = client_of(alice)
    client.post("/token/refresh/", {"refresh": here.refresh_token})

    content = here.get(URL).content.decode()

    session = Session.objects.get()
    assert session.current_jti not in content
    assert session.previous_jti not in content


def test_ending_a_session_revokes_its_tokens_at_once(client_of, client, alice):
    here, there = client_of(alice), client_of(alice)

    answer = here.delete(one(get_session(there)))

    assert (answer.status_code, answer.content) == (204, b"")
    assert there.get("/user/me/").status_code == 401
    assert client.post("/token/refresh/", {"refresh": there.refresh_token}).status_code == 401
    assert here.get("/user/me/").status_code == 200
    assert client.post("/token/refresh/", {"refresh": here.refresh_token}).status_code == 200


def test_the_current_session_can_be_ended(client_of, client, alice):
    here, there = client_of(alice), client_of(alice)

    answer = here.delete(one(get_session(here)))

    assert answer.status_code == 204
    assert here.get("/user/me/").status_code == 401
    assert client.post("/token/refresh/", {"refresh": here.refresh_token}).status_code == 401
    assert there.get("/user/me/").status_code == 200


def test_a_session_of_another_user_looks_like_none(client_of, ada, alice, bob):
    bobs = client_of(bob)
    other = get_session(bobs)

    for client in (client_of(alice), client_of(ada)):
        seen = []
        for path in (one(other), f"{URL}999999999/"):
            answer = client.delete(path, headers={"X-Request-ID": "the-same"})
            headers = {name: value for name, value in answer.headers.items() if name != "Content-Length"}
            seen.append((answer.status_code, headers, answer.content.replace(path.encode(), b"")))
        assert seen[0] == seen[1]
        assert seen[0][0] == 404
    assert bobs.get("/user/me/").status_code == 200


def test_an_ended_session_is_404(client_of, alice):
    here, there, expired = client_of(alice), client_of(alice), client_of(alice)
    ended, old = get_session(there), get_session(expired)
    here.delete(one(ended))
    Session.objects.filter(pk=old.pk).update(expires_at=timezone.now())

    statuses = [here.delete(one(session)).status_code for session in (ended, old)]

    assert statuses == [404, 404]


@pytest.mark.parametrize("spelling", ["0", "-1", "0{}", "{}.0", "{}%00", "\u0661", str(2**63), "9" * 5000])
def test_an_id_has_one_spelling(client_of, alice, spelling):
    here = client_of(alice)

    answer = here.delete(f"{URL}{spelling.format(get_session(here).pk)}/")

    assert answer.status_code == 404
    assert here.get("/user/me/").status_code == 200


@pytest.mark.parametrize("method", ["get", "put", "patch", "post"])
def test_a_session_can_only_be_deleted(client_of, alice, method):
    here = client_of(alice)

    answer = getattr(here, method)(one(get_session(here)))

    assert answer.status_code == 405


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("x" * 201, "x" * 200),
        ("x" * 8000, "x" * 200),
        ("", ""),
        ("Fire\0fox", "Firefox"),
        ("\0" * 300, ""),
        ("x" * 199 + "\0\0yz", "x" * 199 + "y"),
        ("a\x1b[2J\x7f\x85b", "a[2Jb"),
        ("evil\u202exe.\u2066\u200b\u2028\ufeff\xad!", "evilxe.!"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("\xe9t\xe9 \xff", "\xe9t\xe9 \xff"),
    ],
)
def test_any_user_agent_is_stored_cleaned(sign_in, alice, sent, kept):
    assert sign_in(headers={"User-Agent": sent})["user_agent"] == kept


def test_an_old_user_agent_is_cleaned_on_output(client_of, alice):
    client = client_of(alice)
    Session.objects.update(user_agent="Fire\x1b\u202efox")

    assert [row["user_agent"] for row in listed(client)] == ["Firefox"]


def test_a_missing_user_agent_is_empty(sign_in, alice):
    assert sign_in()["user_agent"] == ""


def test_a_direct_client_has_its_own_address(sign_in, alice, settings):
    settings.GATEWAY_ADDRESSES = [ip_network("192.0.2.1")]

    row = sign_in(headers={"X-Forwarded-For": "203.0.113.7"}, REMOTE_ADDR="198.51.100.9")

    assert row["address"] == "198.51.100.9"


def test_a_client_behind_the_gateway_has_the_forwarded_address(sign_in, alice, settings):
    settings.GATEWAY_ADDRESSES = [ip_network("192.0.2.2"), ip_network("192.0.2.1")]

    row = sign_in(headers={"X-Forwarded-For": "203.0.113.7"}, REMOTE_ADDR="192.0.2.1")

    assert row["address"] == "203.0.113.7"


@pytest.mark.parametrize("garbage", ["", "unknown", "198.51.100.9, 203.0.113", "203.0.113.7:80", "x" * 5000, "\0"])
def test_an_invalid_forwarded_address_is_dropped(sign_in, alice, settings, garbage):
    settings.GATEWAY_ADDRESSES = [ip_network("192.0.2.1")]

    row = sign_in(headers={"X-Forwarded-For": garbage}, REMOTE_ADDR="192.0.2.1")

    assert row["address"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("peer", "kept"),
    [("2001:db8::7", "2001:db8::7"), ("::ffff:203.0.113.7", "203.0.113.7"), ("", None)],
)
def test_a_client_without_an_address_can_sign_in(sign_in, alice, peer, kept):
    """A client of a Unix socket has no address."""
    assert sign_in(REMOTE_ADDR=peer)["address"] == kept


@pytest.mark.parametrize("zone", ["eth0", "enx001122334455"])
def test_a_link_local_ipv6_client_can_sign_in(sign_in, alice, zone):
    """The operating system appends the interface to a link-local address, which PostgreSQL does not accept."""
    address = "fe80::1234:5678:9abc:def0"

    assert sign_in(REMOTE_ADDR=f"{address}%{zone}")["address"] in (address, None)


@pytest.mark.parametrize("zone", ["eth0", "x" * 5000, "%", "1\t"])
def test_a_forwarded_ipv6_zone_does_no_harm(sign_in, alice, settings, zone):
    settings.GATEWAY_ADDRESSES = [ip_network("192.0.2.1")]

    row = sign_in(headers={"X-Forwarded-For": f"fe80::1%{zone}"}, REMOTE_ADDR="192.0.2.1")

    assert row["address"] in ("fe80::1", "192.0.2.1")
