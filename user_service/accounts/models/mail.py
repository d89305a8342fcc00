"""Mails about accounts: the request writes a row, the worker finds out whether there is anyone to write to."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from accounts.names import fold
from chassis.outbox import Delivery, DeliveryQuerySet

QUIET = timedelta(minutes=1)


class MailQuerySet(DeliveryQuerySet["Mail"]):
    def plan(self, kind: "Mail.Kind", email: str) -> "Mail":
        mail: Mail = self.create(kind=kind, email_key=fold(email))
        return mail

    def sent_lately_like(self, mail: "Mail") -> Any:
        """Choose what went to the same address a moment ago: nobody shall flood another's inbox."""
        since = timezone.now() - QUIET
        return self.filter(kind=mail.kind, email_key=mail.email_key, sent_at__gt=since)

    def finished_before(self, instant: Any) -> Any:
        return self.exclude(state=Delivery.State.PLANNED).filter(planned_at__lt=instant)


class Mail(Delivery):
    """Holds no secret: the token that a mail carries is made when it is sent, and only its hash is kept."""

    class Kind(models.TextChoices):
        PASSWORD_RESET = "password_reset"
        INVITATION = "invitation"

    kind = models.CharField(max_length=14, choices=Kind)
    email_key = models.TextField()

    objects: ClassVar[Any] = MailQuerySet.as_manager()

    class Meta(Delivery.Meta):
        constraints = [
            *Delivery.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(kind__in=["password_reset", "invitation"]), name="%(class)s_kind_is_known"
            ),
        ]
