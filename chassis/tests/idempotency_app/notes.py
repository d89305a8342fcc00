"""Requests to create notes, and what became of them."""

import json

from django.test import Client

from chassis.testing.forge import claims, signed
from chassis.tests.idempotency_app.models import Note

HELLO = {"text": "hello"}


def send(body=HELLO, *, key="k-1", path="/notes/", method="POST", **changes):
    """Send a body, as a value or as bytes, with changed claims, or without a token; a bug in a view is a 500."""
    headers = {} if changes.get("sub", "7") is None else {"Authorization": f"Bearer {signed(claims(**changes))}"}
    headers |= {} if key is None else {"Idempotency-Key": key}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    client = Client(raise_request_exception=False)
    return client.generic(method, path, content, content_type="application/json", headers=headers)


def seen(answer):
    """Everything a client sees except the request id."""
    headers = {name: value for name, value in answer.headers.items() if name != "X-Request-ID"}
    return answer.status_code, answer.content, headers


def texts():
    return sorted(Note.objects.values_list("text", flat=True))
