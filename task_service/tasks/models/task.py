"""The task and its queryset: constraints, the state transition, and all ways to find and change tasks."""

from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Self

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.search import SearchVectorField
from django.db import models, transaction
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import JSONObject, Length
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone

from chassis.api.fields import MAX_DATE, MIN_DATE
from chassis.auth import audit
from chassis.auth.tokens import Caller
from directory import accounts
from directory.models import User
from tasks import search
from tasks.models import statements
from tasks.models.activity import Activity, creation_history, deletion_entry, diff
from tasks.models.days import due_soon_range, midnight
from tasks.models.indexes import TASK_INDEXES
from tasks.search.conditions import NOT_INDEXED, conditions_of, matches, matches_unindexed, unindexed_text
from tasks.signals import FieldChange, tasks_changed, tasks_deleted

DERIVED = ("version", "updated_at", "completed_at")  # by Task.apply
SEARCH_COLUMNS = ("search_document", "search_rules")
ANNOUNCED = ("status", "assigned_to")
MAX_DESCRIPTION_LENGTH = 50_000  # characters; the text index can hold any text of this length
MAX_INDEXED_AT_ONCE = 500_000  # characters of changed tasks; the worker indexes longer changes


class StaleVersion(Exception):
    """The task has changed since the version that the caller expects, in these fields."""

    def __init__(self, changed_fields: list[str]) -> None:
        super().__init__(changed_fields)
        self.changed_fields = changed_fields


class UnexpectedCount(Exception):
    """More or fewer tasks match than the caller expects."""


def visible_values(person: Caller | User) -> dict[str, int]:
    """Return the values that a task must have for this person to see it: the one rule of visibility."""
    return {} if person.is_admin else {"assigned_to_id": person.id}


class TaskQuerySet(models.QuerySet["Task"]):
    ranks: list[Self]  # set by matching()

    def visible_to(self, person: Caller | User) -> Self:
        return self.filter(**visible_values(person))

    def with_assignee(self) -> Self:
        """Annotate `assignee_name`."""
        names = User.objects.filter(pk=OuterRef("assigned_to")).values("username")  # a join would be an inner join
        return self.annotate(assignee_name=Subquery(names))

    def with_accounts(self, actor_id: Any = None) -> Self:
        """Annotate `assignee_name`, `actor_name` and `accounts`: id and role of assignee and creator, if active."""
        involved = Q(pk=OuterRef("assigned_to")) | Q(pk=OuterRef("created_by"))
        accounts = User.objects.filter(involved, is_active=True).values(account=JSONObject(id="id", role="role"))
        actor = Subquery(User.objects.filter(pk=actor_id or 0).values("username"), output_field=models.TextField())
        return self.with_assignee().annotate(accounts=ArraySubquery(accounts), actor_name=actor)

    def open(self) -> Self:
        # Not exclude(): PostgreSQL reads an index for equal values only.
        return self.filter(status__in=[status for status in Task.Status if status != Task.Status.COMPLETED])

    def completed(self) -> Self:
        return self.filter(status=Task.Status.COMPLETED)

    def overdue(self) -> Self:
        return self.open().filter(due_date__lt=timezone.localdate())

    def not_overdue(self) -> Self:
        return self.filter(Q(status=Task.Status.COMPLETED) | Q(due_date=None) | Q(due_date__gte=timezone.localdate()))

    def due_soon(self) -> Self:
        return self.open().filter(due_date__range=due_soon_range())

    def not_due_soon(self) -> Self:
        first, last = due_soon_range()
        return self.filter(
            Q(status=Task.Status.COMPLETED) | Q(due_date=None) | Q(due_date__lt=first) | Q(due_date__gt=last)
        )

    def completed_from(self, day: date) -> Self:
        return self.completed().filter(completed_at__gte=midnight(day))

    def completed_until(self, day: date) -> Self:
        """Keep tasks completed on that day or earlier."""
        return self.completed().filter(completed_at__lt=midnight(day + timedelta(days=1)))

    def with_user(self, column: str, ids: Collection[int], *, or_nobody: bool) -> Self:
        """Keep tasks whose `column` is one of these users or, with `or_nobody`, null."""
        nobody = Q(**{f"{column}__isnull": True})
        if or_nobody and not ids:
            return self.filter(nobody)
        # With a single value an index can sort. No account has the id 0.
        users = Q(**{f"{column}__in": ids}) if len(ids) > 1 else Q(**{column: next(iter(ids), 0)})
        return self.filter(users | nobody if or_nobody else users)

    def unassigned(self) -> Self:
        return self.filter(assigned_to=None)

    def matching(self, text: str, *, among_all: bool) -> Self:
        """Keep tasks that match a search. `ranks` of the result are disjoint parts of it, best first.

        `among_all` tells whether the queryset may have tasks of many assignees, and changes only how they are found.
        """
        query = search.parse(text, among_all=among_all)
        unindexed = unindexed_text(text)
        matching = self.filter(matches(query.anywhere) | matches_unindexed(unindexed))
        matching.ranks = [self.filter(condition) for condition in conditions_of(query.ranks, unindexed)]
        return matching

    def not_indexed(self) -> Self:
        return self.filter(NOT_INDEXED)

    def existed(self, task_id: int) -> bool:
        """Return whether there is or was a task with this id: the history of a deleted task remains."""
        history = Activity.objects.filter(task=task_id).values("task")
        return self.filter(pk=task_id).values("pk").union(history, all=True).exists()

    def create_task(self, *, by: Caller, **values: Any) -> "Task":
        """Create a task, or raise accounts.UnknownUser if its assignee has just been deleted."""
        with transaction.atomic():
            assignee = accounts.lock_user(values.get("assigned_to_id"))
            task: Task = self.model(created_by=by.id, **values)
            task.actor_name, task.accounts = by.username, [{"id": by.id, "role": by.role}]
            task.add_assignee(assignee)
            task.derive_new()
            history = list(creation_history(task))
            statements.insert(task, history)
            announce(history, by.id)
        return task

    def change(
        self,
        *,
        by_id: int | None,
        reason: str = "",
        versions: Collection[int] | None = None,
        expected_count: int | None = None,
        **values: Any,
    ) -> list["Task"]:
        """Set these values on every task of the queryset and return all of them in the order of their ids.

        A task that already has the values stays unchanged. Raises StaleVersion if a task is at none of `versions`,
        UnexpectedCount if there are not `expected_count` tasks, and accounts.UnknownUser if the new assignee has just
        been deleted.
        """
        with transaction.atomic():
            assignee = accounts.lock_user(values.get("assigned_to_id"))
            tasks = self.lock(by_id, expected_count)
            for task in tasks:
                task.check_version(versions)
            store_changes(tasks, values, assignee, by_id=by_id, reason=reason)
            return tasks

    def lock(self, by_id: int | None, expected_count: int | None = None) -> list["Task"]:
        """Lock all tasks in the order of their ids and return them with their accounts, or raise UnexpectedCount."""
        locked = self.with_accounts(by_id).order_by("pk").select_for_update(of=("self",))
        tasks: list[Task] = list(locked if expected_count is None else locked[: expected_count + 1])
        if expected_count not in (None, len(tasks)):
            raise UnexpectedCount()
        return tasks

    def remove(self, *, by_id: int | None, versions: Collection[int] | None = None) -> list["Task"]:
        """Delete every task of the queryset, but not its history, and return all of them in the order of their ids.

        Raises StaleVersion if a task is at none of `versions`.
        """
        with transaction.atomic():
            tasks = self.lock(by_id)
            for task in tasks:
                task.check_version(versions)
            now = timezone.now()
            Activity.objects.bulk_create([deletion_entry(task, by_id=by_id, at=now) for task in tasks])
            if tasks:
                tasks_deleted.send(TaskQuerySet, tasks=tasks, by_id=by_id)
            self.model.objects.filter(pk__in=[task.pk for task in tasks]).delete()
            for task in tasks:
                transaction.on_commit(
                    partial(audit.write, "sensitive_delete", actor=by_id, subject=task.pk, object="task")
                )
            return tasks


