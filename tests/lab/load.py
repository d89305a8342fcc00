"""What people do while faults happen, and what they were told."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from stack.console import StackError
from tests.lab.client import Attempt, Client
from tests.lab.threads import Threads

HANDS = 4  # people who work at the same time
TASKS_EACH = 3  # that a hand changes again and again
KINDS = ("read tasks", "change tasks", "read accounts")  # what must be served again after each fault
STATUSES = ("todo", "in_progress", "completed")
PRIORITIES = ("low", "normal", "high")
SHARES = {"make": 50, "change": 20, "read": 10, "list": 10, "me": 10}
REPEATED_AFTER_SECONDS = 0.1
REFRESHED_AFTER_SECONDS = 1.0
SERVED_WITHIN_SECONDS = 12
CALM_SECONDS = 1.0
LOOK_SECONDS = 0.01


@dataclass(slots=True)
class Made:
    """A task that was asked for under a key, which no other request has; `task_id` once it was acknowledged."""

    key: str
    title: str
    assigned_to: int
    task_id: int | None = None
    requests: int = 0

    @property
    def body(self) -> dict[str, Any]:
        return {"title": self.title, "assigned_to": self.assigned_to}


@dataclass(frozen=True, slots=True)
class Changed:
    """An acknowledged PATCH: the task has had these values at this version."""

    task_id: int
    version: int
    values: dict[str, Any]


@dataclass(slots=True)
class Window:
    """When something was wrong, of time.monotonic()."""

    begun_at: float
    ended_at: float = float("inf")


class Hand:
    """One admin, who makes tasks and changes the first of them, one request at a time."""

    def __init__(self, client: Client, *, assignee: int, seed: int, pause_seconds: float, refreshes: bool) -> None:
        self.client, self.assignee = client, assignee
        self.pause_seconds, self.refreshes = pause_seconds, refreshes
        self.chance = random.Random(f"{seed} {client.name}")
        self.made: list[Made] = []
        self.changed: list[Changed] = []
        self.unanswered: Made | None = None
        self.versions: dict[int, int] = {}
        self.contradictions: list[str] = []
        self.refresh_at = 0.0

    def prepare(self) -> None:
        self.client.sign_in()
        for _ in range(TASKS_EACH):
            made = self.new_task()
            made.task_id = self.client.insist("POST", "/task/tasks/", made.body, key=made.key)["id"]
            self.versions[made.task_id] = 1

    def new_task(self) -> Made:
        name = f"{self.client.name}-{len(self.made)}"
        self.made.append(Made(key=f"key-{name}", title=f"Task {name}", assigned_to=self.assignee))
        return self.made[-1]

    def work(self) -> None:
        """Do one thing, and pause."""
        if self.refreshes and time.monotonic() > self.refresh_at:
            answered = self.client.refresh().ok
            self.refresh_at = time.monotonic() + (REFRESHED_AFTER_SECONDS if answered else REPEATED_AFTER_SECONDS)
        (what,) = self.chance.choices(list(SHARES), list(SHARES.values()))
        if what == "make":
            self.make()
        elif what == "change":
            self.change()
        elif what == "read":
            self.read()
        elif what == "list":
            self.client.send("read tasks", "GET", "/task/tasks/?page_size=5")
        else:
            self.client.send("read accounts", "GET", "/user/me/")
        time.sleep(self.chance.uniform(0, 2 * self.pause_seconds))

    def make(self) -> None:
        """Ask for a task, for the one that went unanswered before there is another."""
        made = self.unanswered or self.new_task()
        answer = self.client.send(
            "change tasks", "POST", "/task/tasks/", made.body, key=made.key, is_repeated=made.requests > 0
        )
        made.requests += 1
        self.unanswered = None if answer.ok else made
        if answer.ok:
            made.task_id = answer.body["id"]
        else:
            time.sleep(REPEATED_AFTER_SECONDS)

    def change(self) -> None:
        task_id = self.chance.choice(list(self.versions))
        values = self.chance.choice(
            [
                {"status": self.chance.choice(STATUSES)},
                {"priority": self.chance.choice(PRIORITIES)},
                {"description": f"Said in request {len(self.client.attempts)}"},
            ]
        )
        answer = self.client.send("change tasks", "PATCH", f"/task/tasks/{task_id}/", values)
        if answer.ok:
            self.saw(task_id, answer.body["version"])
            self.changed.append(Changed(task_id, answer.body["version"], values))

    def read(self) -> None:
        task_id = self.chance.choice(list(self.versions))
        answer = self.client.send("read tasks", "GET", f"/task/tasks/{task_id}/")
        if answer.ok:
            self.saw(task_id, answer.body["version"])

    def saw(self, task_id: int, version: int) -> None:
        """Nobody else changes the tasks: their versions never go back."""
        if version < self.versions[task_id]:
            self.contradictions.append(
                f"task {task_id} was read at version {version} after {self.versions[task_id]} was acknowledged"
            )
        self.versions[task_id] = max(version, self.versions[task_id])

    def finish(self) -> None:
        """Repeat what went unanswered until it is answered, so that each key has its task."""
        if self.unanswered:
            self.client.sign_in()
            body = self.client.insist("POST", "/task/tasks/", self.unanswered.body, key=self.unanswered.key)
            self.unanswered.task_id, self.unanswered = body["id"], None


@dataclass
class Load(Threads):
    """Hands at work, each in a thread of its own, until the block ends."""

    hands: Sequence[Hand]
    windows: list[Window] = field(default_factory=list)
    stopping: Event = field(default_factory=Event)
    going_on: Event = field(default_factory=Event)
    ended: list[Hand] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.going_on.set()
        self.resting = [Event() for _ in self.hands]
        pairs = zip(self.hands, self.resting, strict=True)
        self.threads = [Thread(target=self.run, args=pair, daemon=True) for pair in pairs]

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        self.going_on.set()
        super().__exit__(*error)
        if len(self.ended) < len(self.hands):
            raise StackError("One of the load could not go on; see its traceback above.")

    def run(self, hand: Hand, is_resting: Event) -> None:
        while not self.stopping.is_set():
            if not self.going_on.is_set():
                is_resting.set()
                self.going_on.wait()
                is_resting.clear()
            hand.work()
        self.ended.append(hand)

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for hand in self.hands for attempt in list(hand.client.attempts)]

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Note when something is wrong."""
        window = Window(time.monotonic())
        self.windows.append(window)
        try:
            yield
        finally:
            window.ended_at = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no request be under way."""
        self.going_on.clear()
        for is_resting in self.resting:
            is_resting.wait(SERVED_WITHIN_SECONDS)
        try:
            yield
        finally:
            self.going_on.set()

    def wait_until_served(self) -> None:
        """Wait until everything was served that began after this moment; in vain, the verdict will say so."""
        now = time.monotonic()
        while time.monotonic() < now + SERVED_WITHIN_SECONDS:
            served = {it.kind for it in self.latest() if it.answer.ok and it.begun_at > now}
            if served.issuperset(KINDS):
                break
            time.sleep(LOOK_SECONDS)

    def latest(self) -> list[Attempt]:
        return [attempt for hand in self.hands for attempt in hand.client.attempts[-50:]]

    def settle(self) -> None:
        """Wait until nothing has failed for a while."""
        self.wait_until_served()
        deadline = time.monotonic() + SERVED_WITHIN_SECONDS
        calm_since = time.monotonic()
        while calm_since + CALM_SECONDS > time.monotonic() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            failures = [attempt.ended_at for attempt in self.latest() if not attempt.answer.ok]
            calm_since = max([calm_since, *failures])
