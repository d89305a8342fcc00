"""Whom scripts/fuzz calls as, and what there is to be met."""

import re
import time
from typing import Any

import requests

from stack.console import StackError
from stack.state import State
from tests.lab.gateway import Gateway

PASSWORD = "correct horse battery"  # as in the examples of the documents
TASKS = 30  # more than a page
MAILS = 12
MAILED_WITHIN_SECONDS = 60


def make_people(gateway: Gateway, state: State) -> dict[str, dict[str, Any]]:
    """Return what the hooks of schemathesis must know of the people, for each role."""
    callers = {role: account(gateway, f"fuzzing-{role}", role) for role in ("user", "admin")}
    example = account(gateway, "alice", "user")
    for caller in callers.values():
        make_tasks(gateway, caller["id"])
    mailed = mailed_tokens(gateway, state)
    for caller in callers.values():
        ask_for_another_address(gateway, caller["username"])
    common = {
        "keeper": {"username": "admin", "password": gateway.password},
        "password": PASSWORD,
        "example": {"username": "alice", "password": PASSWORD},
        "protected": [gateway.get("/user/me/")["id"], example["id"], *(each["id"] for each in callers.values())],
    }
    return {role: {**common, **mailed[role], "caller": caller} for role, caller in callers.items()}


def account(gateway: Gateway, name: str, role: str) -> dict[str, Any]:
    body = {"username": name, "email": f"{name}@example.com", "role": role, "password": PASSWORD}
    return {"id": gateway.post("/user/users/", body)["id"], "username": name}


def ask_for_another_address(gateway: Gateway, username: str) -> None:
    """Leave an address to be confirmed, so that another mail about it can be asked for."""
    credentials = {"username": username, "password": PASSWORD}
    access = requests.post(f"{gateway.url}/token/", json=credentials, timeout=30).json()["access"]
    wanted = {"email": f"{username}@elsewhere.example.com", "current_password": PASSWORD}
    headers = {"Authorization": f"Bearer {access}"}
    requests.patch(f"{gateway.url}/user/me/", json=wanted, headers=headers, timeout=30).raise_for_status()


def make_tasks(gateway: Gateway, assignee: int) -> None:
    """Make tasks with a history, and so notifications of them."""
    for number in range(TASKS):
        task = gateway.post("/task/tasks/", {"title": f"Task {number}", "assigned_to": assignee})
        gateway.attempt("PATCH", f"/task/tasks/{task['id']}/", {"status": "in_progress"})


def mailed_tokens(gateway: Gateway, state: State) -> dict[str, dict[str, list[str]]]:
    """Return, for each role, what new people have been mailed to choose a password and to confirm an address by."""
    for number in range(MAILS):
        gateway.post("/user/users/", {"username": f"invited-{number}", "email": f"invited-{number}@example.com"})
        newcomer = {"username": f"newcomer-{number}", "email": f"newcomer-{number}@example.com", "password": PASSWORD}
        requests.post(f"{gateway.url}/user/register/", json=newcomer, timeout=30).raise_for_status()
    return {
        role: {
            "password_tokens": tokens_in(state, "password-reset/confirm")[half::2],
            "email_tokens": tokens_in(state, "email/confirm")[half::2],
        }
        for half, role in enumerate(("user", "admin"))
    }


def tokens_in(state: State, path: str) -> list[str]:
    """Wait for all mails that tell to call a path, and return their tokens."""
    pattern = re.compile(rf'/user/{path}/\s+{{"token": "([\w-]+)"')
    deadline = time.monotonic() + MAILED_WITHIN_SECONDS
    while len(found := [token for file in state.mail.glob("*") for token in pattern.findall(file.read_text())]) < MAILS:
        if time.monotonic() > deadline:
            raise StackError(f"{len(found)} of {MAILS} mails for {path} arrived within {MAILED_WITHIN_SECONDS} s.")
        time.sleep(0.2)
    return found