class TaskManager(models.Manager.from_queryset(TaskQuerySet)):  # type: ignore[misc]  # a class made at run time
    def get_queryset(self) -> TaskQuerySet:
        tasks: TaskQuerySet = super().get_queryset().defer("search_document")  # it is as large as the text
        return tasks


class Task(models.Model):
    class Status(models.TextChoices):
        TODO = "todo", "To Do"
        IN_PROGRESS = "in_progress", "In Progress"
        COMPLETED = "completed", "Completed"

    class Priority(models.IntegerChoices):
        """Stored by rank, so that it sorts; the API uses the labels."""

        LOW = 1, "low"
        NORMAL = 2, "normal"
        HIGH = 3, "high"
        URGENT = 4, "urgent"

    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    status = models.CharField(max_length=11, choices=Status, default=Status.TODO)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    due_date = models.DateField(null=True, blank=True)
    # No constraint: accounts belong to the other service. The directory keeps deleted accounts.
    assigned_to = models.ForeignKey(
        User,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="assigned_to",
        related_name="+",
    )
    created_by = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)
    completed_at = models.DateTimeField(null=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    # The search index of the task and the version of its rules. A trigger clears both if the previous version
    # changes the text; the worker then sets them again.
    search_document = SearchVectorField(null=True, editable=False)
    search_rules = models.PositiveSmallIntegerField(null=True, editable=False)
    assignee_name: str | None  # set by TaskQuerySet.with_assignee()
    accounts: list[dict[str, Any]]  # set by TaskQuerySet.with_accounts()
    actor_name: str | None  # likewise
    title_before: str  # of a changed task: the last title that a former assignee has seen

    objects: ClassVar[Any] = TaskManager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(title=""), name="title_is_not_empty"),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("description"), MAX_DESCRIPTION_LENGTH),
                name="description_is_not_too_long",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["todo", "in_progress", "completed"]), name="status_is_known"
            ),
            models.CheckConstraint(condition=Q(priority__range=(1, 4)), name="priority_is_known"),
            models.CheckConstraint(
                condition=Q(assigned_to__isnull=True) | Q(assigned_to__gt=0), name="assigned_to_is_an_id"
            ),
            models.CheckConstraint(condition=Q(created_by__gt=0), name="created_by_is_an_id"),
            models.CheckConstraint(condition=Q(version__gt=0), name="version_counts_from_one"),
            models.CheckConstraint(
                condition=Q(due_date__isnull=True) | Q(due_date__range=(MIN_DATE, MAX_DATE)),
                name="due_date_is_in_this_century",
            ),
            models.CheckConstraint(
                condition=Q(status="completed", completed_at__isnull=False)
                | (~Q(status="completed") & Q(completed_at__isnull=True)),
                name="completed_at_goes_with_completed",
            ),
        ]
        indexes = TASK_INDEXES

    def __str__(self) -> str:
        return f"task {self.pk}"

    @property
    def is_overdue(self) -> bool:
        return self.is_open and self.due_date is not None and self.due_date < timezone.localdate()

    @property
    def is_due_soon(self) -> bool:
        first, last = due_soon_range()
        return self.is_open and self.due_date is not None and first <= self.due_date <= last

    @property
    def is_open(self) -> bool:
        return self.status != Task.Status.COMPLETED

    def is_visible_to(self, person: Caller | User) -> bool:
        return all(getattr(self, name) == value for name, value in visible_values(person).items())

    @property
    def viewers_involved(self) -> set[int]:
        """The ids of assignee and creator, if they are active and can see the task now."""
        accounts = (User(**account) for account in self.accounts)
        return {
            user.pk
            for user in accounts
            if user.pk in (self.assigned_to_id, self.created_by) and self.is_visible_to(user)
        }

    def account_is_active(self, user_id: int) -> bool:
        """Return whether this current or former assignee, or the creator, has an active account."""
        return any(account["id"] == user_id for account in self.accounts)

    def add_assignee(self, assignee: User | None) -> None:
        """Update the annotations of with_accounts() for a new assignee."""
        self.assignee_name = assignee.username if assignee else None
        if assignee is not None and assignee.is_active:
            self.accounts.append({"id": assignee.pk, "role": assignee.role})

    def check_version(self, versions: Collection[int] | None) -> None:
        """Raise StaleVersion if the task is at none of these versions; None allows any."""
        if versions is None or self.version in versions:
            return
        since = max((version for version in versions if version < self.version), default=self.version)
        later = self.activity.filter(version__gt=since).exclude(field="")
        raise StaleVersion(sorted(later.values_list("field", flat=True).distinct()))

    def apply(self, values: dict[str, Any], now: datetime) -> None:
        """Set the values and the columns derived from them: the one state transition of a task."""
        self.title_before = self.title
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1
        self.derive(now)

    def change(self, *, by_id: int, **values: Any) -> bool:
        """Set these values, unless the task was changed or deleted after it was read; return whether it was not.

        Needs with_accounts(by_id). If it returns False, this object is no longer usable.
        """
        if all(getattr(self, name) == value for name, value in values.items()):
            return True
        with transaction.atomic():
            assignee = accounts.lock_user(values.get("assigned_to_id"))
            return store_changes([self], values, assignee, by_id=by_id)

    def derive(self, now: datetime) -> None:
        self.updated_at = now
        self.completed_at = None if self.is_open else (self.completed_at or now)

    def derive_new(self) -> None:
        self.derive(self.created_at)
        set_search_documents([self])

    def save(self, **kwargs: Any) -> None:
        if self._state.adding:
            self.derive_new()
        super().save(**kwargs)


