"""Callers, stored accounts and tasks, and a user service on a real socket that can misbehave."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import copy
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import itemgetter
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from chassis.auth import tokens
from chassis.testing import documented_responses
from chassis.testing.threads import in_own_connection, start_together, wait_for_lock_waiter
from config.urls import DOCUMENTATION
from directory import client as directory_client
from directory import feed
from directory.breaker import Breaker
from directory.models import Feed, User
from tasks import large_counts
from tasks.models import Activity, Task


class Person(APIClient):
    """An API client with the access token of an account."""

    def __init__(self, id_, username, *, role="user", **claims):
        super().__init__()
        self.id, self.username, self.role = id_, username, role
        now = int(time.time())
        issued = {
            "iss": tokens.ISSUER,
            "aud": tokens.AUDIENCE,
            "token_type": "access",
            "sub": str(id_),
            "sid": "1",
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + 300,
            "username": username,
            "role": role,
            "epoch": 0,
        }
        self.token = tokens.sign(issued | claims)
        self.credentials(HTTP_AUTHORIZATION=f"Bearer {self.token}")


@contextmanager
def uncommitted_change(tasks, *, by, **values):
    """Change tasks in another transaction, which commits at the end of the block."""
    written, may_commit = Event(), Event()

    def change():
        with transaction.atomic():
            Task.objects.filter(pk__in=[task.pk for task in tasks]).change(by_id=by.id, **values)
            written.set()
            assert may_commit.wait(60)

    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(in_own_connection, change)
        try:
            assert written.wait(60)
            yield
        finally:
            may_commit.set()
        changed.result()


def add_to_directory(person, **values):
    """Store the account of a person in the directory and return the person."""
    facts = {"username": person.username, "email": f"{person.username}@tm.example", "role": person.role}
    state = {"is_active": True, "is_deleted": False, "epoch": 0, "min_valid_epoch": 0, "position": person.id}
    User.objects.create(id=person.id, **facts | state | values)
    return person


@pytest.fixture(autouse=True)
def documented(monkeypatch):
    """Check that the OpenAPI document has the status of every response in a test."""
    yield from documented_responses.watch(DOCUMENTATION, monkeypatch)


@pytest.fixture
def directory(db):
    """The directory, read to the end of the feed and not stale during the test."""
    in_an_hour = timezone.now() + timedelta(hours=1)
    return Feed.objects.create(position=1000, tried_at=in_an_hour, pulled_at=in_an_hour)


def stored_accounts():
    return list(User.objects.order_by("id").values())


def usernames():
    return dict(User.objects.values_list("id", "username"))


def set_feed_age(*, seconds_ago, failed=False, now=None):
    """Change the time of the last attempt to read the feed."""
    then = (now or timezone.now()) - timedelta(seconds=seconds_ago)
    Feed.objects.update(tried_at=then, pulled_at=then - timedelta(minutes=1) if failed else then)


@pytest.fixture
def ada(directory):
    return add_to_directory(Person(101, "ada", role="admin"))


@pytest.fixture
def alice(directory):
    return add_to_directory(Person(102, "alice"))


@pytest.fixture
def bob(directory):
    return add_to_directory(Person(103, "bob"))


@pytest.fixture
def grace(directory):
    """Another admin."""
    return add_to_directory(Person(109, "grace", role="admin"))


@pytest.fixture
def charlie(directory):
    """A user with an expired token."""
    return add_to_directory(Person(104, "charlie", exp=int(time.time()) - 1))


@pytest.fixture
def newcomer(user_service):
    """An account of the user service that is not in the directory yet."""
    person = Person(105, "nora")
    user_service.add(person)
    return person


@pytest.fixture(autouse=True)
def closed_breaker(monkeypatch):
    kind = directory_client.BREAKER
    monkeypatch.setattr(directory_client, "BREAKER", Breaker(kind.max_failures, kind.pause_seconds))


@pytest.fixture(autouse=True)
def forgotten_counts():
    """Forget large counts: tests remove their tasks without history."""
    large_counts.remembered.clear()


@pytest.fixture
def create_task(db):
    def make(**values):
        if "assigned_to" in values:
            values["assigned_to_id"] = values.pop("assigned_to")
        return Task.objects.create(**{"title": "Water the plants", "created_by": 101} | values)

    return make


@pytest.fixture
def task(create_task, alice):
    """A task of alice that ada created."""
    return create_task(title="Pay", assigned_to=alice.id)


@pytest.fixture(autouse=True)
def notification_log(settings, tmp_path):
    """The file of the log channel; deliveries.log_entries() reads it."""
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")
    return tmp_path / "notifications.log"


@pytest.fixture(
    params=[
        *("", "tomorrow", "20260101", "2026-1-1", "2026-W01-1", "2026-02-30", "1999-12-31", "2101-01-01", "0001-01-01"),
        *(
            "2026-01-01\n",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00+16:00",
            "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0661",
        ),
    ],
    ids=ascii,
)
def invalid_date(request):
    return request.param


class Call(BaseHTTPRequestHandler):
    """A lookup or a request for the feed, as the user service gets it, and ways to respond."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise a body waits 40 ms for the acknowledgement of its headers

    def do_GET(self):
        self.server.calls.append(copy(self))  # one handler serves all calls of a connection
        reaction = self.server.reactions.pop(0) if self.server.reactions else self.server.reaction
        with suppress(OSError):  # the caller has closed the connection
            reaction(self)

    def answer_correctly(self):
        self.answer(self.server.feed_after(self.after) if self.reads_feed else {"results": self.rows})

    @property
    def reads_feed(self):
        return urlsplit(self.path).path == "/internal/users/changes/"

    @property
    def after(self):
        return int(parse_qs(urlsplit(self.path).query)["after"][0])

    @property
    def rows(self):
        ids = parse_qs(urlsplit(self.path).query)["ids"][0].split(",")
        return [self.server.people[int(id_)] for id_ in ids if int(id_) in self.server.people]

    def answer(self, body, status=200, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def send_raw(self, *pieces, pause=0):
        """Send raw bytes, with a pause after each piece, then close the connection."""
        self.close_connection = True
        for piece in pieces:
            self.wfile.write(piece)
            self.server.closing.wait(pause)

    def log_message(self, *args):
        pass


class UserService(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *people):
        super().__init__(("127.0.0.1", 0), Call)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.people = {}
        self.tombstones = {}  # positions of deletions by account id
        self.position = 1000
        self.page_size = 100
        for person in people:
            self.add(person)
        self.calls = []
        self.reaction = Call.answer_correctly
        self.reactions = []  # used first, one per call
        self.closing = Event()
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, person, **values):
        facts = {"id": person.id, "username": person.username, "email": f"{person.username}@tm.example"}
        state = {"role": person.role, "is_active": True, "epoch": 0, "min_valid_epoch": 0, "position": person.id}
        self.people[person.id] = facts | state | values

    def change(self, person, **values):
        """Change or create an account and move it to the end of the feed."""
        self.position += 1
        self.add(person, **self.people.get(person.id, {}) | values | {"position": self.position})

    def delete(self, person):
        self.position += 1
        del self.people[person.id]
        self.tombstones[person.id] = self.position

    def feed_after(self, position):
        rows = [{"position": at, "id": id_, "user": None} for id_, at in self.tombstones.items()]
        for row in self.people.values():
            user = {name: value for name, value in row.items() if name != "position"}
            rows.append({"position": row["position"], "id": user["id"], "user": user})
        rows = sorted((row for row in rows if row["position"] > position), key=itemgetter("position"))
        page = rows[: self.page_size]
        reached = page[-1]["position"] if page else position
        return {"results": page, "next_after": reached, "more": len(rows) > len(page)}

    @property
    def lookups(self):
        return [call.path for call in self.calls if not call.reads_feed]

    @property
    def pulls(self):
        """The positions that the feed was read after."""
        return [call.after for call in self.calls if call.reads_feed]

    def close(self):
        self.closing.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def user_service(settings, monkeypatch, ada, alice, bob):
    """A user service that has enough time to respond, on a slow machine too."""
    for name in ("CONNECT_SECONDS", "READ_SECONDS", "TOTAL_SECONDS"):
        monkeypatch.setattr(directory_client, name, 60)
    for name in ("REQUEST_SECONDS", "WORKER_SECONDS"):
        monkeypatch.setattr(feed, name, 60)
    service = UserService(ada, alice, bob)
    settings.USER_SERVICE_URL = service.url
    yield service
    directory_client.POOL.close()
    service.close()


