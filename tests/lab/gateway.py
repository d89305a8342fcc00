"""People, tasks and changes of status, by way of the gateway, and what of it was acknowledged."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from threading import Event, Thread
from typing import Any

import requests

from stack.console import StackError
from stack.state import State
from tests.lab.smtp_sink import Sink
from tests.lab.threads import Threads

PEOPLE = ("alice", "bob", "carla", "deniz")
PASSWORD = "correct horse battery staple"
STATUSES = ("todo", "in_progress", "completed")
THREADS = 3
LONGEST_PAUSE_SECONDS = 0.25
MOST_AHEAD = 500  # changes, of the mails: after the last kill they are to be sent within a minute
TOKEN_SECONDS = 120  # it is good for five minutes
PATIENCE_SECONDS = 60
AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


class Gateway:
    """One admin's connection to the gateway of a stack whose processes are being killed."""

    def __init__(self, url: str, state: State) -> None:
        self.url, self.password = url, state.admin_password.read_text().strip()
        self.session = requests.Session()
        self.session.trust_env = False
        self.sign_in_at = 0.0

    def attempt(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer's JSON, or None where a killed service left it open what has become of the request."""
        self.sign_in_in_time()
        try:
            answer = self.session.request(method, self.url + path, json=body, timeout=30)
        except requests.RequestException:  # also one that was cut off
            return None
        if answer.status_code in AWAY:
            return None
        if not answer.ok:
            raise StackError(f"{method} {path} was answered with {answer.status_code}: {answer.text}")
        return answer.json()

    def sign_in_in_time(self) -> None:
        if time.monotonic() < self.sign_in_at:
            return
        body = {"username": "admin", "password": self.password}
        answer = self.session.post(f"{self.url}/token/", json=body, timeout=30)
        answer.raise_for_status()  # the user service is left alone
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access']}"
        self.sign_in_at = time.monotonic() + TOKEN_SECONDS

    def get(self, path: str) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.attempt("GET", path)) is None:
            if time.monotonic() > deadline:
                raise StackError(f"GET {path} went without an answer for {PATIENCE_SECONDS} s.")
            time.sleep(0.05)
        return answer

    def post(self, path: str, body: Any) -> Any:
        """Only for before the first kill: what is created must be created once."""
        if (answer := self.attempt("POST", path, body)) is None:
            raise StackError(f"POST {path} went without an answer.")
        return answer

    def rows(self, path: str) -> Iterator[dict[str, Any]]:
        page = self.get(f"{path}?page_size=100")
        yield from page["results"]
        while page["next"]:
            page = self.get(page["next"])
            yield from page["results"]


def make_tasks(gateway: Gateway, count: int) -> list[int]:
    """Make the people and tasks assigned to them in turn; return the tasks' ids."""
    bodies = [{"username": name, "email": f"{name}@example.com", "password": PASSWORD} for name in PEOPLE]
    people = [gateway.post("/user/users/", body)["id"] for body in bodies]
    tasks = ({"title": f"Task {number}", "assigned_to": people[number % len(people)]} for number in range(count))
    return [gateway.post("/task/tasks/", task)["id"] for task in tasks]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of status that the client was told has been made."""

    task_id: int
    version: int
    status: str


class Load(Threads):
    """Threads that change the status of tasks, each of tasks of its own, until the block ends."""

    def __init__(self, connect: Callable[[], Gateway], tasks: Sequence[int], *, seed: int, sink: Sink) -> None:
        self.connect, self.sink = connect, sink
        self.shares = [(tasks[number::THREADS], random.Random(f"{seed} load {number}")) for number in range(THREADS)]
        self.acknowledged: list[Change] = []
        self.stopping = Event()
        self.errors: list[Exception] = []
        # Not of a pool: one that is interrupted while its threads start would keep this process from ending.
        self.threads = [Thread(target=self.run_until_error, args=share, daemon=True) for share in self.shares]

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.raise_what_it_met()

    def raise_what_it_met(self) -> None:
        if self.errors:
            raise self.errors[0]

    def run_until_error(self, *share: Any) -> None:
        try:
            self.run(*share)
        except (StackError, requests.RequestException) as error:
            self.errors.append(error)

    def run(self, tasks: Sequence[int], chance: random.Random) -> None:
        gateway = self.connect()
        statuses = dict.fromkeys(tasks, STATUSES[0])
        while not self.stopping.is_set():
            self.stopping.wait(chance.uniform(0, LONGEST_PAUSE_SECONDS))
            if len(self.acknowledged) < len(self.sink.accepted) + MOST_AHEAD:
                task_id = chance.choice(tasks)
                statuses[task_id] = self.change(gateway, task_id, after(statuses[task_id]))

    def change(self, gateway: Gateway, task_id: int, status: str) -> str:
        """Return the status that the task has then."""
        path = f"/task/tasks/{task_id}/"
        answer = gateway.attempt("PATCH", path, {"status": status})
        if answer is None:
            return str(gateway.get(path)["status"])
        self.acknowledged.append(Change(task_id, answer["version"], answer["status"]))
        return status


def after(status: str) -> str:
    return STATUSES[(STATUSES.index(status) + 1) % len(STATUSES)]
