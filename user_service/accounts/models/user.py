"""Accounts and all their changes."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, ClassVar

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models, transaction
from django.utils import timezone

from accounts.models.address import EmailAddressMixin
from accounts.models.attempt import Attempt, Device
from accounts.models.audit_event import AuditEvent, Principal
from accounts.models.change import Change
from accounts.models.errors import (
    AccountGone,
    LastAdmin,
    NoPendingInvitation,
    WrongPassword,
    translate_unique_violations,
)
from accounts.models.mail import Mail
from accounts.names import fold, login_key, validate_username
from chassis.addresses import normalize

Event = AuditEvent.Event
OWN_NOTICES = {"username": Mail.Kind.USERNAME_CHANGED, "email": Mail.Kind.EMAIL_CHANGE_REQUESTED}
NOTICES = {
    "username": Mail.Kind.USERNAME_CHANGED,
    "email": Mail.Kind.EMAIL_CHANGED,
    "is_active": Mail.Kind.ACCOUNT_DEACTIVATED,
}


class UserManager(BaseUserManager["User"]):
    def register(
        self,
        *,
        username: str,
        email: str,
        password: str | None,
        role: str = "user",
        email_confirmed: bool = True,
        by: Principal | None = None,
    ) -> "User":
        """Create an account, or raise NameTaken. Without a password, the owner gets an invitation."""
        user = self.model(username=username, email=email, role=role, email_confirmed=email_confirmed)
        user.set_password(password)
        with translate_unique_violations():
            if user.is_pending:
                user.invite()
            user.save(force_insert=True)
            if not email_confirmed:
                Mail.objects.plan_to(Mail.Kind.EMAIL_CONFIRMATION, user, email)
            AuditEvent.objects.record(Event.USER_CREATED, by=by, subject=user, role=role)
            Change.objects.record(user.pk)
        return user

    def authenticate(self, *, login: str, password: str, device: Device) -> "User":
        """Return the active account with this username or email and password.

        Raise AccountGone for an unknown login, a wrong password and an inactive account alike, each after one hash, or
        TooManyFailures without a hash.
        """
        user = self.with_login(login).first()
        attempt = Attempt.objects.begin(login=login_key(login), device=device)
        if user is None:
            make_password(password)
            record_failure(attempt, None, reason="unknown_account")
            raise AccountGone()
        if not user.check_password(password):
            record_failure(attempt, user, reason="wrong_password")
            raise AccountGone()
        if not user.is_active:
            record_failure(attempt, user, reason="inactive_account")
            raise AccountGone()
        attempt.succeeded()
        Attempt.objects.remember(device, logins=user.logins)
        return user

    def with_login(self, login: str) -> models.QuerySet["User"]:
        return self.filter(**{"email_key" if "@" in login else "username_key": login_key(login)})

    def active_admins(self) -> models.QuerySet["User"]:
        return self.filter(role=User.Role.ADMIN, is_active=True)

    def is_admin_password(self, username: str, password: str) -> bool:
        """Return whether an active admin has this username and password. For commands: counts no attempt."""
        admin = self.active_admins().filter(username_key=fold(username)).first()
        return admin is not None and check_password(password, admin.password)


def notice_kinds(old: Collection[str], values: Mapping[str, Any]) -> list[Mail.Kind]:
    """Return the notices for an admin's change of these fields. A new role and activation have none."""
    return [kind for name, kind in NOTICES.items() if name in old and values[name] is not True]


def record_failure(attempt: Attempt, user: "User | None", *, reason: str) -> None:
    with transaction.atomic():
        AuditEvent.objects.record(Event.LOGIN_FAIL, by=None, subject=user, reason=reason)
        if attempt.wait_seconds:
            AuditEvent.objects.record(Event.LOGIN_LOCK, by=None, subject=user, wait_seconds=attempt.wait_seconds)


