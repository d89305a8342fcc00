"""The requests that are measured, and how much each may cost."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product

from stack.console import StackError
from tests.lab.bench.baseline import Baseline
from tests.lab.bench.data import ABSENT_WORD, COMMON_WORD, CREATOR, PASSWORD, Data
from tests.lab.bench.load import NOT_MODIFIED, Call, Load, entity_tag
from tests.lab.client import Client
from tests.lab.scene import Scene

TOKEN_SECONDS = 120  # of the 300 in which an access token is valid
CALLS = 500
TASKS, POLL = "/task/tasks/", "/task/tasks/?status=todo&page_size=50"
MIX = {"one": 65, "list20": 12, "list50": 11, "summary": 9, "create": 1, "patch": 2}


@dataclass
class World:
    """The stack and its data, for those who prepare requests."""

    scene: Scene
    data: Data
    baseline: Baseline
    rng: random.Random = field(default_factory=lambda: random.Random("bench"))
    clients: dict[str, Client] = field(default_factory=dict)
    signed_in_at: dict[str, float] = field(default_factory=dict)

    def credentials(self, caller: str) -> dict[str, str]:
        if caller == "admin":
            return {"username": "admin", "password": self.scene.admin_password()}
        return {"username": f"{caller}-bench", "password": PASSWORD}

    def client(self, caller: str) -> Client:
        """Return a client whose token stays valid for some minutes."""
        if caller not in self.clients:
            self.clients[caller] = Client(self.scene.port, name=f"bench-{caller}", **self.credentials(caller))
        if time.monotonic() > self.signed_in_at.get(caller, float("-inf")) + TOKEN_SECONDS:
            self.clients[caller].sign_in()
            self.signed_in_at[caller] = time.monotonic()
        return self.clients[caller]

    def load(self, calls: list[Call], caller: str, system: str = "tmservice") -> Load:
        if system != "tmservice":
            return Load(self.baseline.port, tuple(calls), self.baseline.token(caller) if caller else "")
        token = self.client(caller).tokens["access"] if caller else ""
        return Load(self.scene.port, tuple(calls), token)

    def some_ids(self, caller: str, count: int = CALLS) -> list[int]:
        return self.rng.choices(self.data.owned[caller], k=count)

    def entity_tag(self, path: str, caller: str) -> str:
        found = entity_tag(self.load([Call("GET", path)], caller))
        if not found:
            raise StackError(f"GET {path} was answered without an entity tag.")
        return found


Prepare = Callable[[World, str], list[Call]]


@dataclass(frozen=True, slots=True)
class Case:
    """`target` is the most it may cost, as a multiple of the empty view. `textbook`: that stack has it, too."""

    name: str
    prepare: Prepare
    callers: tuple[str, ...] = ("admin",)
    target: float | None = None
    textbook: tuple[str, ...] = ()
    max_statements: int = 3
    target_p50_ms: float | None = None


def get(path: str) -> Prepare:
    return lambda world, caller: [Call("GET", path)]


def one_task(world: World, caller: str) -> list[Call]:
    return [Call("GET", f"{TASKS}{task_id}/") for task_id in world.some_ids(caller)]


def unchanged(path: str) -> Prepare:
    return lambda world, caller: [not_modified(world, path, caller)]


def one_unchanged(world: World, caller: str) -> list[Call]:
    return [not_modified(world, f"{TASKS}{task_id}/", caller) for task_id in world.some_ids(caller, 3)]


def not_modified(world: World, path: str, caller: str) -> Call:
    return Call("GET", path, headers={"If-None-Match": world.entity_tag(path, caller)}, expected=NOT_MODIFIED)


def deep_page(pages: int) -> Prepare:
    """Follow cursors to a task of a rare creator; the cursor then serves the list without that filter, too."""

    def prepare(world: World, caller: str) -> list[Call]:
        client = world.client("admin")
        path = f"{TASKS}?created_by={CREATOR}&page_size=1"
        for _ in range(pages):
            path = client.retry_until_ok("GET", path)["next"]
        cursor = path.partition("cursor=")[2].partition("&")[0]
        return [Call("GET", f"{TASKS}?cursor={cursor}")]

    return prepare


def search(word: str) -> Prepare:
    return get(f"{TASKS}?search={word}")


def rare_word(world: World, caller: str) -> list[Call]:
    """Every title ends in the number of its task."""
    return [Call("GET", f"{TASKS}?search={task_id}") for task_id in world.some_ids(caller, 50)]


def create(world: World, caller: str) -> list[Call]:
    user = world.data.ids["user"]
    body = {"title": "Check the lease for Oslo", "description": "Two copies, one of them signed.", "assigned_to": user}
    return [Call("POST", TASKS, body | {"due_date": "2030-12-01"})]


def patch_status(world: World, caller: str) -> list[Call]:
    """Change the status with every request, and end where it began."""
    ids = world.some_ids(caller, 150)
    changes = product(("in_progress", "completed", "todo"), ids)
    return [Call("PATCH", f"{TASKS}{task_id}/", {"status": status}) for status, task_id in changes]


def bulk(world: World, caller: str) -> list[Call]:
    batches = [sorted(set(world.some_ids(caller, 140)))[:100] for _ in range(4)]
    changes = product(("high", "low", "urgent", "normal"), batches)
    return [Call("POST", f"{TASKS}bulk/", {"ids": ids, "set": {"priority": value}}) for value, ids in changes]


def login(world: World, caller: str) -> list[Call]:
    return [Call("POST", "/token/", world.credentials("user"))]


def mix(world: World, caller: str) -> list[Call]:
    calls = {name: BY_NAME[name].prepare(world, caller) for name in MIX}
    chosen = world.rng.choices(list(MIX), list(MIX.values()), k=2 * CALLS)
    return [world.rng.choice(calls[name]) for name in chosen]


ALL = ("admin", "user", "busy")
CASES = [
    Case("one", one_task, ALL, target=4, textbook=("admin", "user")),
    Case("list20", get(TASKS), ALL, target=6, textbook=("admin", "user")),
    Case("list50", get(f"{TASKS}?page_size=50"), ALL, textbook=("admin", "user")),
    Case("list-status", get(f"{TASKS}?status=in_progress"), ALL, target=6),
    Case("page-middle", deep_page(1), ("admin", "busy"), target=6),
    Case("page-end", deep_page(3), ("admin", "busy"), target=6),
    Case("304-one", one_unchanged, ALL, target=3.5, max_statements=4),
    Case("304-list", unchanged(TASKS), ALL, target=3.5, max_statements=4),
    Case("304-poll", unchanged(POLL), ("admin", "busy"), target=3.5, max_statements=4),
    Case("summary", get(f"{TASKS}summary/"), ALL, target=6, textbook=("admin", "user", "busy")),
    Case("summary-filtered", get(f"{TASKS}summary/?priority=high"), ALL, target=12),
    Case("search-rare", rare_word, ("admin", "user"), target=12, target_p50_ms=30),
    Case("search-common", search(COMMON_WORD), ("admin", "user"), target=12, target_p50_ms=30),
    Case("search-absent", search(ABSENT_WORD), ("admin", "user"), target=12, target_p50_ms=30),
    Case("create", create, target=9, textbook=("admin",), max_statements=13),
    Case("patch", patch_status, target=9, textbook=("admin",), max_statements=13),
    Case("bulk", bulk, max_statements=13),
    Case("login", login, ("",), max_statements=13),
    Case("mix", mix, target=5, textbook=("admin",), max_statements=13),
]
BY_NAME = {case.name: case for case in CASES}
EMPTY, EMPTY_DRF = "empty", "empty-drf"


@dataclass(frozen=True, slots=True)
class Subject:
    """A case for one caller and system: the smallest thing that is measured."""

    system: str
    name: str
    caller: str
    prepare: Prepare

    @property
    def key(self) -> str:
        return f"{self.system} {self.name} {self.caller}".strip()


def subjects(names: set[str], *, with_textbook: bool = True) -> Iterator[Subject]:
    """Yield the empty views and these cases, or all; a name may have a caller: one:busy."""
    for name in (EMPTY, EMPTY_DRF):
        yield Subject("baseline", name, "", get(f"/{name}/"))
    for case in CASES:
        for caller in case.callers:
            if not names or {case.name, f"{case.name}:{caller}"} & names:
                yield Subject("tmservice", case.name, caller, case.prepare)
                if with_textbook and caller in case.textbook:
                    yield Subject("textbook", case.name, caller, case.prepare)
