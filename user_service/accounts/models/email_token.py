"""Tokens that confirm an email address: mailed to it, valid once and for a day, stored as a hash."""

import secrets
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.utils import timezone

from accounts.models.errors import translate_unique_violations
from accounts.models.password_token import hash_token
from accounts.models.user import User

LIFETIME = timedelta(hours=24)


class EmailTokenInvalid(Exception):
    """The token is unknown, used or expired."""


class EmailTokenQuerySet(models.QuerySet["EmailToken"]):
    def issue(self, user: User, email: str) -> str:
        """Return a new token. Earlier ones stay valid, since their mails may still arrive."""
        token = secrets.token_urlsafe(32)
        self.create(user=user, email=email, token_hash=hash_token(token), expires_at=timezone.now() + LIFETIME)
        return token

    def valid(self, token: str) -> Self:
        return self.filter(token_hash=hash_token(token), expires_at__gt=timezone.now(), user__is_active=True)

    def redeem(self, token: str) -> None:
        """Confirm the address of the token, or raise EmailTokenInvalid, AccountGone or NameTaken."""
        row = self.valid(token).select_related("user").first()
        if row is None:
            raise EmailTokenInvalid()
        with translate_unique_violations():
            row.user.lock()
            if not (self.valid(token).exists() and row.user.confirm_email(row.email)):
                raise EmailTokenInvalid()


class EmailToken(models.Model):
    # No constraint: the previous version deletes accounts without knowing this table. The token is then invalid.
    user = models.ForeignKey(User, on_delete=models.DO_NOTHING, db_constraint=False, related_name="email_tokens")
    email = models.CharField(max_length=254)
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()

    objects: ClassVar[Any] = EmailTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"email token of user {self.user_id}"