class User(EmailAddressMixin, AbstractUser):
    class Role(models.TextChoices):
        ADMIN = "admin", "Admin"
        USER = "user", "User"

    class Invitation(models.TextChoices):
        PENDING = "pending", "Pending"
        ACCEPTED = "accepted", "Accepted"

    # None removes a field of the abstract parent. The role is the only privilege.
    first_name = last_name = is_staff = is_superuser = groups = user_permissions = None  # type: ignore[assignment]
    username = models.CharField(max_length=64, validators=[validate_username])
    role = models.CharField(max_length=5, choices=Role, default=Role.USER)
    # When the last invitation was sent; null if the account was created with a password.
    invited_at = models.DateTimeField(null=True, editable=False)
    # Counts changes of rights: a new role, status or password, and signing out everywhere.
    epoch = models.PositiveIntegerField(default=0, editable=False)
    # Access tokens of an earlier epoch are rejected. After a change of role alone they stay valid, with the new role.
    min_valid_epoch = models.PositiveIntegerField(default=0, editable=False, db_column="least_epoch")
    # Unique: "Bob" and "bob" are one name.
    username_key = models.TextField(editable=False)

    # Follow from other fields, so they are saved with every change.
    DERIVED_FIELDS: ClassVar[tuple[str, ...]] = (
        *("username_key", "epoch", "min_valid_epoch", "invited_at"),
        *EmailAddressMixin.ADDRESS_FIELDS,
    )

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]
    USERNAME_FIELD = "username_key"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["username_key"], name="username_is_taken"),
            models.UniqueConstraint(fields=["email_key"], name="email_is_taken"),
            models.CheckConstraint(condition=models.Q(role__in=["admin", "user"]), name="role_is_known"),
        ]

    def save(self, **kwargs: Any) -> None:
        self.email = normalize(self.email)
        self.username_key, self.email_key = fold(self.username), fold(self.email)
        fields = kwargs.get("update_fields")
        if self._state.adding or (fields is not None and "password" not in fields):
            super().save(**kwargs)
            return
        with transaction.atomic():
            self.revoke_old_password()
            super().save(**kwargs)

    def revoke_old_password(self) -> None:
        """Revoke sessions and tokens if the stored password is about to be replaced.

        Called by `save`, so that no script and no `manage.py changepassword` can skip it.
        """
        stored = User.objects.select_for_update().filter(pk=self.pk).first()
        if stored is None:
            return
        if stored.password != self.password:
            stored.revoke_access(User.objects.filter(pk=self.pk), event=Event.PASSWORD_CHANGE, by=None)
            Attempt.objects.clear_failures(user_id=self.pk, logins=stored.logins)
            self.pending_email = None
        self.epoch, self.min_valid_epoch = stored.epoch, stored.min_valid_epoch  # stale values must not restore rights

    def check_password(self, raw_password: str | None) -> bool:
        """Check the password, and upgrade its hash if the hasher has changed.

        The upgrade replaces only the hash that was read, since the password may have changed meanwhile. It revokes
        nothing, unlike `save`, which Django would call.
        """

        def upgrade(raw_password: str) -> None:
            old, self.password = self.password, make_password(raw_password)
            User.objects.filter(pk=self.pk, password=old).update(password=self.password)

        return check_password(raw_password, self.password, upgrade)

    @property
    def is_admin(self) -> bool:
        return self.role == self.Role.ADMIN

    @property
    def is_pending(self) -> bool:
        """Whether the owner has not chosen a password yet."""
        return not self.has_usable_password()

    @property
    def invitation(self) -> "User.Invitation | None":
        if self.is_pending:
            return self.Invitation.PENDING
        return self.Invitation.ACCEPTED if self.invited_at else None

    @property
    def logins(self) -> list[str]:
        return [self.username_key, self.email_key]

    def change(self, *, by: Principal | None = None, **values: Any) -> None:
        """Save changes by an admin. An address set by an admin counts as confirmed.

        Raise NameTaken, AccountGone, or LastAdmin if no active admin would be left.
        """
        with translate_unique_violations():
            self.lock_with_admins()
            old = {name: getattr(self, name) for name, value in values.items() if getattr(self, name) != value}
            was_active_admin = self.is_admin and self.is_active
            self.notify(*notice_kinds(old, values), by=by)
            for name in old:
                setattr(self, name, values[name])
            if was_active_admin and not (self.is_admin and self.is_active):
                self.check_not_last_admin()
            self.revoke_after_change(old.keys())
            if "email" in old and self.is_pending and self.is_active:
                self.invite()
            if old:
                self.save(update_fields=[*old, *self.DERIVED_FIELDS])
                self.record_change(old, by=by)
                Change.objects.record(self.pk)

    def invite(self) -> None:
        """Plan an invitation to the current address. Call this in the transaction that saves the account."""
        self.invited_at = timezone.now()
        Mail.objects.plan(Mail.Kind.INVITATION, self.email, by_admin=True)

    def invite_again(self) -> None:
        """Plan another invitation, or raise NoPendingInvitation or AccountGone."""
        with transaction.atomic():
            self.lock()
            if not (self.is_pending and self.is_active):
                raise NoPendingInvitation()
            self.invite()
            self.save(update_fields=["invited_at"])

    def revoke_after_change(self, changed: Collection[str]) -> None:
        """Revoke rights, sessions and mailed tokens as a change of these fields demands."""
        if {"role", "is_active"} & set(changed):
            self.epoch += 1
        if "is_active" in changed:
            self.min_valid_epoch = self.epoch
        if not self.is_active:
            self.sessions.all().delete()
        if "email" in changed or not self.is_active:
            self.revoke_mailed_tokens()
        if "email" in changed:
            self.email_confirmed = True

    def login_changes(self, values: Mapping[str, Any]) -> list[str]:
        """Return the login fields that these values would change."""
        return [name for name in ("username", "email") if name in values and values[name] != getattr(self, name)]

    def change_own(self, *, verified: str | None, **values: str) -> None:
        """Change your own username at once. A new email is pending until it is confirmed.

        `verified` is the result of verify_password. Raise WrongPassword if the password has changed since, NameTaken or
        AccountGone.
        """
        with translate_unique_violations():
            self.lock()
            old = {name: getattr(self, name) for name, value in values.items() if getattr(self, name) != value}
            if not old:
                return
            if not self.is_active:
                raise AccountGone()
            if self.password != verified:
                raise WrongPassword()
            self.notify(*(OWN_NOTICES[name] for name in old), by=self)
            self.username = values.get("username", self.username)
            if "email" in old:
                self.request_email(values["email"])
                old["pending_email"] = old.pop("email")
            self.save(update_fields=["username", *self.DERIVED_FIELDS])
            self.record_change(old, by=self)
            Change.objects.record(self.pk)

    def record_change(self, old: dict[str, Any], *, by: Principal | None) -> None:
        """Record audit events, given the old values."""
        record = partial(AuditEvent.objects.record, by=by, subject=self)
        if "role" in old:
            record(Event.ROLE_CHANGE, **{"from": old["role"], "to": self.role})
        if "is_active" in old:
            record(Event.USER_ACTIVATED if self.is_active else Event.USER_ARCHIVED)
        if fields := sorted(old.keys() - {"role", "is_active"}):
            record(Event.USER_UPDATED, fields=fields)

    def change_password(self, *, current: str, new: str, keep_session: int | None) -> None:
        """Set a new password and end every session but one. Raise WrongPassword, AccountGone or TooManyFailures."""
        verified = self.verify_password(current)
        self.set_password(new)
        unchanged = User.objects.filter(pk=self.pk, password=verified)  # of two changes at once, one wins
        values: dict[str, Any] = {"keep_session": keep_session, "password": self.password}
        if not self.revoke_access(unchanged, event=Event.PASSWORD_CHANGE, by=self, **values):
            raise WrongPassword()

    def verify_password(self, password: str) -> str:
        """Return the hash of the current password, or raise WrongPassword or TooManyFailures.

        Call this outside of a transaction that may be rolled back: a failed attempt counts.
        """
        Attempt.objects.begin_for_account(self.pk)
        if not self.check_password(password):
            AuditEvent.objects.record(Event.PASSWORD_CHANGE_FAIL, by=self, subject=self, reason="wrong_password")
            raise WrongPassword()
        Attempt.objects.clear_failures(user_id=self.pk, logins=[])
        return self.password

    def sign_out_everywhere(self, *, by: Principal | None = None) -> None:
        notice, row = Mail.Kind.SESSIONS_ENDED, User.objects.filter(pk=self.pk)
        if not self.revoke_access(row, event=Event.SESSION_END, by=by, notice=notice):
            raise AccountGone()

    def revoke_access(
        self,
        row: models.QuerySet["User"],
        *,
        event: AuditEvent.Event,
        by: Principal | None,
        notice: Mail.Kind | None = Mail.Kind.PASSWORD_CHANGED,
        keep_session: int | None = None,
        **values: Any,
    ) -> bool:
        """End all sessions except `keep_session`, all earlier tokens and a pending change of the address.

        Save `values` too. Return False if `row` does not exist. Notify the owner, unless it is only about sessions and
        there were none.
        """
        with transaction.atomic():
            next_epoch = models.F("epoch") + 1
            if not row.update(epoch=next_epoch, min_valid_epoch=next_epoch, pending_email=None, **values):
                return False
            self.refresh_from_db(fields=["epoch", "min_valid_epoch", *self.ADDRESS_FIELDS])
            ended, _ = self.sessions.exclude(pk=keep_session or 0).delete()
            self.password_tokens.all().delete()
            self.cancel_email_change()
            if notice and (ended or notice != Mail.Kind.SESSIONS_ENDED):
                self.notify(notice, by=by)
            AuditEvent.objects.record(event, by=by, subject=self, sessions_ended=ended)
            Change.objects.record(self.pk)
            return True

    def remove(self, *, by: Principal | None = None) -> None:
        """Delete the account, or raise AccountGone or LastAdmin."""
        with transaction.atomic():
            self.lock_with_admins()
            if self.is_admin and self.is_active:
                self.check_not_last_admin()
            user_id = self.pk
            AuditEvent.objects.record(Event.USER_DELETED, by=by, subject=self, role=self.role)
            self.delete()
            Change.objects.record(user_id)

    def lock(self) -> None:
        """Lock and reload this row, or raise AccountGone."""
        try:
            self.refresh_from_db(from_queryset=User.objects.select_for_update())
        except User.DoesNotExist as error:
            raise AccountGone() from error

    def lock_with_admins(self) -> None:
        """Lock and reload this row, and lock all admins, so that two admins who demote each other queue.

        Rows are locked in the order of their ids, so that there are no deadlocks.
        """
        rows = User.objects.filter(models.Q(pk=self.pk) | models.Q(role=User.Role.ADMIN))
        current = next((row for row in rows.order_by("pk").select_for_update() if row.pk == self.pk), None)
        if current is None:
            raise AccountGone()
        for field in self._meta.concrete_fields:
            setattr(self, field.attname, getattr(current, field.attname))

    def check_not_last_admin(self) -> None:
        if not User.objects.active_admins().exclude(pk=self.pk).exists():
            raise LastAdmin()