@pytest.fixture
def another_server():
    server = UserService()
    yield server
    directory_client.POOL.close()
    server.close()


@pytest.fixture
def at_once():
    """Run each (function, *arguments) in a separate thread and database connection; all start together."""
    with ThreadPoolExecutor(20) as pool:
        yield lambda *calls: [each.result() for each in start_together(pool, [partial(*call) for call in calls])]


def wait_until(condition):
    deadline = time.monotonic() + 60  # only a bound against hanging
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


TASKS = "/task/tasks/"
FULL = {
    "title": "Feed the cat",
    "description": "Twice",
    "status": "in_progress",
    "priority": "high",
    "due_date": "2096-02-29",
}


def task_url(task, below=""):
    return f"{TASKS}{task.pk}/{below}"


def results(answer):
    """Return the rows of a page."""
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def titles(answer):
    return [task["title"] for task in results(answer)]


def history(person, task):
    return results(person.get(task_url(task, "activity/")))


def invalid_fields(answer):
    """Return the fields of a 400."""
    assert answer.status_code == 400, answer.content
    return [error["field"] for error in answer.json()["errors"]]


def stored_tasks():
    """Return all tasks and history entries, to check that nothing changed."""
    return [list(model.objects.order_by("pk").values()) for model in (Task, Activity)]


def blocked_by(change, call):
    """Start a call while a transaction has made a change; return the result, which has to wait for the commit."""
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change()
            (running,) = start_together(pool, [call])
            wait_for_lock_waiter()
        return running.result()
