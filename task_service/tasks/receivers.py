"""Reactions to changes of accounts."""

from typing import Any

from django.dispatch import receiver

from directory.signals import users_deleted
from tasks.models import Task


@receiver(users_deleted)
def unassign_from_deleted(user_ids: list[int], **_: Any) -> None:
    Task.objects.filter(assigned_to__in=user_ids).change(by_id=None, reason="account deleted", assigned_to_id=None)
