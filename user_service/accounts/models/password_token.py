"""Tokens that set a password without the old one: mailed, short-lived, valid once, stored as a hash."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.db import models, transaction
from django.utils import timezone

from accounts.models.attempt import Attempt
from accounts.models.audit_event import AuditEvent
from accounts.models.mail import Mail
from accounts.models.user import User

LIFETIMES = {Mail.Kind.PASSWORD_RESET: timedelta(minutes=30), Mail.Kind.INVITATION: timedelta(days=7)}


class PasswordTokenInvalid(Exception):
    """The token is unknown, used or expired."""


class PasswordTokenQuerySet(models.QuerySet["PasswordToken"]):
    def issue(self, user: User, kind: Mail.Kind) -> str:
        """Return a new token. Earlier ones stay valid, since their mails may still arrive."""
        token = secrets.token_urlsafe(32)
        self.create(user=user, token_hash=hash_token(token), expires_at=timezone.now() + LIFETIMES[kind])
        return token

    def valid(self, token: str) -> Self:
        return self.filter(token_hash=hash_token(token), expires_at__gt=timezone.now(), user__is_active=True)

    def user_for(self, token: str) -> User:
        """Return the user of a valid token, or raise PasswordTokenInvalid."""
        row = self.valid(token).select_related("user").first()
        if row is None:
            raise PasswordTokenInvalid()
        return row.user

    def redeem(self, token: str, *, user: User, password: str) -> None:
        """Set the password and end all sessions and tokens of the user, or raise PasswordTokenInvalid.

        The token was mailed to the address of the account, so its use confirms the address.
        """
        user.set_password(password)
        with transaction.atomic():
            # Lock the account first, as everywhere: of two tokens used at once, the second is already revoked.
            account = User.objects.select_for_update().filter(pk=user.pk).first()
            if account is None or not self.valid(token).exists():
                raise PasswordTokenInvalid()
            values: dict[str, Any] = {"password": user.password, "email_confirmed": True}
            # A first password replaces none.
            notice = Mail.Kind.PASSWORD_SET_BY_MAIL if account.has_usable_password() else None
            row = User.objects.filter(pk=user.pk)
            user.revoke_access(row, event=AuditEvent.Event.PASSWORD_RESET, by=None, notice=notice, **values)
            Attempt.objects.clear_failures(user_id=user.pk, logins=user.logins)


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()  # a fast hash suffices: the token is 256 random bits


class PasswordToken(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="password_tokens")
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()

    objects: ClassVar[Any] = PasswordTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"password token of user {self.user_id}"
