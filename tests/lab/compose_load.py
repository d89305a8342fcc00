"""People at work on a compose project while its containers are replaced. Each request must succeed at once."""

import time
from http import HTTPStatus
from itertools import cycle
from threading import Event, Thread
from typing import Any

from stack.http import call
from tests.lab.threads import Threads

THREADS = 4
TOKEN_SECONDS = 120  # it is good for five minutes
PAUSE_SECONDS = 0.1


class Load(Threads):
    """Threads that make tasks without a key, change and read them, until the block ends."""

    def __init__(self, url: str, admin_password: str) -> None:
        self.url, self.password = url, admin_password
        self.stopping = Event()
        self.failed: list[str] = []
        self.durations: list[float] = []
        self.threads = [Thread(target=self.work, daemon=True) for _ in range(THREADS)]

    def work(self) -> None:
        token, token_until, task_id = "", 0.0, 0
        for act in cycle(("make", "change", "read", "list", "me")):
            if self.stopping.wait(PAUSE_SECONDS):
                return
            if time.monotonic() > token_until:
                token = self.request("sign in", 0, "").get("access", token)
                token_until = time.monotonic() + TOKEN_SECONDS
            made = self.request(act, task_id, token)
            task_id = made.get("id", 0) if act == "make" else task_id

    def request(self, act: str, task_id: int, token: str) -> Any:
        method, path, body = {
            "sign in": ("POST", "/token/", {"username": "admin", "password": self.password}),
            "make": ("POST", "/task/tasks/", {"title": "Made during a deploy"}),
            "change": ("PATCH", f"/task/tasks/{task_id}/", {"priority": "high"}),
            "read": ("GET", f"/task/tasks/{task_id}/", None),
            "list": ("GET", "/task/tasks/?page_size=5", None),
            "me": ("GET", "/user/me/", None),
        }[act]
        begun_at = time.monotonic()
        try:
            status, answer = call(f"{self.url}{path}", body, method=method, token=token, timeout_seconds=30)
        except (OSError, ValueError) as error:  # refused, reset, or no JSON
            status, answer = 0, {"detail": error}
        self.durations.append(time.monotonic() - begun_at)
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            self.failed.append(f"{method} {path}: {status} {answer['detail']}")
        return answer
