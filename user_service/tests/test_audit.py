"""The events of the audit trail, and who can read them."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from accounts.models import AuditEvent, Mail, PasswordToken, User
from chassis.auth import client_address
from tests.conftest import read_pages, status_and_fields, statuses, time_json

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

URL = "/user/audit/"
NEW = "nine purple umbrellas"


@pytest.fixture
def events(client_of, ada):
    """Reads the trail as an admin, without the sign-in of that admin."""
    client = client_of(ada)
    AuditEvent.objects.all().delete()  # possible here: the tests disable the trigger

    def read(**query):
        answer = client.get(URL, query)
        assert answer.status_code == 200
        return answer.json()["results"]

    return read


def ref(user):
    return {"id": user.pk, "username": user.username}


def brief(event):
    return event["event"], event["actor"] and event["actor"]["id"], event["subject"] and event["subject"]["id"]


@pytest.fixture
def admin(client_of, ada, events):
    """A second client of the same admin, whose sign-in is not in the trail."""
    client = client_of(ada)
    AuditEvent.objects.all().delete()
    return client


def test_a_role_change_is_an_event(events, admin, ada, alice):
    origin = {"headers": {"X-Request-ID": "abc-1"}, "REMOTE_ADDR": "203.0.113.7"}

    admin.patch(f"/user/users/{alice.pk}/", {"role": "admin"}, **origin)

    (event,) = events()
    row = AuditEvent.objects.get()
    assert event == {
        "id": row.pk,
        "at": time_json(row.at),
        "event": "authz_change",
        "actor": ref(ada),
        "subject": ref(alice),
        "address": "203.0.113.7",
        "details": {"from": "user", "to": "admin"},
        "request_id": "abc-1",
    }


def test_every_change_by_an_admin_is_recorded(events, admin, ada):
    nora = {"username": "Nora", "email": "nora@example.com", "password": NEW}
    id_ = admin.post("/user/users/", nora).json()["id"]
    path = f"/user/users/{id_}/"
    admin.patch(path, {"is_active": False})
    admin.patch(path, {"is_active": True})
    admin.patch(path, {"username": "Norah", "email": "norah@example.com"})
    admin.patch(path, {"role": "admin", "is_active": False})
    admin.delete(f"{path}sessions/")
    admin.delete(path)

    found = [(event["event"], event["details"]) for event in reversed(events())]

    assert found == [
        ("user_created", {"role": "user"}),
        ("user_archived", {}),
        ("user_activated", {}),
        ("user_updated", {"fields": ["email", "username"]}),
        ("authz_change", {"from": "user", "to": "admin"}),
        ("user_archived", {}),
        ("session_expired", {"sessions_ended": 0}),
        ("user_deleted", {"role": "admin"}),
    ]
    assert {(event["actor"]["id"], event["subject"]["id"]) for event in events()} == {(ada.pk, id_)}


def test_a_deleted_account_keeps_the_name_it_had(events, admin, ada, alice):
    alice.change(username="Alicia", by=ada)
    admin.delete(f"/user/users/{alice.pk}/")

    assert events()[0]["subject"] == {"id": alice.pk, "username": "Alicia"}


def test_an_empty_change_leaves_no_event(events, admin, alice, grace):
    admin.patch(f"/user/users/{alice.pk}/", {"role": "user", "is_active": True})
    admin.patch(f"/user/users/{alice.pk}/", {"username": "Grace", "role": "admin"})
    admin.delete("/user/users/900001/")

    assert events() == []


def sign_in(client, password):
    client.set_tokens(**client.post("/token/", {"username": "Nora", "password": password}).json())


def test_changes_of_your_own_account_are_recorded(events, client, password):
    account = {"username": "Nora", "email": "nora@example.com", "password": password}
    nora = User.objects.get(pk=client.post("/user/register/", account).json()["id"])
    sign_in(client, password)
    client.patch("/user/me/", {"email": "nora@elsewhere.example", "current_password": password})
    client.post("/user/me/password/", {"current_password": "not it", "new_password": NEW})
    client.post("/user/me/password/", {"current_password": password, "new_password": NEW})
    sign_in(client, NEW)
    client.post("/token/logout/", {"refresh": client.refresh_token})
    sign_in(client, NEW)
    client.post("/token/logout-all/")
    token = PasswordToken.objects.issue(nora, Mail.Kind.PASSWORD_RESET)
    client.post("/user/password-reset/confirm/", {"token": token, "new_password": password})

    found = list(map(brief, reversed(events())))

    own = [
        *("authn_login_success", "user_updated", "authn_password_change_fail", "authn_password_change"),
        *("authn_login_success", "session_expired", "authn_login_success", "session_expired"),
    ]
    assert found == [
        ("user_created", None, nora.pk),
        *[(event, nora.pk, nora.pk) for event in own],
        ("authn_password_reset", None, nora.pk),
    ]


def test_failed_sign_ins_and_the_lock_are_recorded(events, client, alice, ivan, password):
    for number in range(11):
        client.post("/token/", {"username": "Alice", "password": f"guess {number}"}, REMOTE_ADDR="203.0.113.7")
    client.post("/token/", {"username": "Ivan", "password": password})
    client.post("/token/", {"username": "my-secret-password", "password": "x"})

    unknown, inactive, lock, *failures = events()

    assert (brief(unknown), unknown["details"]) == (("authn_login_fail", None, None), {"reason": "unknown_account"})
    assert (brief(inactive)[2], inactive["details"]) == (ivan.pk, {"reason": "inactive_account"})
    assert (brief(lock), lock["details"]) == (("authn_login_lock", None, alice.pk), {"wait_seconds": 60})
    failure = ("authn_login_fail", None, alice.pk, "203.0.113.7")
    assert [(*brief(each), each["address"]) for each in failures] == [failure] * 10
    assert "my-secret" not in str(list(AuditEvent.objects.values()))


def test_an_operator_command_is_recorded(events, monkeypatch, ada):
    User.objects.all().delete()
    monkeypatch.setenv("ADMIN_PASSWORD", NEW)
    client_address.current.set(None)  # as in a process that has served no request

    call_command("ensure_admin")

    event = AuditEvent.objects.get()
    assert (event.event, event.actor_id, event.subject_name, event.address) == ("user_created", None, "admin", None)


def security_lines(caplog):
    return [record for record in caplog.records if record.name == "security"]


@COMMITTING
def test_each_event_is_logged(client, alice, caplog):
    with caplog.at_level("INFO", logger="security"):
        client.post("/token/", {"username": "Alice", "password": "a guess"}, REMOTE_ADDR="203.0.113.7")

    (line,) = security_lines(caplog)
    assert line.getMessage() == line.event == "authn_login_fail"
    assert (line.actor, line.subject, line.address) == (None, alice.pk, "203.0.113.7")
    assert line.reason == "wrong_password"


@COMMITTING
def test_a_rollback_leaves_neither_event_nor_log_line(ada, alice, caplog):
    with caplog.at_level("INFO", logger="security"), transaction.atomic():
        alice.change(role="admin", by=ada)
        transaction.set_rollback(True)

    assert not AuditEvent.objects.exists()
    assert security_lines(caplog) == []


@COMMITTING
def test_eight_parallel_deletes_are_one_event(client_of, at_once, ada, alice):
    admin = client_of(ada)

    answers = at_once(*[lambda: admin.delete(f"/user/users/{alice.pk}/")] * 8, queued_at=alice)

    assert sorted(statuses(answers)) == [204] + [404] * 7
    assert AuditEvent.objects.filter(event="user_deleted").count() == 1


def test_a_forbidden_request_is_logged(client_of, alice, caplog):
    with caplog.at_level("INFO", logger="security"):
        client_of(alice).get(URL)

    line = security_lines(caplog)[-1]
    assert (line.event, line.actor, line.method, line.path) == ("authz_fail", alice.pk, "GET", URL)


@pytest.mark.parametrize("statement", ["UPDATE {} SET actor_id = 1", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_database_refuses_to_change_an_event(alice, ada, statement):
    alice.change(role="admin", by=ada)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_auditevent ENABLE TRIGGER audit_events_are_append_only")

        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            cursor.execute(statement.format("accounts_auditevent"))

    assert AuditEvent.objects.count() == 1


@pytest.fixture
def history(events, ada, grace, alice, bob):
    alice.change(role="admin", by=ada)
    alice.change(is_active=False, by=grace)
    bob.change(is_active=False, by=ada)
    AuditEvent.objects.filter(subject_id=bob.pk).update(at="2026-11-20T23:59:59.9Z")
    AuditEvent.objects.filter(actor_id=grace.pk).update(at="2026-11-21T00:00:00Z")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["authz_change Alice", "user_archived Alice", "user_archived Bob"]),
        ({"ordering": "at"}, ["user_archived Bob", "user_archived Alice", "authz_change Alice"]),
        ({"event": "user_archived"}, ["user_archived Alice", "user_archived Bob"]),
        ({"event": ["user_archived", "authz_change"], "subject": "bob"}, ["user_archived Bob"]),
        ({"actor": "grace"}, ["user_archived Alice"]),
        ({"actor": "ada", "subject": "alice"}, ["authz_change Alice"]),
        ({"before": "2026-11-20"}, ["user_archived Bob"]),
        ({"after": "2026-11-21", "before": "2026-11-21"}, ["user_archived Alice"]),
    ],
)
def test_events_can_be_filtered(events, history, request, query, found):
    ids = {name: request.getfixturevalue(query[name]).pk for name in ("actor", "subject") if name in query}

    rows = events(**{**query, **ids})

    assert [f"{row['event']} {row['subject']['username']}" for row in rows] == found


def test_events_are_paginated(client_of, ada, history):
    pages, _ = read_pages(client_of(ada), URL, {"page_size": 1})

    assert [row["id"] for (row,) in pages] == list(
        AuditEvent.objects.order_by("-at", "-id").values_list("pk", flat=True)
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("event", "login"), ("actor", "alice"), ("subject", "01"), ("after", "yesterday"), ("before", "2026-02-30")),
        *(("address", "203.0.113.7"), ("ordering", "event")),
    ],
)
def test_an_invalid_query_is_refused(client_of, ada, field, value):
    assert status_and_fields(client_of(ada).get(URL, {field: value})) == (400, [field])


def test_a_page_costs_at_most_three_statements(client_of, ada, history, django_assert_max_num_queries):
    client = client_of(ada)

    with django_assert_max_num_queries(3):
        assert client.get(URL).status_code == 200
