"""Uses the generated clients as a third-party program would; test_generated_client.py runs each story."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.message import Message
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import task_client
import user_client
from task_client.api.history import list_activity
from task_client.api.tasks import (
    change_task,
    create_task,
    export_tasks,
    list_tasks,
    read_task,
    summarize_tasks,
)
from task_client.models import (
    ListTasksOrdering,
    ListTasksStatusItem,
    NewTask,
    NewTaskPriority,
    Problem,
    StaleProblem,
    Task,
    TaskPage,
    TaskPatch,
    TaskPatchStatus,
    TaskPriority,
    TaskStatus,
)
from user_client.api.accounts import list_users
from user_client.api.own_account import read_own_account
from user_client.api.sign_up_and_sign_in import register, sign_in
from user_client.models import Credentials, OwnAccount, Registration, Tokens, User, UserRole

PASSWORD = "correct horse battery staple"
LATE, DUE = date(2020, 2, 29), date(2090, 12, 1)


@dataclass
class SignedInUser:
    """A user with clients for both services."""

    id: int
    tokens: Tokens
    accounts: user_client.AuthenticatedClient
    tasks: task_client.AuthenticatedClient


class Api:
    def __init__(self, url, admin_password):
        self.url = url
        self.accounts = user_client.Client(url)
        self.tasks = task_client.Client(url)
        self.admin = self.sign_in("admin", admin_password)

    def sign_in(self, username, password=PASSWORD):
        tokens = sign_in.sync(client=self.accounts, body=Credentials(username, password))
        assert isinstance(tokens, Tokens), tokens
        accounts, tasks = (of.AuthenticatedClient(self.url, token=tokens.access) for of in (user_client, task_client))
        return SignedInUser(read_own_account.sync(client=accounts).id, tokens, accounts, tasks)

    def new_user(self):
        username = f"u{uuid4().hex[:12]}"
        made = register.sync(client=self.accounts, body=Registration(username, f"{username}@example.com", PASSWORD))
        assert isinstance(made, User), made
        return self.sign_in(username)

    def add_task(self, title="Call the landlord", **fields):
        task = create_task.sync(client=self.admin.tasks, body=NewTask(title, **fields))
        assert isinstance(task, Task), task
        return task


def it_signs_up_and_in(service):
    before = datetime.now(UTC)

    alice = service.new_user()
    account = read_own_account.sync_detailed(client=alice.accounts)

    assert (account.status_code, type(account.parsed)) == (200, OwnAccount)
    assert (account.parsed.role, account.parsed.is_active) == ("user", True)
    assert 0 <= (account.parsed.date_joined - before).total_seconds() < 60
    found = list_users.sync(client=service.admin.accounts, search=account.parsed.username, page_size=1)
    assert [(user.id, user.role) for user in found.results] == [(alice.id, UserRole.USER)]


def it_creates_and_reads_a_task(service):
    alice = service.new_user()

    made = create_task.sync_detailed(
        client=service.admin.tasks,
        body=NewTask("Call", priority=NewTaskPriority.HIGH, due_date=LATE, assigned_to=alice.id),
    )
    read = read_task.sync(made.parsed.id, client=alice.tasks)

    assert (made.status_code, made.headers["Location"]) == (201, f"/task/tasks/{made.parsed.id}/")
    assert read == made.parsed
    assert (read.status, read.priority) == (TaskStatus.TODO, TaskPriority.HIGH)
    assert type(read.status) is TaskStatus
    assert (type(read.due_date), read.due_date, read.is_overdue) == (date, LATE, True)
    assert (read.assignee.id, read.created_by, read.completed_at) == (alice.id, service.admin.id, None)
    assert (type(read.created_at), read.created_at.tzinfo) == (datetime, UTC)
    assert (read.additional_properties, made.parsed.version) == ({}, 1)


def it_filters_and_sorts(service):
    alice = service.new_user()
    for due_date in (DUE, LATE, None):
        service.add_task(f"Due {due_date}", due_date=due_date, assigned_to=alice.id)
    done = service.add_task("Done", assigned_to=alice.id)
    completed = change_task.sync(done.id, client=service.admin.tasks, body=TaskPatch(status=TaskPatchStatus.COMPLETED))

    def found(**filters):
        page = list_tasks.sync(client=alice.tasks, **filters)
        assert isinstance(page, TaskPage), page
        return [task.title for task in page.results]

    open_states = [ListTasksStatusItem.TODO, ListTasksStatusItem.IN_PROGRESS]
    by_due_date = ListTasksOrdering("-due_date")
    assert found(status=open_states, ordering=by_due_date) == [f"Due {DUE}", f"Due {LATE}", "Due None"]
    assert found(status=[ListTasksStatusItem.COMPLETED]) == ["Done"]
    assert found(due_date_after=date(2090, 1, 1), due_date_before=DUE) == [f"Due {DUE}"]
    assert found(overdue=True, assigned_to="me") == found(due_date=LATE) == [f"Due {LATE}"]
    assert found(search='"done"') == ["Done"]
    assert (completed.status, completed.completed_at.tzinfo) == (TaskStatus.COMPLETED, UTC)
    counts = summarize_tasks.sync(client=alice.tasks)
    assert (counts.total, counts.by_status.todo, counts.by_status.completed, counts.overdue) == (4, 3, 1, 1)


def it_follows_the_pages(service):
    alice = service.new_user()
    made = [service.add_task(f"No. {number}", assigned_to=alice.id).id for number in range(5)]

    ids, cursor = [], {}
    while True:
        page = list_tasks.sync(client=alice.tasks, page_size=2, ordering=ListTasksOrdering.ID, **cursor)
        ids += [task.id for task in page.results]
        assert len(page.results) == 2 or page.next_ is None
        if page.next_ is None:
            break
        cursor = {"cursor": parse_qs(urlsplit(page.next_).query)["cursor"][0]}

    assert ids == made


def it_changes_a_task_with_its_etag(service):
    task = service.add_task("Before", due_date=DUE)
    tag = read_task.sync_detailed(task.id, client=service.admin.tasks).headers["ETag"]

    changed, stale = (
        change_task.sync_detailed(
            task.id, client=service.admin.tasks, body=TaskPatch(title=title, due_date=None), if_match=tag
        )
        for title in ("After", "Too late")
    )

    assert (changed.status_code, changed.parsed.title, changed.parsed.due_date) == (200, "After", None)
    assert (changed.parsed.version, changed.parsed.description) == (2, "")
    assert (stale.status_code, type(stale.parsed)) == (412, StaleProblem)
    assert sorted(stale.parsed.changed_fields) == ["due_date", "title"]
    history = list_activity.sync(task.id, client=service.admin.tasks)
    assert {row.field for row in history.results} >= {"title", "due_date"}


def it_reads_problems(service):
    alice, task = service.new_user(), service.add_task()
    unnamed = create_task.sync_detailed(client=service.admin.tasks, body=NewTask(""), x_request_id="from-a-test")
    problems = {
        401: list_tasks.sync(client=task_client.AuthenticatedClient(service.url, token="none")),
        403: create_task.sync(client=alice.tasks, body=NewTask("Mine")),
        404: read_task.sync(task.id, client=alice.tasks),
        413: create_task.sync(client=service.admin.tasks, body=NewTask("Long", description="x" * 1_100_000)),
    }

    assert (unnamed.status_code, unnamed.headers["X-Request-ID"]) == (400, "from-a-test")
    assert [(error.field, type(error.code)) for error in unnamed.parsed.errors] == [("title", str)]
    assert (unnamed.parsed.request_id, unnamed.parsed.instance) == ("from-a-test", "/task/tasks/")
    for status, problem in problems.items():
        assert (type(problem), problem.status, problem.type_) == (Problem, status, "about:blank"), problem


def it_exports(service):
    alice = service.new_user()
    task = service.add_task("On paper", assigned_to=alice.id)

    export = export_tasks.sync_detailed(client=alice.tasks)
    refused = export_tasks.sync(client=alice.tasks, search="x" * 201)

    disposition = Message()
    disposition["Content-Disposition"] = export.headers["Content-Disposition"]
    assert disposition.get_filename().endswith(".csv")
    header, row = export.parsed.payload.read().decode("utf-8-sig").splitlines()
    assert (header.split(",")[:2], row.split(",")[:2]) == (["id", "title"], [str(task.id), "On paper"])
    assert (type(refused), refused.status) == (Problem, 400)


if __name__ == "__main__":
    story, url = sys.argv[1:]
    globals()[story](Api(url, json.load(sys.stdin)["admin_password"]))
