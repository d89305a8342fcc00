"""Whom scripts/fuzz calls as, and what there is to be met."""

import re
import time
from typing import Any

from stack.console import Refused
from stack.load import Gateway
from stack.state import State

PASSWORD = "correct horse battery"  # as in the examples of the documents
TASKS = 30  # more than a page
SESSIONS = 3
MAILS = 12
MAILED_WITHIN_SECONDS = 60


def make_people(gateway: Gateway, state: State) -> dict[str, dict[str, Any]]:
    """Return what the hooks of schemathesis must know of the people, for each role."""
    callers = {role: account(gateway, f"fuzzing-{role}", role) for role in ("user", "admin")}
    example = account(gateway, "alice", "user")
    for caller in callers.values():
        make_tasks(gateway, caller["id"])
    tokens = mail_tokens(gateway, state)
    common = {
        "keeper": {"username": "admin", "password": gateway.password},
        "password": PASSWORD,
        "example": {"username": "alice", "password": PASSWORD},
        "protected": [gateway.get("/user/me/")["id"], example["id"], *(each["id"] for each in callers.values())],
    }
    half = len(tokens) // 2
    mailed = {"user": tokens[:half], "admin": tokens[half:]}
    return {role: {**common, "caller": caller, "mail_tokens": mailed[role]} for role, caller in callers.items()}


def account(gateway: Gateway, name: str, role: str) -> dict[str, Any]:
    body = {"username": name, "email": f"{name}@example.com", "role": role, "password": PASSWORD}
    return {"id": gateway.post("/user/users/", body)["id"], "username": name}


def make_tasks(gateway: Gateway, assignee: int) -> None:
    """Make tasks with a history, and so notifications of them."""
    for number in range(TASKS):
        task = gateway.post("/task/tasks/", {"title": f"Task {number}", "assigned_to": assignee})
        gateway.attempt("PATCH", f"/task/tasks/{task['id']}/", {"status": "in_progress"})


def mail_tokens(gateway: Gateway, state: State) -> list[str]:
    """Return what invited people have been mailed to choose a password by."""
    for number in range(MAILS):
        gateway.post("/user/users/", {"username": f"invited-{number}", "email": f"invited-{number}@example.com"})
    deadline = time.monotonic() + MAILED_WITHIN_SECONDS
    while len(found := tokens_in(state)) < MAILS:
        if time.monotonic() > deadline:
            raise Refused(f"{len(found)} of {MAILS} mails arrived within {MAILED_WITHIN_SECONDS} s.")
        time.sleep(0.2)
    return found


def tokens_in(state: State) -> list[str]:
    return [token for file in state.mail.glob("*") for token in re.findall(r'"token": "([\w-]+)"', file.read_text())]
