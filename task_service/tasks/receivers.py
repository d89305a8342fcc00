"""What follows here from facts elsewhere."""

from typing import Any

from django.dispatch import receiver

from directory.signals import user_deleted
from tasks.models import Task


@receiver(user_deleted)
def unassign_from_deleted(user_id: int, **_: Any) -> None:
    Task.objects.filter(assigned_to=user_id).change(by_id=None, reason="account deleted", assigned_to_id=None)
