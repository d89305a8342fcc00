"""Virtual users that work during faults and record what they saw."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from stack.console import StackError
from tests.lab.client import Client, SentRequest

USERS = 4  # in parallel
TASKS_EACH = 3  # that a user keeps changing
KINDS = ("read tasks", "change tasks", "read accounts")  # what must be served again after each fault
SHARES = {"create": 35, "change": 35, "read": 10, "list": 10, "me": 10}
VALUES = {"status": ("todo", "in_progress", "completed"), "priority": ("low", "normal", "high")}
REPEATED_AFTER_SECONDS = 0.1
SERVED_TIMEOUT_SECONDS = 12
CALM_SECONDS = 1.0
POLL_SECONDS = 0.01


@dataclass(slots=True)
class KeyedTask:
    """A task requested with its own idempotency key; `task_id` is set when it is acknowledged."""

    key: str
    title: str
    assigned_to: int | None
    task_id: int | None = None
    requests: int = 0

    @property
    def body(self) -> dict[str, Any]:
        return {"title": self.title, "assigned_to": self.assigned_to}


@dataclass(frozen=True, slots=True)
class AcknowledgedPatch:
    """Values of a task that were acknowledged at a version."""

    task_id: int
    version: int
    values: dict[str, Any]


@dataclass(slots=True)
class FaultWindow:
    """The time of a fault, from time.monotonic()."""

    begun_at: float
    ended_at: float = float("inf")


@dataclass
class VirtualUser:
    """An admin who creates tasks and changes the first of them, one request at a time."""

    client: Client
    seed: int
    assignee: int | None = None
    pause_seconds: float = 0.01  # on average
    refresh_seconds: float = 120  # an access token is valid for five minutes
    keyed: list[KeyedTask] = field(default_factory=list)
    patches: list[AcknowledgedPatch] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)
    unanswered: KeyedTask | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed} {self.client.name}")

    def prepare(self) -> None:
        self.client.sign_in()
        self.refresh_at = time.monotonic() + self.refresh_seconds
        for _ in range(TASKS_EACH):
            task = self.new_task()
            task.task_id = self.client.retry_until_ok("POST", "/task/tasks/", task.body, key=task.key)["id"]
            self.versions[task.task_id] = 1

    def new_task(self) -> KeyedTask:
        name = f"{self.client.name}-{len(self.keyed)}"
        self.keyed.append(KeyedTask(key=f"key-{name}", title=f"Task {name}", assigned_to=self.assignee))
        return self.keyed[-1]

    def work(self) -> None:
        """Do one thing, and pause."""
        if time.monotonic() > self.refresh_at:
            wait = self.refresh_seconds if self.client.refresh() else REPEATED_AFTER_SECONDS
            self.refresh_at = time.monotonic() + wait
        (what,) = self.rng.choices(list(SHARES), list(SHARES.values()))
        match what:
            case "create":
                self.create()
            case "change":
                self.change()
            case "read":
                self.read()
            case "list":
                self.client.send("read tasks", "GET", "/task/tasks/?page_size=5")
            case "me":
                self.client.send("read accounts", "GET", "/user/me/")
        time.sleep(self.rng.uniform(0, 2 * self.pause_seconds))

    def create(self) -> None:
        """Create a task; repeat an unanswered request first."""
        task = self.unanswered or self.new_task()
        answer = self.client.send(
            "change tasks", "POST", "/task/tasks/", task.body, key=task.key, is_repeated=task.requests > 0
        )
        task.requests += 1
        self.unanswered = None if answer.ok else task
        if answer.ok:
            task.task_id = answer.body["id"]
        else:
            time.sleep(REPEATED_AFTER_SECONDS)

    def change(self) -> None:
        task_id = self.rng.choice(list(self.versions))
        name = self.rng.choice(("status", "status", "priority", "description"))
        text = f"Written by request {len(self.client.sent)}"
        values = {name: self.rng.choice(VALUES.get(name, (text,)))}
        answer = self.client.send("change tasks", "PATCH", f"/task/tasks/{task_id}/", values)
        if answer.ok:
            self.record_version(task_id, answer.body["version"])
            self.patches.append(AcknowledgedPatch(task_id, answer.body["version"], values))

    def read(self) -> None:
        task_id = self.rng.choice(list(self.versions))
        answer = self.client.send("read tasks", "GET", f"/task/tasks/{task_id}/")
        if answer.ok:
            self.record_version(task_id, answer.body["version"])

    def record_version(self, task_id: int, version: int) -> None:
        """Only this user changes the tasks, so versions never decrease."""
        if version < self.versions[task_id]:
            self.contradictions.append(
                f"task {task_id} was read at version {version} after {self.versions[task_id]} was acknowledged"
            )
        self.versions[task_id] = max(version, self.versions[task_id])

    def finish(self) -> None:
        """Repeat an unanswered request until it succeeds, so that each key has a task."""
        if self.unanswered:
            self.client.sign_in()
            body = self.client.retry_until_ok("POST", "/task/tasks/", self.unanswered.body, key=self.unanswered.key)
            self.unanswered.task_id, self.unanswered = body["id"], None


@dataclass
class Load:
    """Virtual users working in threads until the block ends."""

    users: Sequence[VirtualUser]
    windows: list[FaultWindow] = field(default_factory=list)
    stopping: Event = field(default_factory=Event)
    is_running: Event = field(default_factory=Event)
    ended: list[VirtualUser] = field(default_factory=list)

    def __enter__(self) -> None:
        self.is_running.set()
        self.resting = [Event() for _ in self.users]
        # No pool: interrupted while starting threads, it would keep the process from exiting.
        pairs = zip(self.users, self.resting, strict=True)
        self.threads = [Thread(target=self.run, args=pair, daemon=True) for pair in pairs]
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.is_running.set()
        for thread in self.threads:
            thread.join()
        if len(self.ended) < len(self.users):
            raise StackError("A virtual user failed; see the traceback above.")

    def run(self, user: VirtualUser, is_resting: Event) -> None:
        while not self.stopping.is_set():
            if not self.is_running.is_set():
                is_resting.set()
                self.is_running.wait()
                is_resting.clear()
            user.work()
        self.ended.append(user)

    @property
    def sent(self) -> list[SentRequest]:
        return [each for user in self.users for each in list(user.client.sent)]

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Record the time of a fault."""
        window = FaultWindow(time.monotonic())
        self.windows.append(window)
        try:
            yield
        finally:
            window.ended_at = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the load, so that no request is in flight."""
        self.is_running.clear()
        for is_resting in self.resting:
            is_resting.wait(SERVED_TIMEOUT_SECONDS)
        try:
            yield
        finally:
            self.is_running.set()

    def wait_until_served(self) -> None:
        """Wait until new requests of every kind have succeeded. On timeout the judge reports it."""
        now = time.monotonic()
        while time.monotonic() < now + SERVED_TIMEOUT_SECONDS:
            served = {it.kind for it in self.latest() if it.answer.ok and it.begun_at > now}
            if served.issuperset(KINDS):
                break
            time.sleep(POLL_SECONDS)

    def latest(self) -> list[SentRequest]:
        return [each for user in self.users for each in user.client.sent[-50:]]

    def settle(self) -> None:
        """Wait until no request has failed for a while."""
        self.wait_until_served()
        deadline = time.monotonic() + SERVED_TIMEOUT_SECONDS
        calm_since = time.monotonic()
        while calm_since + CALM_SECONDS > time.monotonic() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            failures = [each.ended_at for each in self.latest() if not each.answer.ok]
            calm_since = max([calm_since, *failures])
