"""Mails about accounts. The request writes a row; the worker finds the recipient, if there is one."""

from datetime import timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.utils import timezone

from accounts.names import fold, to_mailbox
from chassis.worker.outbox import Delivery, DeliveryQuerySet, Skipped

MIN_INTERVAL, DAY = timedelta(minutes=1), timedelta(days=1)
MAX_PER_DAY = 10


class MailQuerySet(DeliveryQuerySet["Mail"]):
    def plan(self, kind: "Mail.Kind", email: str, *, by_admin: bool = False) -> "Mail":
        """Plan a mail to the account that has this address at the time of sending, if any."""
        mail: Mail = self.create(kind=kind, email_key=fold(email), mailbox_key=to_mailbox(email), by_admin=by_admin)
        return mail

    def plan_to(self, kind: "Mail.Kind", user: models.Model, address: str, **values: Any) -> "Mail":
        """Plan a mail about an account to its current, former or pending address."""
        keys = {"email_key": fold(address), "mailbox_key": to_mailbox(address)}
        mail: Mail = self.create(kind=kind, user_id=user.pk, address=address, **keys, **values)
        return mail

    def recent_in_mailbox(self, mail: "Mail", *, within: timedelta) -> Self:
        """Filter mails that were sent to the same mailbox recently, or that another worker is sending now."""
        now = timezone.now()
        sent = models.Q(sent_at__gt=now - within) | models.Q(leased_until__gt=now, pk__lt=mail.pk)
        mailbox = mail.mailbox_key or to_mailbox(mail.email_key)  # the previous version does not set it
        return self.filter(sent, mailbox_key=mailbox, by_admin=mail.by_admin, kind__in=Mail.RATE_LIMITED)

    def finished_before(self, instant: Any) -> Any:
        return self.exclude(state=Delivery.State.PENDING).filter(planned_at__lt=instant)


class Mail(Delivery):
    """Contains no secret: a token is created when its mail is sent, and only its hash is stored."""

    class Kind(models.TextChoices):
        PASSWORD_RESET = "password_reset"
        INVITATION = "invitation"
        EMAIL_CONFIRMATION = "email_confirmation"
        EMAIL_CHANGE_REQUESTED = "email_change_requested"
        EMAIL_CHANGED = "email_changed"
        USERNAME_CHANGED = "username_changed"
        PASSWORD_CHANGED = "password_changed"
        PASSWORD_SET_BY_MAIL = "password_set_by_mail"
        SESSIONS_ENDED = "sessions_ended"
        SESSION_ENDED = "session_ended"
        TOKEN_REUSED = "token_reused"
        ACCOUNT_DEACTIVATED = "account_deactivated"

    # Kinds that anyone can have sent to a stranger's mailbox. The others go to confirmed addresses only.
    RATE_LIMITED = (Kind.PASSWORD_RESET, Kind.INVITATION, Kind.EMAIL_CONFIRMATION)

    kind = models.CharField(max_length=30, choices=Kind)
    # Further kinds of the same change: one change is one mail.
    also = models.JSONField(default=list, db_default=[])
    email_key = models.TextField()
    # Addresses that differ only after a "+" are one mailbox. Empty if the previous version planned the mail.
    mailbox_key = models.TextField(default="", db_default="")
    by_admin = models.BooleanField(default=False, db_default=False)
    # Set if the mail is about a certain account, whichever account has the address at the time of sending.
    # No constraint: the previous version deletes accounts without knowing this column.
    user = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    address = models.CharField(max_length=254, default="", db_default="")

    objects: ClassVar[Any] = MailQuerySet.as_manager()

    class Meta(Delivery.Meta):
        constraints = [
            *Delivery.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(
                    kind__in=[
                        "password_reset",
                        "invitation",
                        "email_confirmation",
                        "email_change_requested",
                        "email_changed",
                        "username_changed",
                        "password_changed",
                        "password_set_by_mail",
                        "sessions_ended",
                        "session_ended",
                        "token_reused",
                        "account_deactivated",
                    ]
                ),
                name="%(class)s_kind_is_known",
            ),
        ]
        indexes = [*Delivery.Meta.indexes, models.Index(fields=["mailbox_key", "sent_at"], name="%(class)s_mailbox")]

    def check_rate(self) -> None:
        """Raise Skipped if the mailbox got the same kind within a minute, or too many mails within a day.

        So nobody can flood a stranger's inbox. Mails that an admin requests are counted separately.
        """
        if self.kind not in self.RATE_LIMITED:
            return
        if Mail.objects.recent_in_mailbox(self, within=MIN_INTERVAL).filter(kind=self.kind).exists():
            raise Skipped("the same mail was sent a moment ago")
        if not self.by_admin and Mail.objects.recent_in_mailbox(self, within=DAY).count() >= MAX_PER_DAY:
            raise Skipped(f"the mailbox got {MAX_PER_DAY} mails within a day")
