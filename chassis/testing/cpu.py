"""CPU cost of requests with hostile input of several lengths, measured through WSGI."""

import json
import time
from contextlib import contextmanager
from itertools import chain

from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import RequestFactory
from django.urls import get_resolver
from django.utils.module_loading import import_string
from rest_framework.permissions import AllowAny

from chassis.ops.wsgi import Application
from chassis.size_limits import ANONYMOUS_BODY_LIMIT_BYTES
from chassis.testing.permission_table import routed_views

MAX_SECONDS = 0.05
RUNS = 6  # the cheapest counts, since a busy machine may slow down some
LENGTHS = (1024, 4096, ANONYMOUS_BODY_LIMIT_BYTES)
HEADER_LENGTH = 8000  # the limit of gunicorn and Nginx
METHODS = ("GET", "POST", "PATCH")

TEXTS = {
    "marks to be sorted": lambda size: "a" + "\u0300" * (size // 4) + "\u0316" * (size // 4),
    "a ligature of 18 letters": lambda size: "\ufdfa" * (size // 3),
    "joiners": lambda size: "\u0915\u200d" * (size // 6),
    "direction marks": lambda size: "\u200e" * (size // 3 - 1) + "\u05d0",
    "letters": lambda size: "a" * size,
    "digits": lambda size: "1" * size,
    "whitespace": lambda size: " " * (size - 1) + "x",
    "an address with labels": lambda size: "a@" + "a." * (size // 2 - 1),
    "an address with dots": lambda size: "." * (size - 6) + "@a.com",
    "dots of a token": lambda size: "." * size,
    "a token with a large header": lambda size: "eyJ" + "A" * (size - 5) + ".e.e",
    "escapes": lambda size: '\ud7ff\\"' * (size // 7),
}
BODIES = {
    "a long key": lambda size: b'{"%s": 1}' % (b"a" * (size - 7)),
    "many keys": lambda size: b"{%s}" % b",".join(b'"userna%d":1' % number for number in range(size // 15)),
    "a key many times": lambda size: b"{%s}" % b",".join([b'"a":1'] * (size // 6)),
    "many keys and one twice": lambda size: (
        b'{%s,"0":1}' % b",".join(b'"%d":1' % number for number in range(size // 11))
    ),
    "long numbers": lambda size: b'{"a":[%s]}' % b",".join([b"9" * min(4300, size - 10)] * max(1, (size - 9) // 4301)),
    "too long a number": lambda size: b'{"a":%s}' % (b"9" * (size - 6)),
    "a long fraction": lambda size: b'{"a":0.%s}' % (b"9" * (size - 8)),
    "floats": lambda size: b'{"a":[%s]}' % b",".join([b"2.2250738585072011e-308"] * (size // 24 - 1)),
    "deep lists": lambda size: b"[" * size,
    "deep objects": lambda size: (b'{"a":' * (size // 5)).ljust(size),
    "empty objects": lambda size: b'{"a":[%s{}]}' % (b"{}," * (size // 3 - 4)),
    "escaped characters": lambda size: b'{"a":"%s"}' % (rb"\u0041" * (size // 6 - 2)),
    "backslashes": lambda size: rb'{"a":"\u0041%s"}' % (rb"\\" * (size // 2 - 8)),
    "whitespace": lambda size: b"{}".rjust(size),
    "no UTF-8": lambda size: b'{"a":"%s"}' % (b"\xff" * (size - 8)),
}
HEADERS = {
    "Accept": "text/html;q=0.1," * (HEADER_LENGTH // 16),
    "Authorization": "Bearer eyJ" + "A" * (HEADER_LENGTH - 20) + ".e.e",
    "Cookie": "a=b;" * (HEADER_LENGTH // 4),
    "Content-Encoding": "gzip," * (HEADER_LENGTH // 5),
    "Idempotency-Key": "a" * HEADER_LENGTH,
    "If-Match": '"" , ' * (HEADER_LENGTH // 5) + "x",
    "If-None-Match": '"",' * (HEADER_LENGTH // 3),
    "Origin": "https://" + "a." * (HEADER_LENGTH // 2 - 10),
    "User-Agent": "\u00e9" * HEADER_LENGTH,
    "X-Forwarded-For": "127.0.0.1," * (HEADER_LENGTH // 10),
    "X-Request-ID": "a" * HEADER_LENGTH,
    "X-Request-Start": "t=" + "1" * HEADER_LENGTH,
}
CONTENT_TYPES = ('application/json; a="' + ";" * HEADER_LENGTH, "application/json" + ";a=b" * (HEADER_LENGTH // 4))
QUERIES = {
    "many": "&".join(f"a{number}=1" for number in range(999)),
    "a long name": "a" * HEADER_LENGTH + "=1",
    "long values": "&".join(f"{name}={'%CC%80%CC%96' * 150}" for name in ("search", "cursor", "ordering", "page_size")),
    "digits": "&".join(f"{name}={'9' * 1900}" for name in ("ids", "after", "cursor", "page_size")),
}


def routes():
    """Return the path of every route of the service, with 1 for each id, and its view."""
    return [(route.replace("{id}", "1"), view) for route, view in routed_views(get_resolver().url_patterns)]


def find_serializer_class(view_class):
    """Return the serializer class of a view, for simplejwt from SIMPLE_JWT, or None."""
    path = getattr(view_class, "_serializer_class", "")
    return getattr(view_class, "serializer_class", None) or (import_string(path) if path else None)


def open_routes():
    """Return the anonymous POST routes with the names of their fields."""
    views = [(path, getattr(view, "cls", None)) for path, view in routes()]
    return {
        path: [name for name, field in find_serializer_class(cls)().fields.items() if not field.read_only]
        for path, cls in views
        if cls and AllowAny in cls.permission_classes and hasattr(cls, "post")
    }


def bodies(fields, size):
    """Yield the name and bytes of each hostile body; some have a hostile text in one field."""
    yield from ((name, make(size)) for name, make in BODIES.items())
    plain = dict.fromkeys(fields, "seven green bicycles") | ({"email": "a@example.com"} if "email" in fields else {})
    plain |= {"username": "alice"} if "username" in fields else {}
    room = size - len(json.dumps(plain)) - 20
    for field in fields:
        for name, make in TEXTS.items():
            yield f"{name} in {field}", json.dumps(plain | {field: make(room)}, ensure_ascii=False).encode()


@contextmanager
def connections_kept():
    """Keep the connection of a test and so its transaction, as Django's test client does."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


class Meter:
    def __init__(self):
        self.application = Application()
        with connection.cursor() as cursor:  # a test is one transaction, and some requests do not use the database
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")

    def expensive(self, method, path, body=b"", *, limit=MAX_SECONDS, content_type="application/json", headers=None):
        """Return the seconds of the fastest run, or None if one was within the limit."""
        best = limit
        for run in range(RUNS):
            seconds = self.seconds(method, path, body, content_type, headers or {})
            if seconds <= limit:
                return None
            best = seconds if run == 0 else min(best, seconds)
        return best

    def seconds(self, method, path, body, content_type, headers):
        request = RequestFactory().generic(method, path, body, content_type=content_type, headers=headers)
        with connections_kept():
            began = time.thread_time()
            answer = self.application(request.environ, lambda *_: None)
            for _ in answer:
                pass
            seconds = time.thread_time() - began
            answer.close()
        assert answer.status_code < 500, (method, path, body[:40])
        return seconds


def too_expensive_bodies(meter):
    """Yield each body over the limit, on every anonymous route."""
    for path, fields in open_routes().items():
        for size in (*LENGTHS, 4 * LENGTHS[-1]):
            for name, body in bodies(fields, size):
                if seconds := meter.expensive("POST", path, body):
                    yield f"{path}: {name}, {len(body)} bytes: {seconds * 1000:.0f} ms"


def too_expensive_heads(meter):
    """Yield each header and query over the limit, on every route and method."""
    for (path, _), method in ((route, method) for route in routes() for method in METHODS):
        types = ((content_type, {}) for content_type in CONTENT_TYPES)
        named = (("application/json", {name: value}) for name, value in HEADERS.items())
        for content_type, headers in chain(types, named):
            if seconds := meter.expensive(method, path, b"{}", content_type=content_type, headers=headers):
                yield f"{method} {path}: {content_type[:30]} {list(headers)}: {seconds * 1000:.0f} ms"
        for name, query in QUERIES.items():
            if seconds := meter.expensive(method, f"{path}?{query}"):
                yield f"{method} {path}: query of {name}: {seconds * 1000:.0f} ms"
