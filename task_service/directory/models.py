"""The directory: a copy of the accounts, and its position in the change feed."""

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.db import connection, models, transaction
from django.db.models import Exists, F, Q
from django.db.models.functions import Greatest, Lower, Now

from directory.person import Person
from directory.signals import users_deleted

# A deleted account keeps its name, for the history of tasks. The record has the columns of the table.
UPSERT = """
    INSERT INTO directory_user AS known
    SELECT * FROM jsonb_populate_recordset(NULL::directory_user, %s) ORDER BY id
    ON CONFLICT (id) DO UPDATE SET
        username = CASE WHEN excluded.is_deleted THEN known.username ELSE excluded.username END,
        email = excluded.email, role = excluded.role, is_active = excluded.is_active,
        is_deleted = excluded.is_deleted, epoch = excluded.epoch, least_epoch = excluded.least_epoch,
        position = excluded.position
    WHERE known.position < excluded.position AND NOT known.is_deleted
    RETURNING id, is_deleted
"""
STALE_AFTER = timedelta(seconds=2)
STALE_AFTER_A_FAILURE = timedelta(seconds=4)  # the worker retries earlier, so that no request waits for a dead service


class UserQuerySet(models.QuerySet["User"]):
    def with_feed_state(self) -> Self:
        """Annotate `feed_is_stale`: no process has read the feed recently."""
        return self.annotate(feed_is_stale=~Exists(Feed.objects.exclude(Feed.stale())))

    def named(self, names: Collection[str]) -> Self:
        """Keep undeleted accounts with these usernames, in any case; the newest of each name first."""
        folded = [name.lower() for name in names]
        return self.alias(key=Lower("username")).filter(key__in=folded, is_deleted=False).order_by("-position")

    def upsert(self, people: Iterable[Person]) -> None:
        """Store the accounts that are newer than the stored ones. Safe with late and repeated responses."""
        rows = json.dumps([asdict(person) | {"least_epoch": person.min_valid_epoch} for person in people])
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(UPSERT, [rows])
            if deleted := [user_id for user_id, is_deleted in cursor.fetchall() if is_deleted]:
                users_deleted.send(User, user_ids=deleted)


class User(models.Model):
    """An account of the user service. A deleted account stays, marked as deleted: its id is never reused."""

    id = models.BigIntegerField(primary_key=True)
    username = models.TextField()
    email = models.TextField()
    role = models.CharField(max_length=5)
    is_active = models.BooleanField()
    is_deleted = models.BooleanField()
    epoch = models.BigIntegerField()
    min_valid_epoch = models.BigIntegerField(db_column="least_epoch")
    position = models.BigIntegerField()
    feed_is_stale: bool  # of UserQuerySet.with_feed_state()

    objects: ClassVar[Any] = UserQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id__gt=0), name="user_id_is_an_id"),
            models.CheckConstraint(condition=Q(is_deleted=False) | Q(is_active=False), name="deleted_is_not_active"),
        ]
        indexes = [models.Index(Lower("username"), name="user_by_name")]

    def __str__(self) -> str:
        return f"user {self.pk}"

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


class FeedManager(models.Manager["Feed"]):
    def claim(self, stale: Q) -> int | None:
        """Return the position to continue after, or None if another process tried too recently for `stale`."""
        feed, _ = self.get_or_create(pk=1)
        return feed.position if self.filter(stale, pk=1).update(tried_at=Now()) else None

    def record_success(self, position: int, *, clock_difference_seconds: int | None) -> None:
        self.filter(pk=1).update(
            position=Greatest("position", position), pulled_at=Now(), clock_difference_seconds=clock_difference_seconds
        )

    def record_failure(self, *, clock_difference_seconds: int | None) -> None:
        self.filter(pk=1).update(clock_difference_seconds=clock_difference_seconds)


class Feed(models.Model):
    """The position in the change feed, in a single row."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    position = models.BigIntegerField(default=0)
    tried_at = models.DateTimeField(null=True)
    pulled_at = models.DateTimeField(null=True)
    clock_difference_seconds = models.IntegerField(null=True)  # to the user service; null if unknown

    objects: ClassVar[FeedManager] = FeedManager()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="there_is_one_feed")]

    def __str__(self) -> str:
        return f"the feed at {self.position}"

    @staticmethod
    def stale(after: timedelta = STALE_AFTER, after_a_failure: timedelta = STALE_AFTER_A_FAILURE) -> Q:
        """Return the condition for a stale feed. Attempts count, so that only one process tries at a time."""
        succeeded = Q(pulled_at__gte=F("tried_at"))
        return Q(tried_at=None) | Q(succeeded, tried_at__lt=Now() - after) | Q(tried_at__lt=Now() - after_a_failure)
