"""What a task is. How tasks are found and changed is in querysets."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone

from chassis.api.fields import MAX_DATE, MIN_DATE
from chassis.auth.tokens import Caller
from directory.models import User
from tasks.models.activity import Activity
from tasks.models.querysets import NOT_INDEXED, SEARCHED, TaskQuerySet, visible_values
from tasks.search import RULES, document

WRITABLE = ("title", "description", "status", "priority", "due_date", "assigned_to_id")
MAX_DESCRIPTION_LENGTH = 50_000  # characters; whatever they are, the text index holds them


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
        """Stored by rank, so that sorting by it needs no table of names; the API speaks the labels."""

        LOW = 1, "low"
        NORMAL = 2, "normal"
        HIGH = 3, "high"
        URGENT = 4, "urgent"

    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    status = models.CharField(max_length=11, choices=Status, default=Status.TODO)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.NORMAL)
    due_date = models.DateField(null=True, blank=True)
    # No constraint: accounts belong to the other service. The directory keeps those who were deleted there.
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
    # What search finds the task by, and the rules by which it was made. A trigger removes both where a program that
    # does not know them changes the text, and the worker makes them again.
    search_document = SearchVectorField(null=True, editable=False)
    search_rules = models.PositiveSmallIntegerField(null=True, editable=False)
    assignee_name: str | None  # of TaskQuerySet.with_assignee()
    accounts: list[dict[str, Any]]  # of TaskQuerySet.with_accounts(), like the next one
    actor_name: str | None
    title_before: str  # of a task that was changed: the last title that a former assignee has seen

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
        # Each ordering has one for an admin and one for an assignee. Nulls are last both ways: with them it takes two.
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="task_newest"),
            models.Index(fields=["-updated_at", "-id"], name="task_changed_last"),
            models.Index(fields=["-priority", "-id"], name="task_most_urgent"),
            models.Index(fields=["due_date", "id"], name="task_by_due_date"),
            models.Index(F("due_date").desc(nulls_last=True), F("id").desc(), name="task_latest_due"),
            models.Index(fields=["completed_at", "id"], name="task_completed_first"),
            models.Index(F("completed_at").desc(nulls_last=True), F("id").desc(), name="task_completed_last"),
            models.Index(fields=["created_by", "-created_at", "-id"], name="task_newest_of_creator"),
            models.Index(fields=["assigned_to", "-created_at", "-id"], name="task_newest_of_assignee"),
            models.Index(fields=["assigned_to", "-id"], name="task_of_assignee"),
            models.Index(fields=["assigned_to", "-updated_at", "-id"], name="task_changed_last_of_assignee"),
            models.Index(fields=["assigned_to", "-priority", "-id"], name="task_most_urgent_of_assignee"),
            models.Index(fields=["assigned_to", "due_date", "id"], name="task_by_due_date_of_assignee"),
            models.Index(
                F("assigned_to"),
                F("due_date").desc(nulls_last=True),
                F("id").desc(),
                name="task_latest_due_of_assignee",
            ),
            models.Index(fields=["assigned_to", "completed_at", "id"], name="task_completed_of_assignee"),
            models.Index(
                F("assigned_to"),
                F("completed_at").desc(nulls_last=True),
                F("id").desc(),
                name="task_last_done_of_assignee",
            ),
            models.Index(fields=["status", "-created_at", "-id"], name="task_newest_in_status"),
            models.Index(fields=["due_date"], condition=~Q(status="completed"), name="open_task_by_due_date"),
            GinIndex(fields=["search_document"], name="task_found_by_word"),
            models.Index(fields=["id"], condition=NOT_INDEXED, name="task_to_index"),
            GinIndex(SEARCHED, name="task_search"),  # of the version before; finds what is not indexed yet
        ]

    def __str__(self) -> str:
        return f"task {self.pk}"

    @property
    def is_overdue(self) -> bool:
        return (
            self.due_date is not None and self.due_date < timezone.localdate() and self.status != Task.Status.COMPLETED
        )

    def is_visible_to(self, person: Caller | User) -> bool:
        return all(getattr(self, name) == value for name, value in visible_values(person).items())

    @property
    def viewers_involved(self) -> set[int]:
        """The ids of assignee and creator, as far as their accounts are active and see the task now."""
        accounts = (User(**account) for account in self.accounts)
        return {
            user.pk
            for user in accounts
            if user.pk in (self.assigned_to_id, self.created_by) and self.is_visible_to(user)
        }

    def account_is_active(self, user_id: int) -> bool:
        """Whether this assignee or creator, former ones included, has an account that is active."""
        return any(account["id"] == user_id for account in self.accounts)

    @property
    def is_due_soon(self) -> bool:
        today = timezone.localdate()
        last = today + timedelta(days=settings.DUE_SOON_DAYS)
        return self.due_date is not None and today <= self.due_date <= last and self.status != Task.Status.COMPLETED

    def save(self, **kwargs: Any) -> None:
        if self._state.adding:
            self.updated_at = self.created_at
            self.completed_at = self.created_at if self.status == Task.Status.COMPLETED else None
            self.search_document, self.search_rules = document(self.title, self.description), RULES
        super().save(**kwargs)

    def facts_of_creation(self) -> Iterable[Activity]:
        common = {"by_id": self.created_by, "at": self.created_at}
        yield Activity(task=self, version=self.version, kind=Activity.Kind.CREATED, **common)
        if self.assigned_to_id is not None:
            yield self.fact("assigned_to_id", None, self.assigned_to_id, version=self.version, **common)

    def facts_of_change(self, values: dict[str, Any], **common: Any) -> list[Activity]:
        """Describe what setting the values would change."""
        return [
            self.fact(name, getattr(self, name), new, version=self.version + 1, **common)
            for name, new in values.items()
            if new != getattr(self, name)
        ]

    def fact_of_deletion(self, **common: Any) -> Activity:
        values = {name.removesuffix("_id"): spoken(name, getattr(self, name)) for name in WRITABLE}
        return Activity(task_id=self.pk, version=self.version + 1, kind=Activity.Kind.DELETED, old=values, **common)

    def become(self, values: dict[str, Any], assignee: User | None, now: datetime) -> None:
        """Take the values as the row does by querysets.kept_with."""
        self.title_before = self.title
        for name, value in values.items():
            setattr(self, name, value)
        if "assigned_to_id" in values:
            self.assignee_name = assignee.username if assignee else None
            if assignee is not None and assignee.is_active:
                self.accounts.append({"id": assignee.pk, "role": assignee.role})
        if "status" in values:
            self.completed_at = (self.completed_at or now) if self.status == Task.Status.COMPLETED else None
        self.version += 1
        self.updated_at = now

    def fact(self, name: str, old: Any, new: Any, **common: Any) -> Activity:
        kind = Activity.Kind.CHANGED
        if name == "assigned_to_id":
            kind = Activity.Kind.UNASSIGNED if new is None else Activity.Kind.ASSIGNED
        field = name.removesuffix("_id")
        return Activity(task=self, kind=kind, field=field, old=spoken(name, old), new=spoken(name, new), **common)


def spoken(name: str, value: Any) -> Any:
    """Return a value of a task as JSON has it: dates as YYYY-MM-DD, the priority by its name."""
    if isinstance(value, date):
        return value.isoformat()
    return Task.Priority(value).label if name == "priority" else value
