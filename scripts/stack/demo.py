"""Sample data, created through the API: scripts/run --demo, or `demo` in docker-compose.yml."""

import datetime
import secrets
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from chassis.ops import env
from chassis.ops.settings import admin_username
from deploy import secret_files
from stack.console import StackError
from stack.http import call

USERNAMES = ("alice", "bob", "carla", "deniz")
# Title, days until due (or None), priority, status, assignee
TASKS = (
    ("Renew the TLS certificate of the shop", 1, "urgent", "todo", "alice"),
    ("Call the landlord about the heating", -2, "high", "in_progress", "alice"),
    ("Draft the October newsletter", 5, "normal", "todo", "bob"),
    ("Reply to the accountant's questions", -6, "high", "todo", "bob"),
    ("Interview the second support candidate", 2, "normal", "todo", "carla"),
    ("Write down how refunds work", 14, "low", "in_progress", "carla"),
    ("Replace the office router", None, "normal", "completed", "carla"),
    ("Measure why the search page is slow", 7, "high", "in_progress", "deniz"),
    ("Delete the accounts of last year's interns", 0, "urgent", "todo", "deniz"),
    ("Upgrade PostgreSQL on staging", 3, "normal", "todo", "deniz"),
    ("Order chairs for the meeting room", 21, "low", "todo", None),
    ("Find a date for the summer party", None, "low", "todo", None),
)


# In a volume that the services do not mount.
PASSWORD_FILE = Path("/secrets/user-owner/DEMO_PASSWORD")


def main() -> None:
    """Load the data into the stack at the URL in the first argument, and print the users' password."""
    password = secret_files.write_once(PASSWORD_FILE, secrets.token_urlsafe(12))
    try:
        load(sys.argv[1], admin_password=env.text("ADMIN_PASSWORD"), password=password)
    except (StackError, env.SettingError, OSError) as error:
        sys.exit(f"demo: {error}")
    print(password)


def load(url: str, *, admin_password: str, password: str) -> None:
    """Create users with this password and their tasks, unless they exist."""
    admin = {"username": admin_username(), "password": admin_password}
    token = request(f"{url}/token/", admin)["access"]
    accounts = request(f"{url}/user/users/?ordering=id&page_size=100", token=token)["results"]
    if any(account["username"] == USERNAMES[0] for account in accounts):
        return
    ids = {name: create_account(url, name, password, token) for name in USERNAMES}
    today = datetime.datetime.now(datetime.UTC).date()
    for title, days, priority, status, assignee in TASKS:
        due_date = None if days is None else (today + datetime.timedelta(days=days)).isoformat()
        task = {"title": title, "priority": priority, "status": status, "due_date": due_date}
        request(f"{url}/task/tasks/", task | {"assigned_to": ids.get(assignee or "")}, token=token)


def create_account(url: str, name: str, password: str, token: str) -> int:
    """Create the account as an admin, so that its address counts as confirmed and gets mail."""
    body = {"username": name, "email": f"{name}@example.com", "password": password}
    return int(request(f"{url}/user/users/", body, token=token)["id"])


def request(url: str, body: Any = None, *, token: str = "") -> Any:
    status, content = call(url, body, token=token)
    while status == HTTPStatus.TOO_MANY_REQUESTS:  # the user may have set low limits
        print(" waiting for the limits", end="", file=sys.stderr, flush=True)
        time.sleep(5)
        status, content = call(url, body, token=token)
    if status == HTTPStatus.UNAUTHORIZED:
        raise StackError("The sample data needs the admin's password: set ADMIN_PASSWORD.")
    if status >= HTTPStatus.BAD_REQUEST:
        raise StackError(f"{url} refused the sample data: {content['detail']}")
    return content


if __name__ == "__main__":
    main()
