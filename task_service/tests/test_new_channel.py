"""The example of a channel in docs/notifications.md works unchanged."""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from notifications.channels import channel
from notifications.models import Event
from tests.deliveries import advance_time, change, deliver_all, delivery_ids, outcome, states

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(SETTINGS,) = re.findall(r"```python settings\n(.*?)```", PAGE, re.DOTALL)


class Post(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def room(settings, tmp_path, monkeypatch):
    """A chat room on a socket, and the channel from the page that posts to it."""
    (tmp_path / "chat.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    settings.NOTIFICATION_CHANNEL_CLASSES = settings.NOTIFICATION_CHANNEL_CLASSES | {"chat": "chat.Chat"}
    settings.NOTIFICATION_CHANNELS = ["chat"]
    settings.PUBLIC_URL = "https://tm.test"
    with HTTPServer(("127.0.0.1", 0), Post) as server:
        server.bodies, server.statuses = [], []
        settings.CHAT_URL = f"http://127.0.0.1:{server.server_port}/room"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    channel.cache_clear()
    sys.modules.pop("chat")


def test_the_example_sends_one_message_per_event(ada, bob, task, room):
    change(task, by=ada, status="completed", assigned_to_id=bob.id)

    deliver_all()

    url = f"https://tm.test/task/tasks/{task.pk}/"
    texts = [f"ada completed \u2068Pay\u2069 {url}", f"ada assigned bob to \u2068Pay\u2069 {url}"]
    assert [(body["id"], body["text"]) for body in room.bodies] == list(zip(delivery_ids(), texts, strict=True))
    assert states() == ["sent", "sent"]


def test_the_example_distinguishes_permanent_failures(ada, task, room):
    room.statuses = [503, 302, 200, 410]
    change(task, by=ada, status="in_progress")
    for reason in ("the chat room answered 503", "the chat room answered 302"):
        deliver_all()
        assert outcome() == ("planned", reason)
        advance_time(seconds=21)
    deliver_all()
    change(task, by=ada, status="completed")
    deliver_all()

    assert states() == ["sent", "failed"]
    assert len({body["id"] for body in room.bodies[:3]}) == 1


def test_the_settings_on_the_page_enable_the_channel():
    classes = {}
    read = type("env", (), {"http_url": staticmethod(lambda name, default: name)})

    exec(SETTINGS, {"NOTIFICATION_CHANNEL_CLASSES": classes, "env": read})

    assert classes == {"chat": "notifications.channels.chat.Chat"}
    assert "notifications/channels/chat.py" in PAGE


def test_the_page_lists_every_event_and_channel(settings):
    rows = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))

    assert rows == set(Event.Kind.values) | settings.NOTIFICATION_CHANNEL_CLASSES.keys()