def store_changes(
    tasks: Iterable[Task], values: dict[str, Any], assignee: User | None, *, by_id: int | None, reason: str = ""
) -> bool:
    """Set, store and announce these values, with the history; return whether no task was changed after it was read."""
    now = timezone.now()
    changed: list[Task] = []
    history: list[Activity] = []
    for task in tasks:
        if entries := diff(task, values, by_id=by_id, reason=reason, at=now):
            task.apply(values, now)
            if "assigned_to_id" in values:
                task.add_assignee(assignee)
            changed.append(task)
            history += entries
    if changed:
        fields = [*values, *DERIVED]
        if {"title", "description"}.intersection(values):
            fields += SEARCH_COLUMNS
            set_search_documents(changed)
        if not statements.update(changed, fields, history):
            return False
        announce(history, by_id)
    return True


def announce(history: list[Activity], by_id: int | None) -> None:
    announced = (entry for entry in history if entry.field in ANNOUNCED)
    changes = [FieldChange(entry.task, entry.field, entry.old, entry.new) for entry in announced]
    if changes:
        tasks_changed.send(TaskQuerySet, changes=changes, by_id=by_id)


def set_search_documents(tasks: list[Task]) -> None:
    is_too_long = sum(len(task.title) + len(task.description) for task in tasks) > MAX_INDEXED_AT_ONCE
    for task in tasks:
        document = None if is_too_long else search.document(task.title, task.description)
        task.search_document, task.search_rules = document, None if is_too_long else search.RULES
