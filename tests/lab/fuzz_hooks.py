"""Hooks of schemathesis: accounts, IDs of existing rows, and filters for false findings.

Runs in the environment of requirements/fuzz.txt: project modules imported here may use only the standard library.
"""

import atexit
import json
import os
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

# Not installed where types are checked.
import schemathesis  # type: ignore[import-not-found]
from schemathesis.core.failures import AcceptedNegativeData  # type: ignore[import-not-found]
from schemathesis.core.parameters import ParameterLocation as Place  # type: ignore[import-not-found]
from schemathesis.openapi.checks import (  # type: ignore[import-not-found]
    MissingContentType,
    RejectedPositiveData,
    UseAfterFree,
)

from tests.lab.client import Answer, Client

SETUP: dict[str, Any] = json.loads(Path(os.environ["FUZZ_SETUP"]).read_text())
RNG = random.Random(SETUP["seed"])
EXISTING_SHARE = 0.7  # of cases that use IDs of existing rows
TOKEN_SECONDS = 120  # it is valid for five minutes
# These end the caller's session or change its password, so they use a spare account.
SESSION_ENDING = {
    *("changeOwnAccount", "changeOwnPassword", "endOwnSession"),
    *("refreshTokens", "signOut", "signOutEverywhere"),
}
# Errors for well-formed requests that depend on stored data, which no schema can describe.
STATE_DEPENDENT_ERRORS = {
    *((field, code) for field in ("assigned_to", "set.assigned_to") for code in ("unknown_user", "inactive_user")),
    # Swagger 2.0 can express neither "integer or string" nor alternatives of members.
    *((f"{inside}{field}", "invalid") for inside in ("", "set.", "filter.") for field in ("assigned_to", "created_by")),
    *((field, "required") for field in ("ids", "set")),
    *((field, "contradictory") for field in ("filter", "delete", "expected_count")),
    ("ids", "unknown_task"),
    ("expected_count", "required"),
    ("filter", "too_many"),
    ("cursor", "invalid"),
    ("current_password", "wrong_password"),
    ("current_password", "required"),  # only if the username or email changes
    *((field, "use_own_account") for field in ("username", "email")),
    ("token", "token_invalid"),
    ("password", "invalid"),  # too weak
    ("new_password", "invalid"),
    ("username", "reserved"),
    ("title", "blank"),  # only invisible characters
    ("set.title", "blank"),
    # Allowed or not depending on the preceding character.
    *((field, "hidden") for field in ("title", "description", "set.title", "set.description")),
}
# These lists still exist after a deletion.
OUTLIVES_DELETION = {"listUserSessions", "listActivity", "listDeliveries"}


class Account(Client):
    """A client that signs in again before its token has expired."""

    def __init__(self, username: str, password: str = SETUP["password"]) -> None:
        super().__init__(SETUP["port"], username=username, password=password, name=username)
        self.sign_in_at = 0.0

    def token(self, kind: str = "access") -> str:
        if time.monotonic() > self.sign_in_at:
            self.sign_in_at = time.monotonic() + TOKEN_SECONDS
            self.tokens = {}
            self.sign_in()
        return self.tokens[kind]

    def ask(self, method: str, path: str, body: Any = None, **options: str) -> Answer:
        if path != "/token/":
            self.token()
        return super().ask(method, path, body, **options)

    def ids(self, path: str) -> list[int]:
        return [row["id"] for row in self.retry_until_ok("GET", f"{path}?page_size=100")["results"]]


class Rows:
    """A pool of IDs, refreshed after some uses and refilled if it is small."""

    def __init__(
        self, read: Callable[[], list[int]], make: Callable[[], Any], *, min_rows: int = 10, max_uses: int = 20
    ) -> None:
        self.read, self.make, self.min_rows, self.max_uses = read, make, min_rows, max_uses
        self.found: list[int] = []
        self.uses = 0

    def one(self) -> int:
        if self.uses % self.max_uses == 0:
            self.found = self.read()
            while len(self.found) < self.min_rows:
                self.make()
                self.found = self.read()
        self.uses += 1
        return RNG.choice(self.found)


class Spare:
    """A spare account with the caller's role; a used-up one is replaced."""

    def __init__(self) -> None:
        self.account: Account | None = None

    def get(self) -> Account:
        if self.account is None:
            self.account = Account(create_user()["username"])
        return self.account

    def use_up(self) -> None:
        self.account = None


