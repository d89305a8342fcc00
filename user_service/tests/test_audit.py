"""The events of the audit trail, and who can read them."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from accounts.models import AuditEvent, Mail, PasswordToken, User
from chassis.auth import client_address

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


def test_a_role_change_is_an_event(events, client_of, ada, alice):
    admin = client_of(ada)
    AuditEvent.objects.all().delete()

    admin.patch(
        f"/user/users/{alice.pk}/", {"role": "admin"}, headers={"X-Request-ID": "abc-1"}, REMOTE_ADDR="203.0.113.7"
    )

    (event,) = events()
    row = AuditEvent.objects.get()
    assert event == {
        "id": row.pk,
        "at": row.at.isoformat().replace("+00:00", "Z"),
        "event": "authz_change",
        "actor": ref(ada),
        "subject": ref(alice),
        "address": "203.0.113.7",
        "details": {"from": "user", "to": "admin"},
        "request_id": "abc-1",
    }


def test_every_change_by_an_admin_is_recorded(events, client_of, ada):
    admin = client_of(ada)
    AuditEvent.objects.all().delete()
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


def test_a_deleted_account_keeps_the_name_it_had(events, client_of, ada, alice):
    alice.change(username="Alicia", by=ada)
    client_of(ada).delete(f"/user/users/{alice.pk}/")

    assert events()[0]["subject"] == {"id": alice.pk, "username": "Alicia"}


def test_an_empty_change_leaves_no_event(events, client_of, ada, alice, grace):
    admin = client_of(ada)
    AuditEvent.objects.all().delete()

    admin.patch(f"/user/users/{alice.pk}/", {"role": "user", "is_active": True})
    admin.patch(f"/user/users/{alice.pk}/", {"username": "Grace", "role": "admin"})
    admin.delete("/user/users/900001/")

    assert events() == []


def test_changes_of_your_own_account_are_recorded(events, client, password):
    account = {"username": "Nora", "email": "nora@example.com", "password": password}
    nora = User.objects.get(pk=client.post("/user/register/", account).json()["id"])
    client.set_tokens(**client.post("/token/", {"username": "Nora", "password": password}).json())
    client.patch("/user/me/", {"email": "nora@elsewhere.example", "current_password": password})
    client.post("/user/me/password/", {"current_password": "not it", "new_password": NEW})
    client.post("/user/me/password/", {"current_password": password, "new_password": NEW})
    client.set_tokens(**client.post("/token/", {"username": "Nora", "password": NEW}).json())
    client.post("/token/logout/", {"refresh": client.refresh_token})
    client.set_tokens(**client.post("/token/", {"username": "Nora", "password": NEW}).json())
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
    assert {(*brief(each), each["address"]) for each in failures} == {
        ("authn_login_fail", None, alice.pk, "203.0.113.7")
    }
    assert len(failures) == 10
    assert "my-secret" not in str(list(AuditEvent.objects.values()))


def test_an_operator_command_is_recorded(events, monkeypatch, ada):
    User.objects.all().delete()
    monkeypatch.setenv("ADMIN_PASSWORD", NEW)
    client_address.current.set(None)  # as in a process that has served no request

    call_command("ensure_admin")

    event = AuditEvent.objects.get()
    assert (event.event, event.actor_id, event.subject_name, event.address) == ("user_created", None, "admin", None)


@COMMITTING
def test_each_event_is_logged(client, alice, caplog):
    with caplog.at_level("INFO", logger="security"):
        client.post("/token/", {"username": "Alice", "password": "a guess"}, REMOTE_ADDR="203.0.113.7")

    (line,) = (record for record in caplog.records if record.name == "security")
    assert line.getMessage() == line.event == "authn_login_fail"
    assert (line.actor, line.subject, line.address) == (None, alice.pk, "203.0.113.7")
    assert line.reason == "wrong_password"


@COMMITTING
def test_a_rollback_leaves_neither_event_nor_log_line(ada, alice, caplog):
    with caplog.at_level("INFO", logger="security"), transaction.atomic():
        alice.change(role="admin", by=ada)
        transaction.set_rollback(True)

    assert not AuditEvent.objects.exists()
    assert not [record for record in caplog.records if record.name == "security"]


@COMMITTING
def test_eight_parallel_deletes_are_one_event(client_of, at_once, ada, alice):
    clients = [client_of(ada) for _ in range(8)]

    statuses = at_once(*(lambda each=each: each.delete(f"/user/users/{alice.pk}/").status_code for each in clients))

    assert sorted(statuses) == [204] + [404] * 7
    assert AuditEvent.objects.filter(event="user_deleted").count() == 1


def test_a_forbidden_request_is_logged(client_of, alice, caplog):
    with caplog.at_level("INFO", logger="security"):
        client_of(alice).get(URL)

    (line,) = (record for record in caplog.records if record.name == "security" and record.event == "authz_fail")
    assert (line.actor, line.method, line.path) == (alice.pk, "GET", URL)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditevent SET actor_id = 1",
        "DELETE FROM accounts_auditevent",
        "TRUNCATE accounts_auditevent",
    ],
)
def test_the_database_refuses_to_change_an_event(alice, ada, statement):
    alice.change(role="admin", by=ada)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_auditevent ENABLE TRIGGER audit_events_are_append_only")

        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            cursor.execute(statement)

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


def test_events_are_paginated(events, client_of, ada, history):
    client = client_of(ada)
    AuditEvent.objects.filter(event="authn_login_success").delete()
    seen, link = [], f"{URL}?page_size=1"
    while link:
        page = client.get(link).json()
        seen += [row["id"] for row in page["results"]]
        link = page["next"]

    assert seen == list(AuditEvent.objects.order_by("-at", "-id").values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"event": "login"}, "event"),
        ({"actor": "alice"}, "actor"),
        ({"subject": "01"}, "subject"),
        ({"after": "yesterday"}, "after"),
        ({"before": "2026-02-30"}, "before"),
        ({"address": "203.0.113.7"}, "address"),
        ({"ordering": "event"}, "ordering"),
    ],
)
def test_an_invalid_query_is_refused(client_of, ada, query, field):
    answer = client_of(ada).get(URL, query)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


def test_a_page_costs_at_most_three_statements(client_of, ada, history, django_assert_max_num_queries):
    client = client_of(ada)

    with django_assert_max_num_queries(3):
        assert client.get(URL).status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_trail_is_read_only(client_of, ada, method):
    assert getattr(client_of(ada), method)(URL, {}).status_code == 405
