"""Which tasks are meant, and the doors through which tasks are made, changed and removed."""

import re
from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.search import SearchQuery, SearchVector, SearchVectorExact, SearchVectorField
from django.db import models, transaction
from django.db.models import BooleanField, Case, F, Func, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, JSONObject
from django.utils import timezone

from chassis.auth import audit
from chassis.auth.tokens import Caller
from directory import accounts
from directory.models import User
from tasks import search
from tasks.models.activity import Activity
from tasks.signals import Change, tasks_changed, tasks_deleted

if TYPE_CHECKING:
    from tasks.models.task import Task

COMPLETED = "completed"
ANNOUNCED = ("status", "assigned_to")
# Of several in a row one is enough, and PostgreSQL fails on more than 32: "tsquery stack too small".
MINUS_BEFORE_MINUS = re.compile(r'-(?=[^\w"-]*-)')
SEARCHED = SearchVector("title", "description", config="simple")  # the index task_search holds the same expression
NOT_INDEXED = ~Q(search_rules=search.RULES)
MAX_INDEXED_AT_ONCE = 500_000  # characters of changed tasks; beyond, the worker indexes them


class StaleVersion(Exception):
    """A task has changed since the version that the caller relies on: in these fields."""

    def __init__(self, changed_fields: list[str]) -> None:
        super().__init__(changed_fields)
        self.changed_fields = changed_fields


class UnexpectedCount(Exception):
    """There are more or fewer tasks than the caller expects to change."""


def visible_values(person: Caller | User) -> dict[str, int]:
    """Return the values that a task must have for this person to see it: the one rule about who sees which task."""
    return {} if person.is_admin else {"assigned_to_id": person.id}


def holds(query: str) -> Q:
    """Take a query of tasks.search as it is: PostgreSQL's own functions for that would parse its words."""
    template = "(%(expressions)s::tsquery)"
    return Q(Func("search_document", Value(query), template=template, arg_joiner=" @@ ", output_field=BooleanField()))


def found_by_text(text: str) -> Q:
    """Find what is not indexed yet as the version before does."""
    query = SearchQuery(MINUS_BEFORE_MINUS.sub("", text), config="simple", search_type="websearch")
    return NOT_INDEXED & Q(search_document=None) & Q(SearchVectorExact(SEARCHED, query))