def create_user() -> Any:
    name = new_name()
    body = {"username": name, "email": f"{name}@example.com", "role": SETUP["role"], "password": SETUP["password"]}
    return ADMIN.retry_until_ok("POST", "/user/users/", body)


def own_sessions() -> list[int]:
    if not SPARE.get().ask("GET", "/user/me/").ok:  # another case may have ended the session
        SPARE.use_up()
    return SPARE.get().ids("/user/me/sessions/")


def new_session() -> dict[str, int]:
    """Sign in a new user and return the path parameters of the session."""
    user = create_user()
    Account(user["username"]).token()
    (session_id,) = ADMIN.ids(f"/user/users/{user['id']}/sessions/")
    return {"user_id": user["id"], "session_id": session_id}


def new_invitation() -> dict[str, int]:
    """Create an account without a password, and return the path parameters of its invitation."""
    name = new_name()
    body = {"username": name, "email": f"{name}@example.com"}
    return {"user_id": ADMIN.retry_until_ok("POST", "/user/users/", body)["id"]}


def new_name() -> str:
    return f"fuzz-{uuid4().hex[:12]}"


def create_task() -> Any:
    return ADMIN.retry_until_ok(
        "POST", "/task/tasks/", {"title": "Call the landlord", "assigned_to": SETUP["caller"]["id"]}
    )


def users() -> list[int]:
    return [row for row in ADMIN.ids("/user/users/") if row not in SETUP["protected"]]


ADMIN = Account(**SETUP["keeper"])  # no case can change it
CALLER = Account(SETUP["caller"]["username"])
SPARE = Spare()
ROWS = {
    "task_id": Rows(lambda: CALLER.ids("/task/tasks/"), create_task),
    "notification_id": Rows(lambda: CALLER.ids("/task/notifications/"), create_task),
    "session_id": Rows(own_sessions, create_user, min_rows=1, max_uses=1),
    "user_id": Rows(users, create_user),
}
# What an operation needs is created for it, as few rows that exist already would do.
CREATED: dict[str, Callable[[], dict[str, int]]] = {"endUserSession": new_session, "sendInvitation": new_invitation}
NEW_PASSWORD = "nine purple umbrellas"
VALID_VALUES: dict[str, Callable[[], Any]] = {
    "id": ROWS["user_id"].one,
    "assigned_to": lambda: RNG.choice([SETUP["caller"]["id"], SETUP["caller"]["username"]]),
    "username": new_name,
    "email": lambda: f"{new_name()}@example.com",
    "password": lambda: NEW_PASSWORD,
    "current_password": lambda: SETUP["password"],
    "new_password": lambda: NEW_PASSWORD,
    "refresh": lambda: SPARE.get().token("refresh"),
    "token": lambda: SPARE.get().token(),
}
TALLY: defaultdict[str, Counter[int]] = defaultdict(Counter)


@schemathesis.auth(refresh_interval=None)
class Bearer:
    def get(self, case: Any, context: Any) -> str:
        account = SPARE.get() if operation_id(case) in SESSION_ENDING else CALLER
        return account.token()

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Run only a share of the coverage phase, which cannot be limited otherwise."""
    return phase(case) != "coverage" or RNG.random() < SETUP["coverage_share"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Often use IDs of existing rows, but never change the accounts that the run needs."""
    if (
        phase(case) == "coverage" and case.headers.get("If-Match") == "0"
    ):  # schemathesis sends 0 in spite of the pattern
        case.headers["If-Match"] = "*"
    if phase(case) == "examples" or (phase(case) != "stateful" and RNG.random() < EXISTING_SHARE):
        fill_in(case)
    if case.method in ("PUT", "PATCH", "DELETE") and case.path.startswith("/user/users/"):
        avoid_protected(case)


def fill_in(case: Any) -> None:
    if not case.meta.is_negative_at(Place.PATH):
        case.path_parameters |= CREATED.get(operation_id(case), lambda: existing_ids(case))()
    if isinstance(case.body, dict) and not case.meta.is_negative_at(Place.BODY):
        case.body = bulk_body(case.body) if operation_id(case) == "changeTasks" else case.body | body_values(case)
    if "If-Match" in case.headers and not case.meta.is_negative_at(Place.HEADER):
        case.headers["If-Match"] = "*"
    if "cursor" in case.query and not case.meta.is_negative_at(Place.QUERY):
        case.query["cursor"] = cursor(case)


def existing_ids(case: Any) -> dict[str, int]:
    own = {"user_id": SETUP["caller"]["id"]} if SETUP["role"] == "user" else {}
    return {name: own.get(name) or ROWS[name].one() for name in case.path_parameters}


