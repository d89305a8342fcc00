"""The feed of changed accounts, from which the task service updates its directory."""

from typing import ClassVar

from django.db import models, transaction

from chassis.database import lock_table


class ChangeManager(models.Manager["Change"]):
    def record(self, user_id: int) -> None:
        """Move the account to the end of the feed. Call this last in the transaction that changes the account.

        The lock is held until the commit. So changes become visible in the order of their positions, and a reader that
        has seen position 7 never misses a position 6 that commits late.
        """
        with transaction.atomic(savepoint=False):
            lock_table(self.model)
            self.filter(user_id=user_id).delete()
            self.create(user_id=user_id)

    def after(self, position: int, *, limit: int) -> list["Change"]:
        return list(self.filter(position__gt=position).order_by("position")[:limit])


class Change(models.Model):
    """The last change of one account. No foreign key: the row of a deleted account is its tombstone."""

    position = models.BigAutoField(primary_key=True)
    user_id = models.BigIntegerField(unique=True)

    objects: ClassVar[ChangeManager] = ChangeManager()

    def __str__(self) -> str:
        return f"change {self.position} of user {self.user_id}"
