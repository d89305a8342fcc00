"""The hooks of schemathesis: accounts to call as, existing rows to name, and findings that are no faults.

Runs in an environment of its own, requirements/fuzz.txt: what it imports of ours needs the standard library alone.
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

# None of them is installed where the types are checked.
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
CHANCE = random.Random(SETUP["seed"])
OFTEN = 0.7  # the share of cases that name existing rows in place of generated ones
TOKEN_SECONDS = 120  # it is good for five minutes
# These end the caller's session or change its password, so a spare account does them.
ENDS_THE_CALLER = {
    *("changeOwnAccount", "changeOwnPassword", "endOwnSession"),
    *("refreshTokens", "signOut", "signOutEverywhere"),
}
# Refusals of well-formed requests: no schema can say what is stored.
OF_WHAT_IS_STORED = {
    *((field, code) for field in ("assigned_to", "set.assigned_to") for code in ("unknown_user", "inactive_user")),
    # An integer or a string, and this or that member: Swagger 2.0 has no words for either.
    *((f"{inside}{field}", "invalid") for inside in ("", "set.", "filter.") for field in ("assigned_to", "created_by")),
    *((field, "required") for field in ("ids", "set")),
    *((field, "contradictory") for field in ("filter", "delete", "expected_count")),
    ("ids", "unknown_task"),
    ("expected_count", "required"),
    ("filter", "too_many"),
    ("cursor", "invalid"),
    ("current_password", "wrong_password"),
    ("current_password", "required"),  # only where the username or email changes
    *((field, "use_own_account") for field in ("username", "email")),
    ("token", "token_invalid"),
    ("password", "invalid"),  # too easily guessed
    ("new_password", "invalid"),
    ("username", "reserved"),
    ("title", "blank"),  # nothing in it shows
    ("set.title", "blank"),
    # Allowed or not by what stands before it.
    *((field, "hidden") for field in ("title", "description", "set.title", "set.description")),
}
# A list of sessions stays when it is emptied, and the history of a task when that is deleted.
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
        return [row["id"] for row in self.insist("GET", f"{path}?page_size=100")["results"]]


class Rows:
    """Ids to choose from, read again after some uses. Where there are few, more are made."""

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
        return CHANCE.choice(self.found)


class Spare:
    """An account of the same role as the caller's, until it is used up; then another."""

    def __init__(self) -> None:
        self.account: Account | None = None

    def get(self) -> Account:
        if self.account is None:
            self.account = Account(make_user()["username"])
        return self.account

    def use_up(self) -> None:
        self.account = None


def make_user() -> Any:
    name = new_name()
    body = {"username": name, "email": f"{name}@example.com", "role": SETUP["role"], "password": SETUP["password"]}
    return KEEPER.insist("POST", "/user/users/", body)


def own_sessions() -> list[int]:
    if not SPARE.get().ask("GET", "/user/me/").ok:  # another case may have ended the session
        SPARE.use_up()
    return SPARE.get().ids("/user/me/sessions/")


def new_session() -> dict[str, int]:
    """Sign a new user in, and return the path parameters of the session."""
    user = make_user()
    Account(user["username"]).token()
    (session_id,) = KEEPER.ids(f"/user/users/{user['id']}/sessions/")
    return {"user_id": user["id"], "session_id": session_id}


def new_name() -> str:
    return f"fuzz-{uuid4().hex[:12]}"


def make_task() -> Any:
    return KEEPER.insist("POST", "/task/tasks/", {"title": "Call the landlord", "assigned_to": SETUP["caller"]["id"]})


def users() -> list[int]:
    return [row for row in KEEPER.ids("/user/users/") if row not in SETUP["protected"]]