def body_values(case: Any) -> dict[str, Any]:
    """Return body values with which the case may succeed."""
    if operation_id(case) == "signIn":
        return dict(SETUP["example"])
    if operation_id(case) == "confirmPasswordReset" and SETUP["password_tokens"]:
        return {"token": SETUP["password_tokens"].pop(), "new_password": NEW_PASSWORD}
    if operation_id(case) == "confirmEmail":
        return {"token": SETUP["email_tokens"].pop()} if SETUP["email_tokens"] else {}
    return valid_values(case.body)


def bulk_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a consistent bulk change."""
    ids = {"ids": [ROWS["task_id"].one()]}
    values = body.get("set") or {"priority": "high"}
    change = {"set": values | valid_values(values)}
    kind = RNG.choice(["ids", "filter", "delete"])
    if kind == "filter":
        filtered = change | {"filter": body.get("filter") or {"assigned_to": ["me"]}}
        return filtered | with_expected_count(filtered)
    return ids | ({"delete": True} if kind == "delete" else change)


def with_expected_count(body: dict[str, Any]) -> dict[str, int]:
    """Return expected_count for a valid filter."""
    found = CALLER.ask("POST", "/task/tasks/bulk/", body).body
    return {"expected_count": found["actual_count"]} if isinstance(found.get("actual_count"), int) else {}


def valid_values(body: dict[str, Any]) -> dict[str, Any]:
    return {name: VALID_VALUES[name]() for name in VALID_VALUES if body.get(name) is not None}


def cursor(case: Any) -> str:
    """Return the cursor of the second page, if there is one and the caller may read it."""
    answer = CALLER.ask("GET", f"{case.formatted_path}?page_size=1")
    following = answer.body["next"] if answer.ok else None
    return parse_qs(urlsplit(following).query)["cursor"][0] if following else case.query["cursor"]


def avoid_protected(case: Any) -> None:
    if "user_id" in case.path_parameters:
        if str(case.path_parameters["user_id"]) in map(str, SETUP["protected"]):
            case.path_parameters["user_id"] = ROWS["user_id"].one()
    elif isinstance(case.body, dict) and case.body.get("id") in SETUP["protected"]:
        case.body["id"] = ROWS["user_id"].one()


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    TALLY[f"{case.method} {case.path}"][response.status_code] += 1
    by_caller = case.headers.get("Authorization") == f"Bearer {CALLER.token()}"
    if response.status_code == 401 and by_caller and case.operation.definition.raw.get("security"):
        raise RuntimeError("the caller's token is no longer valid, so every further case would be a 401")
    if operation_id(case) in SESSION_ENDING and response.status_code < 300:
        SPARE.use_up()


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Return whether a failure is real."""
    is_refused = isinstance(failure, AcceptedNegativeData) and response.status_code in (412, 413, 414)
    is_kept = isinstance(failure, UseAfterFree) and operation_id(case) in OUTLIVES_DELETION
    no_failure = is_refused or is_kept or has_no_body(failure, case, response)
    return not (no_failure or depends_on_state(failure, response))


def has_no_body(failure: Any, case: Any, response: Any) -> bool:
    """Swagger 2.0 lists media types per operation, but a response without a body has none."""
    described = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    return isinstance(failure, MissingContentType) and not response.content and "schema" not in described


def depends_on_state(failure: Any, response: Any) -> bool:
    if not isinstance(failure, RejectedPositiveData):
        return False
    if response.status_code == 412:
        return True
    problem = response.json()
    errors = [error for error in problem["errors"] if not names_nonexistent_date(error)]
    named = {(error["field"], error["code"]) for error in errors}
    if problem["code"] == "parse_error":  # a member without a type may contain NUL
        return "NUL character" in problem["detail"]
    return problem["code"] == "idempotency_key_reused" or (bool(problem["errors"]) and named <= STATE_DEPENDENT_ERRORS)


def names_nonexistent_date(error: dict[str, str]) -> bool:
    """No pattern can exclude April 31."""
    found = re.search(r"no such date: (\d{4}-\d\d-\d\d)\.", error.get("detail", ""))
    try:
        return found is not None and not date.fromisoformat(found[1])
    except ValueError:
        return True


def phase(case: Any) -> str:
    return str(case.meta.phase.name.value)


def operation_id(case: Any) -> str:
    return str(case.operation.definition.raw["operationId"])


@atexit.register
def write_tally() -> None:
    Path(SETUP["tally"]).write_text(json.dumps(TALLY))
