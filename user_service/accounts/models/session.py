"""Sessions: one row for each sign-in, with the id of its one valid refresh token."""

import secrets
from datetime import timedelta
from typing import Any, ClassVar, Self
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models, transaction
from django.db.models.functions import Least
from django.utils import timezone

from accounts.models.audit_event import AuditEvent, Principal
from accounts.models.errors import AccountGone
from accounts.models.mail import Mail
from accounts.models.user import User
from chassis.api.fields import is_visible

MAX_USER_AGENT_LENGTH = 200


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self, *, at: Any = None) -> Self:
        return self.filter(expires_at__gt=at or timezone.now(), user__is_active=True)

    def expired(self) -> Self:
        return self.filter(expires_at__lte=timezone.now())

    def for_refresh_token(self, *, user_id: Any, key: Any, session_id: Any, jti: Any) -> Self:
        """Filter the session of a refresh token by its key, which nobody can guess.

        A token of the previous version has no key. It is found by its jti, which is as random.
        """
        known = models.Q(current_jti=jti) | models.Q(previous_jti=jti)
        return self.filter(models.Q(key=key) | models.Q(known, pk=session_id), user_id=user_id)

    def open(self, user: User, *, user_agent: str = "", address: str | None = None) -> "Session":
        """Open a session, or raise AccountGone if the user was deleted, deactivated or given a new password meanwhile.

        Nobody who signs in with the old password while it changes may keep a session.
        """
        now = timezone.now()
        with transaction.atomic():
            unchanged = User.objects.filter(pk=user.pk, password=user.password, is_active=True)
            if unchanged.select_for_update(no_key=True).first() is None:
                raise AccountGone()
            session = self.create(
                user=user,
                current_jti=uuid4().hex,
                created_at=now,
                rotated_at=now,
                expires_at=now + min(lifetime(), max_age()),
                user_agent=clean_user_agent(user_agent),
                address=address,
            )
            AuditEvent.objects.record(AuditEvent.Event.LOGIN_SUCCESS, by=user, subject=user, session=session.pk)
            return session

    def rotate(self, *, jti: str) -> bool:
        """Replace `jti` by a new one. Of several callers with the same `jti`, one gets True."""
        now = timezone.now()
        # No condition may use another table: Django would move all of them into a subquery, which PostgreSQL does not
        # evaluate again after waiting for the row lock.
        claimed = self.filter(current_jti=jti, expires_at__gt=now)
        return bool(
            claimed.update(
                current_jti=uuid4().hex,
                previous_jti=models.F("current_jti"),
                rotated_at=now,
                expires_at=Least(now + lifetime(), models.F("created_at") + max_age()),
            )
        )


def random_key() -> UUID:
    return UUID(bytes=secrets.token_bytes(16))  # 128 random bits; uuid4 has 122


def lifetime() -> Any:
    return settings.SIMPLE_JWT["REFRESH_TOKEN_LIFETIME"]


def max_age() -> timedelta:
    return timedelta(days=settings.SESSION_MAX_DAYS)


def clean_user_agent(text: str) -> str:
    """Remove invisible characters and those that change how others are shown, such as text direction."""
    return "".join(each for each in text if each == " " or is_visible(each))[:MAX_USER_AGENT_LENGTH]


class Session(models.Model):
    # Names the session in tokens: even the holder of a signing key cannot guess it.
    # db_default is for the previous version.
    key = models.UUIDField(default=random_key, db_default=RandomUUID(), unique=True, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    current_jti = models.CharField(max_length=32)
    previous_jti = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    rotated_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    user_agent = models.CharField(max_length=MAX_USER_AGENT_LENGTH, blank=True)
    address = models.GenericIPAddressField(null=True)

    objects: ClassVar[Any] = SessionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"session {self.pk} of user {self.user_id}"

    def end(self, *, by: Principal | None, event: AuditEvent.Event = AuditEvent.Event.SESSION_END) -> bool:
        """Return whether this call ended the session: of several at once, one does."""
        session_id, user = self.pk, self.user
        with transaction.atomic():
            ended, _ = self.delete()
            if ended:
                AuditEvent.objects.record(event, by=by, subject=user, session=session_id)
                if event == AuditEvent.Event.TOKEN_REUSE:
                    user.notify(Mail.Kind.TOKEN_REUSED, by=None)
                elif by is None or by.id != user.pk:
                    user.notify(Mail.Kind.SESSION_ENDED, by=by)
        return bool(ended)