KEEPER = Account(**SETUP["keeper"])  # an admin whom no case can touch
CALLER = Account(SETUP["caller"]["username"])
SPARE = Spare()
ROWS = {
    "task_id": Rows(lambda: CALLER.ids("/task/tasks/"), make_task),
    "notification_id": Rows(lambda: CALLER.ids("/task/notifications/"), make_task),
    "session_id": Rows(own_sessions, make_user, min_rows=1, max_uses=1),
    "user_id": Rows(users, make_user),
}
NEW_PASSWORD = "nine purple umbrellas"
GOOD: dict[str, Callable[[], Any]] = {
    "id": ROWS["user_id"].one,
    "assigned_to": lambda: CHANCE.choice([SETUP["caller"]["id"], SETUP["caller"]["username"]]),
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
        account = SPARE.get() if operation_id(case) in ENDS_THE_CALLER else CALLER
        return account.token()

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Take a share of the coverage phase, which has no limit of its own."""
    return phase(case) != "coverage" or CHANCE.random() < SETUP["of_coverage"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Often let a case name existing rows, and never the accounts that the run needs."""
    if (
        phase(case) == "coverage" and case.headers.get("If-Match") == "0"
    ):  # its sample of any header, against the pattern
        case.headers["If-Match"] = "*"
    if phase(case) == "examples" or (phase(case) != "stateful" and CHANCE.random() < OFTEN):
        fill_in(case)
    if case.method in ("PUT", "PATCH", "DELETE") and case.path.startswith("/user/users/"):
        spare_protected(case)


def fill_in(case: Any) -> None:
    if not case.meta.is_negative_at(Place.PATH):
        case.path_parameters |= new_session() if operation_id(case) == "endUserSession" else existing(case)
    if isinstance(case.body, dict) and not case.meta.is_negative_at(Place.BODY):
        case.body = bulk_body(case.body) if operation_id(case) == "changeTasks" else case.body | values_of(case)
    if "If-Match" in case.headers and not case.meta.is_negative_at(Place.HEADER):
        case.headers["If-Match"] = "*"
    if "cursor" in case.query and not case.meta.is_negative_at(Place.QUERY):
        case.query["cursor"] = cursor(case)


def existing(case: Any) -> dict[str, int]:
    own = {"user_id": SETUP["caller"]["id"]} if SETUP["role"] == "user" else {}
    return {name: own.get(name) or ROWS[name].one() for name in case.path_parameters}


def values_of(case: Any) -> dict[str, Any]:
    """Return values of the body's fields with which the case may succeed."""
    if operation_id(case) == "signIn":
        return dict(SETUP["example"])
    if operation_id(case) == "confirmPasswordReset" and SETUP["password_tokens"]:
        return {"token": SETUP["password_tokens"].pop(), "new_password": NEW_PASSWORD}
    if operation_id(case) == "confirmEmail":
        return {"token": SETUP["email_tokens"].pop()} if SETUP["email_tokens"] else {}
    return good(case.body)


def bulk_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a bulk change whose members belong together."""
    ids = {"ids": [ROWS["task_id"].one()]}
    values = body.get("set") or {"priority": "high"}
    change = {"set": values | good(values)}
    kind = CHANCE.choice(["ids", "filter", "delete"])
    if kind == "filter":
        filtered = change | {"filter": body.get("filter") or {"assigned_to": ["me"]}}
        return filtered | count_of(filtered)
    return ids | ({"delete": True} if kind == "delete" else change)


def count_of(body: dict[str, Any]) -> dict[str, int]:
    """Ask how many tasks a filter matches, if it is one."""
    found = CALLER.ask("POST", "/task/tasks/bulk/", body).body
    return {"expected_count": found["actual_count"]} if isinstance(found.get("actual_count"), int) else {}


def good(body: dict[str, Any]) -> dict[str, Any]:
    return {name: GOOD[name]() for name in GOOD if body.get(name) is not None}


def cursor(case: Any) -> str:
    """Return the cursor of the second page, if the caller may see the list and it has one."""
    answer = CALLER.ask("GET", f"{case.formatted_path}?page_size=1")
    following = answer.body["next"] if answer.ok else None
    return parse_qs(urlsplit(following).query)["cursor"][0] if following else case.query["cursor"]


def spare_protected(case: Any) -> None:
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
    if operation_id(case) in ENDS_THE_CALLER and response.status_code < 300:
        SPARE.use_up()


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Keep a failure unless its expectation is wrong here."""
    is_refused = isinstance(failure, AcceptedNegativeData) and response.status_code in (412, 413, 414)
    is_kept = isinstance(failure, UseAfterFree) and operation_id(case) in OUTLIVES_DELETION
    no_failure = is_refused or is_kept or has_no_body(failure, case, response)
    return not (no_failure or depends_on_what_is_stored(failure, response))


def has_no_body(failure: Any, case: Any, response: Any) -> bool:
    """Swagger 2.0 names media types for all answers of an operation; one without a body has none."""
    described = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    return isinstance(failure, MissingContentType) and not response.content and "schema" not in described


def depends_on_what_is_stored(failure: Any, response: Any) -> bool:
    if not isinstance(failure, RejectedPositiveData):
        return False
    if response.status_code == 412:
        return True
    problem = response.json()
    errors = [error for error in problem["errors"] if not names_no_day(error)]
    named = {(error["field"], error["code"]) for error in errors}
    if problem["code"] == "parse_error":  # a member without a type, which no pattern can keep from having a NUL
        return "NUL character" in problem["detail"]
    return problem["code"] == "idempotency_key_reused" or (bool(problem["errors"]) and named <= OF_WHAT_IS_STORED)


def names_no_day(error: dict[str, str]) -> bool:
    """No pattern can exclude a 31st of April."""
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
