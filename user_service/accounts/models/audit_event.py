"""The audit trail of accounts and sessions. Rows never change."""

from functools import partial
from typing import ClassVar, Protocol

from django.db import models, transaction
from django.utils import timezone

from chassis import request_id
from chassis.auth import audit, client_address


class Principal(Protocol):
    """A user or an authenticated caller."""

    @property
    def id(self) -> int: ...

    @property
    def username(self) -> str: ...


class AuditEventManager(models.Manager["AuditEvent"]):
    def record(
        self,
        event: "AuditEvent.Event",
        *,
        by: Principal | None,
        subject: Principal | None,
        **details: str | int | list[str],
    ) -> None:
        """Record an event in the current transaction, and log it on commit.

        `by` is None for an unknown caller and for operator commands. Details contain no secrets and no text typed as a
        username, because people type passwords there by mistake.
        """
        self.create(
            at=timezone.now(),
            event=event,
            actor_id=by.id if by else None,
            actor_name=by.username if by else "",
            subject_id=subject.id if subject else None,
            subject_name=subject.username if subject else "",
            address=client_address.current.get(),
            details=details,
            request_id=request_id.current.get(),
        )
        line = partial(audit.write, event.value, actor=by.id if by else None, subject=subject.id if subject else None)
        transaction.on_commit(partial(line, **details))


class AuditEvent(models.Model):
    """Has no foreign keys: events outlive the account and keep its name at the time."""

    class Event(models.TextChoices):
        # Names from OWASP's logging vocabulary.
        LOGIN_SUCCESS = "authn_login_success"
        LOGIN_FAIL = "authn_login_fail"
        LOGIN_LOCK = "authn_login_lock"
        PASSWORD_CHANGE = "authn_password_change"
        PASSWORD_CHANGE_FAIL = "authn_password_change_fail"
        TOKEN_REUSE = "authn_token_reuse"
        ROLE_CHANGE = "authz_change"
        SESSION_END = "session_expired"
        USER_CREATED = "user_created"
        USER_UPDATED = "user_updated"
        USER_ARCHIVED = "user_archived"
        USER_DELETED = "user_deleted"
        # Ours; the vocabulary has no names for them.
        PASSWORD_RESET = "authn_password_reset"
        USER_ACTIVATED = "user_activated"

    at = models.DateTimeField()
    event = models.CharField(max_length=40, choices=Event)
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=64, blank=True)
    subject_id = models.BigIntegerField(null=True)
    subject_name = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True)
    details = models.JSONField()
    request_id = models.CharField(max_length=64, blank=True)

    objects: ClassVar[AuditEventManager] = AuditEventManager()
    revoked_rights = "UPDATE, DELETE"  # see chassis.ops.roles

    class Meta:
        indexes = [
            models.Index(fields=["at", "id"], name="auditevent_at"),
            models.Index(fields=["event", "at", "id"], name="auditevent_event"),
            models.Index(fields=["actor_id", "at", "id"], name="auditevent_actor"),
            models.Index(fields=["subject_id", "at", "id"], name="auditevent_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.event} of user {self.subject_id}"
