"""The accounts of scripts/fuzz and their data."""

import re
from pathlib import Path
from typing import Any

from stack.console import wait_until
from tests.lab.client import Client

PASSWORD = "correct horse battery"  # as in the documents' examples
TASKS = 30  # more than a page
MAILS = 12
MAILED_WITHIN_SECONDS = 60


def create_users(admin: Client, mail: Path) -> dict[str, dict[str, Any]]:
    """Create the users; return the setup of the schemathesis hooks for each role."""
    callers = {role: account(admin, f"fuzzing-{role}", role) for role in ("user", "admin")}
    example = account(admin, "alice", "user")
    for caller in callers.values():
        create_tasks(admin, caller["id"])
    mailed = mailed_tokens(admin, mail)
    for caller in callers.values():
        request_another_address(admin, caller["username"])
    own_id = admin.retry_until_ok("GET", "/user/me/")["id"]
    common = {
        "keeper": admin.credentials,
        "password": PASSWORD,
        "example": {"username": "alice", "password": PASSWORD},
        "protected": [own_id, example["id"], *(each["id"] for each in callers.values())],
    }
    return {role: {**common, **mailed[role], "caller": caller} for role, caller in callers.items()}


def account(admin: Client, name: str, role: str) -> dict[str, Any]:
    body = {"username": name, "email": f"{name}@example.com", "role": role, "password": PASSWORD}
    return {"id": admin.retry_until_ok("POST", "/user/users/", body)["id"], "username": name}


def request_another_address(admin: Client, username: str) -> None:
    """Leave an address unconfirmed, so that another confirmation can be requested."""
    user = Client(admin.port, username=username, password=PASSWORD, name=username)
    user.sign_in()
    wanted = {"email": f"{username}@elsewhere.example.com", "current_password": PASSWORD}
    user.retry_until_ok("PATCH", "/user/me/", wanted)


def create_tasks(admin: Client, assignee: int) -> None:
    """Create tasks with history and notifications."""
    for number in range(TASKS):
        task = admin.retry_until_ok("POST", "/task/tasks/", {"title": f"Task {number}", "assigned_to": assignee})
        admin.retry_until_ok("PATCH", f"/task/tasks/{task['id']}/", {"status": "in_progress"})


def mailed_tokens(admin: Client, mail: Path) -> dict[str, dict[str, list[str]]]:
    """Return, for each role, mailed tokens for choosing a password and confirming an address."""
    stranger = Client(admin.port, password=PASSWORD, name="stranger")
    for number in range(MAILS):
        admin.retry_until_ok(
            "POST", "/user/users/", {"username": f"invited-{number}", "email": f"invited-{number}@example.com"}
        )
        newcomer = {"username": f"newcomer-{number}", "email": f"newcomer-{number}@example.com", "password": PASSWORD}
        stranger.retry_until_ok("POST", "/user/register/", newcomer)
    passwords, emails = (tokens_in(mail, path) for path in ("password-reset/confirm", "email/confirm"))
    return {
        role: {"password_tokens": passwords[half::2], "email_tokens": emails[half::2]}
        for half, role in enumerate(("user", "admin"))
    }


def tokens_in(mail: Path, path: str) -> list[str]:
    """Wait for all mails about a path and return their tokens."""
    pattern = re.compile(rf'/user/{path}/\s+{{"token": "([\w-]+)"')

    def all_tokens() -> list[str]:
        found = [token for file in mail.glob("*") for token in pattern.findall(file.read_text())]
        return found if len(found) >= MAILS else []

    message = f"Not all {MAILS} mails for {path} arrived within {MAILED_WITHIN_SECONDS} s."
    return wait_until(all_tokens, seconds=MAILED_WITHIN_SECONDS, message=message)
