"""Who calls, what is stored, and a user service on a real socket that can be told to misbehave."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Event, Thread
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.db import connection
from rest_framework.test import APIClient

from chassis import tokens
from directory import client as directory_client
from tasks.models import Task


class Person(APIClient):
    """Somebody at the front door, with an access token in hand."""

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


@pytest.fixture
def ada():
    return Person(101, "ada", role="admin")


@pytest.fixture
def alice():
    return Person(102, "alice")


@pytest.fixture
def bob():
    return Person(103, "bob")


@pytest.fixture
def charlie():
    """Must not get in: his token has expired."""
    return Person(104, "charlie", exp=int(time.time()) - 1)


@pytest.fixture
def a_task(db):
    def make(**values):
        return Task.objects.create(**{"title": "Water the plants", "created_by": 101} | values)

    return make


@pytest.fixture(
    params=[
        "",
        "tomorrow",
        "20260101",
        "2026-1-1",
        "2026-W01-1",
        "2026-02-30",
        "1999-12-31",
        "2101-01-01",
        "0001-01-01",
        "2026-01-01\n",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+16:00",
        "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0661",
    ],
    ids=ascii,
)
def no_day(request):
    return request.param


class Call(BaseHTTPRequestHandler):
    """One look-up, as the user service sees it, and the ways to answer it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.calls.append(self)
        reaction = self.server.reactions.pop(0) if self.server.reactions else self.server.reaction
        with suppress(OSError):  # the caller has had enough and hung up
            reaction(self)

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

    def say(self, *pieces, pause=0):
        """Send raw bytes, with a pause after each piece, then hang up."""
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
        self.people = {
            person.id: {
                "id": person.id,
                "username": person.username,
                "email": f"{person.username}@tm.example",
                "role": person.role,
                "is_active": True,
            }
            for person in people
        }
        self.calls = []
        self.reaction = lambda call: call.answer({"results": call.rows})
        self.reactions = []  # used up first, one a call
        self.closing = Event()
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.closing.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def user_service(settings, ada, alice, bob):
    service = UserService(ada, alice, bob)
    settings.USER_SERVICE_URL = service.url
    yield service
    directory_client.POOL.close()
    service.close()


@pytest.fixture
def another_server():
    server = UserService()
    yield server
    server.close()


@pytest.fixture
def at_once():
    """Run (function, *arguments) in threads that start together, each on a database connection of its own."""

    def start(barrier, call, *arguments):
        connection.ensure_connection()
        barrier.wait(10)
        try:
            return call(*arguments)
        finally:
            connection.close()

    def run(*calls):
        barrier = Barrier(len(calls))
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(start, barrier, *call) for call in calls]]

    return run