class TaskQuerySet(models.QuerySet["Task"]):
    ranks: list[Self]  # of matching()

    def visible_to(self, person: Caller | User) -> Self:
        return self.filter(**visible_values(person))

    def with_assignee(self) -> Self:
        """Annotate `assignee_name`."""
        names = User.objects.filter(pk=OuterRef("assigned_to")).values("username")  # a join would be made an inner one
        return self.annotate(assignee_name=Subquery(names))

    def with_accounts(self, actor_id: int | None = None) -> Self:
        """Annotate `assignee_name`, `actor_name` and `accounts`: id and role of assignee and creator, where active."""
        involved = Q(pk=OuterRef("assigned_to")) | Q(pk=OuterRef("created_by"))
        accounts = User.objects.filter(involved, is_active=True).values(account=JSONObject(id="id", role="role"))
        actor = Subquery(User.objects.filter(pk=actor_id or 0).values("username"), output_field=models.TextField())
        return self.with_assignee().annotate(accounts=ArraySubquery(accounts), actor_name=actor)

    def open(self) -> Self:
        return self.exclude(status=COMPLETED)

    def overdue(self) -> Self:
        return self.open().filter(due_date__lt=timezone.localdate())

    def not_overdue(self) -> Self:
        return self.filter(Q(status=COMPLETED) | Q(due_date=None) | Q(due_date__gte=timezone.localdate()))

    def due_soon(self) -> Self:
        today = timezone.localdate()
        return self.open().filter(due_date__range=(today, today + timedelta(days=settings.DUE_SOON_DAYS)))

    def not_due_soon(self) -> Self:
        today = timezone.localdate()
        last = today + timedelta(days=settings.DUE_SOON_DAYS)
        return self.filter(Q(status=COMPLETED) | Q(due_date=None) | Q(due_date__lt=today) | Q(due_date__gt=last))

    def completed_from(self, day: date) -> Self:
        return self.filter(completed_at__gte=midnight(day))

    def completed_until(self, day: date) -> Self:
        """Keep what was completed on that day or earlier."""
        return self.filter(completed_at__lt=midnight(day + timedelta(days=1)))

    def of_users(self, column: str, ids: Collection[int], *, or_nobody: bool) -> Self:
        """Keep tasks whose `column` is one of these users, or also nobody."""
        nobody = Q(**{f"{column}__isnull": True})
        if or_nobody and not ids:
            return self.filter(nobody)
        # A single value lets an index sort. No account has the id 0.
        users = Q(**{f"{column}__in": ids}) if len(ids) > 1 else Q(**{column: next(iter(ids), 0)})
        return self.filter(users | nobody if or_nobody else users)

    def unassigned(self) -> Self:
        return self.filter(assigned_to=None)

    def matching(self, text: str) -> Self:
        """Keep what tasks.search finds; `ranks` of the queryset are parts of it, best first."""
        query = search.parse(text)
        best, last = query.ranks[:-1], query.ranks[-1]
        matching = self.filter(holds(query.anywhere) | found_by_text(text))
        matching.ranks = [*(self.filter(holds(rank)) for rank in best), self.filter(holds(last) | found_by_text(text))]
        return matching

    def not_indexed(self) -> Self:
        return self.filter(NOT_INDEXED)

    def existed(self, task_id: int) -> bool:
        """Whether there is, or was, a task with this id: the history of a deleted one stays."""
        history = Activity.objects.filter(task=task_id).values("task")
        return self.filter(pk=task_id).values("pk").union(history, all=True).exists()

    def make(self, *, by_id: int, **values: Any) -> "Task":
        """Create a task, or raise accounts.UnknownUser where its assignee was deleted a moment ago."""
        with transaction.atomic():
            accounts.lock_user(values.get("assigned_to_id"))
            task = self.create(created_by=by_id, **values)
            facts = Activity.objects.bulk_create(task.facts_of_creation())
            made = self.with_accounts(by_id).get(pk=task.pk)
            announce(facts, [made], by_id)
        return made

    def change(
        self,
        *,
        by_id: int | None,
        reason: str = "",
        versions: Collection[int] | None = None,
        expected_count: int | None = None,
        **values: Any,
    ) -> list["Task"]:
        """Give every task here these values and return all as they are then, in the order of their ids.

        One that has the values already stays as it is. Raises StaleVersion where a task is at none of `versions`,
        UnexpectedCount where there are not `expected_count` tasks, and accounts.UnknownUser where the new assignee was
        deleted a moment ago.
        """
        with transaction.atomic():
            assignee = accounts.lock_user(values.get("assigned_to_id"))
            locked = self.with_accounts(by_id).order_by("pk").select_for_update(of=("self",))
            tasks: list[Task] = list(locked if expected_count is None else locked[: expected_count + 1])
            if expected_count not in (None, len(tasks)):
                raise UnexpectedCount()
            now = timezone.now()
            facts: list[Activity] = []
            for task in tasks:
                refuse_stale(task, versions)
                of_task = task.facts_of_change(values, by_id=by_id, reason=reason, at=now)
                if of_task:
                    task.become(values, assignee, now)
                facts += of_task
            if facts:
                ids = {fact.task_id for fact in facts}
                search_values = indexed(values, [task for task in tasks if task.pk in ids])
                self.model.objects.filter(pk__in=ids).update(**values, **kept_with(values, now), **search_values)
                Activity.objects.bulk_create(facts)
            announce(facts, tasks, by_id)
            return tasks

    def remove(self, *, by_id: int | None, versions: Collection[int] | None = None) -> list["Task"]:
        """Delete every task here and return all in the order of their ids, or raise StaleVersion.

        Their history stays.
        """
        with transaction.atomic():
            tasks: list[Task] = list(self.with_accounts(by_id).order_by("pk").select_for_update(of=("self",)))
            for task in tasks:
                refuse_stale(task, versions)
            now = timezone.now()
            Activity.objects.bulk_create([task.fact_of_deletion(by_id=by_id, at=now) for task in tasks])
            if tasks:
                tasks_deleted.send(TaskQuerySet, tasks=tasks, by_id=by_id)
            self.model.objects.filter(pk__in=[task.pk for task in tasks]).delete()
            for task in tasks:
                transaction.on_commit(
                    partial(audit.write, "sensitive_delete", actor=by_id, subject=task.pk, object="task")
                )
            return tasks


def midnight(day: date) -> datetime:
    """Return when a day begins in TIME_ZONE."""
    return datetime.combine(day, time.min, timezone.get_current_timezone())


def announce(facts: list[Activity], tasks: list["Task"], by_id: int | None) -> None:
    """Tell listeners what was done to which of the tasks."""
    by_pk = {task.pk: task for task in tasks}
    changes = [Change(by_pk[each.task_id], each.field, each.old, each.new) for each in facts if each.field in ANNOUNCED]
    if changes:
        tasks_changed.send(TaskQuerySet, changes=changes, by_id=by_id)


def kept_with(values: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return what a change of these values brings with it."""
    kept: dict[str, Any] = {"version": F("version") + 1, "updated_at": now}
    if "status" in values:
        kept["completed_at"] = Coalesce("completed_at", now) if values["status"] == COMPLETED else None
    return kept


def indexed(values: dict[str, Any], tasks: list["Task"]) -> dict[str, Any]:
    """Return what a change of these values, which the tasks have already, changes for search."""
    if not values.keys() & {"title", "description"}:
        return {}
    if sum(len(task.title) + len(task.description) for task in tasks) > MAX_INDEXED_AT_ONCE:
        return {"search_document": None, "search_rules": None}
    documents = [When(pk=task.pk, then=Value(search.document(task.title, task.description))) for task in tasks]
    return {"search_document": Cast(Case(*documents), SearchVectorField()), "search_rules": search.RULES}


def refuse_stale(task: "Task", versions: Collection[int] | None) -> None:
    if versions is None or task.version in versions:
        return
    since = max((version for version in versions if version < task.version), default=task.version)
    later = task.activity.filter(version__gt=since).exclude(field="")
    raise StaleVersion(sorted(later.values_list("field", flat=True).distinct()))
