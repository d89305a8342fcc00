"""Fixtures for accounts, and a client that checks every response against the rules of all responses."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from functools import cache
from types import SimpleNamespace

import pytest
from django.contrib.auth.hashers import make_password
from django.core import mail as post
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import jobs
from accounts.hashers import SmallArgon2PasswordHasher
from accounts.models import Mail, Session, User
from accounts.tokens import token_pair
from chassis.models import Window
from chassis.testing import documented_responses
from chassis.testing.threads import start_together, wait_until_waiting_for_a_lock
from config.urls import DOCUMENTATION

PASSWORD, NEW_PASSWORD = "seven green bicycles", "nine orange lanterns"
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "instance", "request_id", "errors"}
HEADER_REQUIRED_BY = {401: "WWW-Authenticate", 405: "Allow", 503: "Retry-After"}


class Client(APIClient):
    """Checks each response. An exception in a view is a 500, as for callers; its traceback is in the log."""

    def __init__(self):
        super().__init__(raise_request_exception=False)

    def request(self, **kwargs):
        answer = super().request(**kwargs)
        assert answer.status_code != 500
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Request-ID"]
        if answer.status_code >= 400:
            assert_problem(answer)
        return answer

    def set_tokens(self, access, refresh=None):
        self.access_token, self.refresh_token = access, refresh
        self.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")


def assert_problem(answer):
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    extra = {"changed_fields"} if answer.status_code == 412 else set()
    assert problem.keys() == PROBLEM_KEYS | extra
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert all(error.keys() == {"field", "code", "detail"} for error in problem["errors"])
    if header := HEADER_REQUIRED_BY.get(answer.status_code):
        assert answer.headers[header]


def field_errors(answer):
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


def login_status(client, login, password):
    return client.post("/token/", {"username": login, "password": password}).status_code


def confirm_reset(client, token, password=NEW_PASSWORD):
    return client.post("/user/password-reset/confirm/", {"token": token, "new_password": password})


def send_mails():
    """Send a batch of planned mails and return the messages."""
    before = len(post.outbox)
    jobs.deliver_mails()
    return post.outbox[before:]


def token_in(message):
    token = message.body.partition('"token": "')[2].partition('"')[0]
    assert len(token) == 43
    return token


def token_to(address):
    """Return the token in the latest mail to this address that has one."""
    return next(token_in(each) for each in reversed(post.outbox) if each.to == [address] and '"token"' in each.body)


def age_mails(**duration):
    """Move all times of all mails back instead of waiting."""
    instants = ["planned_at", "due_at", "give_up_at", "leased_until", "sent_at"]
    Mail.objects.update(**{name: F(name) - timedelta(**duration) for name in instants})


def outcome(mail):
    mail.refresh_from_db()
    return mail.state, mail.reason


@pytest.fixture(autouse=True)
def documented(monkeypatch):
    """Every status that a view returns in a test must be in the OpenAPI document."""
    yield from documented_responses.watch(DOCUMENTATION, monkeypatch)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        allow_truncation()


def allow_truncation(trigger="DISABLE"):
    """Let pytest empty the table of audit events after tests that commit."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE accounts_auditevent {trigger} TRIGGER audit_events_are_append_only")


@pytest.fixture
def client():
    return Client()


@pytest.fixture
def client_of():
    """Returns a signed-in client, without the cost of a hash."""

    def sign_in(user):
        client = Client()
        user.refresh_from_db()
        client.set_tokens(**token_pair(Session.objects.open(user)))
        return client

    return sign_in


@pytest.fixture
def password():
    return PASSWORD


@pytest.fixture(autouse=True)
def hashing_cost(request, monkeypatch):
    """The cheapest Argon2, except in races, where the duration of a hash decides which calls overlap."""
    marker = request.node.get_closest_marker("django_db")
    if not (marker and marker.kwargs.get("transaction")):
        monkeypatch.setattr(SmallArgon2PasswordHasher, "time_cost", 1)
        monkeypatch.setattr(SmallArgon2PasswordHasher, "memory_cost", 8)


@cache
def hashed(password, *, memory_cost):
    return make_password(password)


@pytest.fixture
def password_hash(hashing_cost):
    return hashed(PASSWORD, memory_cost=SmallArgon2PasswordHasher.memory_cost)


@pytest.fixture
def person(password_hash):
    """Creates accounts with the same password, hashed once."""

    def make(username, **fields):
        values = {"email": f"{username.lower()}@example.com", "password": password_hash} | fields
        return User.objects.create(username=username, **values)

    return make


@pytest.fixture
def alice(db, person):
    return person("Alice")


@pytest.fixture
def bob(db, person):
    return person("Bob")


@pytest.fixture
def ada(db, person):
    """The only admin, unless a test creates another."""
    return person("Ada", role=User.Role.ADMIN)


@pytest.fixture
def grace(db, person):
    """A second admin."""
    return person("Grace", role=User.Role.ADMIN)


@pytest.fixture
def ivan(db, person):
    """Deactivated."""
    return person("Ivan", is_active=False)


@pytest.fixture
def at_once():
    """Runs calls at the same moment, each in a thread with its own database connection; returns their results.

    With `queued_at`, all calls wait for the lock of this row, so that everything they read before is stale.
    """

    def run_all(*calls, queued_at=None):
        with ThreadPoolExecutor(len(calls)) as pool, transaction.atomic():
            if queued_at:
                type(queued_at).objects.select_for_update().get(pk=queued_at.pk)
            running = start_together(pool, calls)
            if queued_at:
                wait_until_waiting_for_a_lock(len(calls))
            else:
                wait(running)
        return [each.result() for each in running]

    return run_all


@pytest.fixture
def hash_computations(monkeypatch):
    """A list with one entry for each password that was hashed or verified."""
    computations = []

    def count(name):
        original = getattr(SmallArgon2PasswordHasher, name)

        def counted(*args, **kwargs):
            computations.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(SmallArgon2PasswordHasher, name, counted)

    count("encode")
    count("verify")
    return computations


def statuses(answers):
    return [answer.status_code for answer in answers]


def status_and_fields(answer):
    """Return the status of a problem and the fields that it names."""
    return answer.status_code, [error["field"] for error in answer.json()["errors"]]


def account_json(user, **changes):
    """Return an account as an admin reads it."""
    values = {name: getattr(user, name) for name in ("username", "email", "role", "is_active")}
    unset = {"invitation": None, "invited_at": None}
    return {"id": user.pk, **values, "date_joined": time_json(user.date_joined), **unset, **changes}


def time_json(instant):
    return instant.isoformat().replace("+00:00", "Z")


def read_pages(client, path, query=None, *, link="next"):
    """Follow the links from a page and return the rows of each page, and the last response."""
    answers = [client.get(path, query)]
    while url := answers[-1].json()[link]:
        answers.append(client.get(url))
        assert len(answers) < 100
    return [answer.json()["results"] for answer in answers], answers[-1]


@pytest.fixture
def clock(monkeypatch):
    """The clock of Django, which moves only on request; PostgreSQL and JWTs have their own."""
    clock = SimpleNamespace(at=timezone.now())
    clock.advance = lambda **time: setattr(clock, "at", clock.at + timedelta(**time))
    monkeypatch.setattr(timezone, "now", lambda: clock.at)
    return clock


@pytest.fixture
def admin(client_of, ada):
    """Ada's client."""
    return client_of(ada)


@pytest.fixture
def refresh(client):
    return lambda token, **environment: client.post("/token/refresh/", {"refresh": token}, **environment)


def read_counts():
    """Return the counted requests of each key."""
    return dict(Window.objects.values_list("key", "requests"))
