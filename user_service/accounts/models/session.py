"""Sessions: one row for each signing-in, which knows the one refresh token that is good."""

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
        """Choose the session that a refresh token names: by its key, which nobody can guess.

        A token of the version before has no key, but an id that the session still knows and that is as random.
        """
        known = models.Q(current_jti=jti) | models.Q(previous_jti=jti)
        return self.filter(models.Q(key=key) | models.Q(known, pk=session_id), user_id=user_id)

    def open(self, user: User, *, user_agent: str = "", address: str | None = None) -> "Session":
        """Begin a session, or raise AccountGone.

        It is raised if the user was deleted, deactivated or given another password since it was read: somebody
        who signs in while the password changes must not stay behind with the old one.
        """
        now = timezone.now()
        with transaction.atomic():
            same = User.objects.filter(pk=user.pk, password=user.password, is_active=True)
            if same.select_for_update(no_key=True).first() is None:
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
        """Replace the refresh id `jti` by a fresh one. Of several callers with the same one, one gets True."""
        now = timezone.now()
        # No condition may reach into another table: Django would put all of them into a subquery, which PostgreSQL
        # does not look at again when it has waited for the row.
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
    return UUID(bytes=secrets.token_bytes(16))  # all 128 bits are random, where uuid4 leaves 122


def lifetime() -> Any:
    return settings.SIMPLE_JWT["REFRESH_TOKEN_LIFETIME"]


def max_age() -> timedelta:
    return timedelta(days=settings.SESSION_MAX_DAYS)


def clean_user_agent(text: str) -> str:
    """Drop what shows nothing or changes how the rest is shown, such as control and text-direction characters."""
    return "".join(each for each in text if each == " " or is_visible(each))[:MAX_USER_AGENT_LENGTH]


class Session(models.Model):
    """One signing-in, kept alive by refresh tokens of which only the newest is good."""

    # What names it in tokens: whoever can sign cannot guess it. The default of the database is for the version before.
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
        """Return whether this call ended it: of several at once, one does."""
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
