"""Mails about accounts: the request writes a row, the worker finds out whether there is anyone to write to."""

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
        """Plan a mail to the account that has this address, if there is one when the mail is sent."""
        mail: Mail = self.create(kind=kind, email_key=fold(email), mailbox_key=to_mailbox(email), by_admin=by_admin)
        return mail

    def plan_to(self, kind: "Mail.Kind", user: models.Model, address: str, **values: Any) -> "Mail":
        """Plan a mail about an account to an address that it has, had or may come to have."""
        keys = {"email_key": fold(address), "mailbox_key": to_mailbox(address)}
        mail: Mail = self.create(kind=kind, user_id=user.pk, address=address, **keys, **values)
        return mail

    def recent_in_mailbox(self, mail: "Mail", *, within: timedelta) -> Self:
        """Choose what went to the same mailbox lately, or is being sent there at this moment by another worker."""
        now = timezone.now()
        sent = models.Q(sent_at__gt=now - within) | models.Q(leased_until__gt=now, pk__lt=mail.pk)
        mailbox = mail.mailbox_key or to_mailbox(mail.email_key)  # the version before left it out
        return self.filter(sent, mailbox_key=mailbox, by_admin=mail.by_admin, kind__in=Mail.RATE_LIMITED)

    def finished_before(self, instant: Any) -> Any:
        return self.exclude(state=Delivery.State.PENDING).filter(planned_at__lt=instant)


class Mail(Delivery):
    """Holds no secret: the token that a mail carries is made when it is sent, and only its hash is kept."""

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

    # What anyone may cause to be sent to a mailbox that is not theirs. The others go to confirmed addresses only.
    RATE_LIMITED = (Kind.PASSWORD_RESET, Kind.INVITATION, Kind.EMAIL_CONFIRMATION)

    kind = models.CharField(max_length=30, choices=Kind)
    # What else the same act has changed, as kinds: of one act one mail tells.
    also = models.JSONField(default=list, db_default=[])
    email_key = models.TextField()
    # Addresses that differ in what follows a "+" are one mailbox. Empty: planned by the version before.
    mailbox_key = models.TextField(default="", db_default="")
    by_admin = models.BooleanField(default=False, db_default=False)
    # Set for what is about one account, whoever has the address when the mail is sent. It outlives the account,
    # which the version before deletes without knowing of this column.
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
        """Raise Skipped if the mailbox got the same just now, or too much within a day.

        Nobody can flood another's inbox, nor hold up what an admin asks for.
        """
        if self.kind not in self.RATE_LIMITED:
            return
        if Mail.objects.recent_in_mailbox(self, within=MIN_INTERVAL).filter(kind=self.kind).exists():
            raise Skipped("the same was sent a moment ago")
        if not self.by_admin and Mail.objects.recent_in_mailbox(self, within=DAY).count() >= MAX_PER_DAY:
            raise Skipped(f"the mailbox got {MAX_PER_DAY} mails within a day")
