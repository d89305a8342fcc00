"""Accounts: the one way each changes, and what stands against a change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import IntegrityError, models, transaction

from accounts.models.attempt import Attempt
from accounts.models.change import Change
from accounts.models.mail import Mail
from accounts.names import fold, validate_username

# What is saved with every change: it follows from other fields.
DERIVED = ("username_key", "email_key", "epoch", "least_epoch", "email_confirmed", "pending_email")
NOTICES = {"username": Mail.Kind.USERNAME_CHANGED, "email": Mail.Kind.EMAIL_CHANGED}


class NameTaken(Exception):
    """Another account has this `field`."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class AccountGone(Exception):
    """There is no such account, or none any more, or not for whoever asks."""


class WrongPassword(Exception):
    """The current password is another."""


class LastAdmin(Exception):
    """The change would leave no active admin."""


class UserManager(BaseUserManager["User"]):
    def register(
        self, *, username: str, email: str, password: str | None, role: str = "user", email_confirmed: bool = True
    ) -> "User":
        """Make an account, or raise NameTaken. Without a password nobody can sign in to it yet."""
        user = self.model(username=username, email=email, role=role, email_confirmed=email_confirmed)
        user.set_password(password)
        with naming_what_is_taken():
            user.save(force_insert=True)
            if not email_confirmed:
                Mail.objects.plan_to(Mail.Kind.EMAIL_CONFIRMATION, user, email)
            Change.objects.record(user.pk)
        return user

    def signing_in(self, *, login: str, password: str) -> "User":
        """Return the active account with this username or email and password.

        Raise AccountGone for an unknown name, a wrong password and an inactive account alike, after one hash each, or
        TooManyFailures before any.
        """
        key = {"email_key": fold(login)} if "@" in login else {"username_key": fold(login)}
        user = self.filter(**key).first()
        attempt = Attempt.objects.begin(login=fold(login), user_id=user.pk if user else None)
        if user is None:
            make_password(password)
            raise AccountGone()
        if not (user.check_password(password) and user.is_active):
            raise AccountGone()
        attempt.succeeded()
        return user

    def active_admins(self) -> models.QuerySet["User"]:
        return self.filter(role=User.Role.ADMIN, is_active=True)


class User(AbstractUser):
    class Role(models.TextChoices):
        ADMIN = "admin", "Admin"
        USER = "user", "User"

    # None is Django's way to drop a field of an abstract parent. There is one privilege here, and that is the role.
    first_name = last_name = is_staff = is_superuser = groups = user_permissions = None  # type: ignore[assignment]
    username = models.CharField(max_length=64, validators=[validate_username])
    email = models.EmailField(max_length=254)
    # Whether its owner has shown to read the mails to it, or an admin has vouched for it.
    email_confirmed = models.BooleanField(default=True, db_default=True)
    # What becomes the address of the account when it is confirmed.
    pending_email = models.EmailField(max_length=254, null=True)  # noqa: DJ001  # the API says null too
    role = models.CharField(max_length=5, choices=Role, default=Role.USER)
    # Counts what changes the rights of access tokens: another role, activity or password, signing out everywhere.
    epoch = models.PositiveIntegerField(default=0, editable=False)
    # Access tokens of an earlier epoch are refused. After a change of role alone they stay good, with the new role.
    least_epoch = models.PositiveIntegerField(default=0, editable=False)
    # What must be unique: "Bob" and "bob" are one name.
    username_key = models.TextField(editable=False)
    email_key = models.TextField(editable=False)

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
        self.username_key, self.email_key = fold(self.username), fold(self.email)
        super().save(**kwargs)

    @property
    def is_admin(self) -> bool:
        return self.role == self.Role.ADMIN

    def change(self, **values: Any) -> None:
        """Save what an admin changes; an address given by an admin counts as confirmed.

        Raise NameTaken, AccountGone, or LastAdmin where no active admin would be left.
        """
        with naming_what_is_taken():
            self.lock_with_admins()
            changed = [name for name, value in values.items() if getattr(self, name) != value]
            was_active_admin = self.is_admin and self.is_active
            for name in changed:
                self.notify_of(name)
                setattr(self, name, values[name])
            if was_active_admin and not (self.is_admin and self.is_active):
                self.refuse_if_last_admin()
            if {"role", "is_active"} & set(changed):
                self.epoch += 1
            if "is_active" in changed:
                self.least_epoch = self.epoch
            if not self.is_active:
                self.sessions.all().delete()
            if "email" in changed:
                self.email_confirmed = True
            if "email" in changed or not self.is_active:
                self.end_mailed_tokens()
            if changed:
                self.save(update_fields=[*changed, *DERIVED])
                Change.objects.record(self.pk)

    def differs_in(self, values: Mapping[str, Any]) -> bool:
        """Say whether these values would change how one signs in."""
        return any(name in values and values[name] != getattr(self, name) for name in ("username", "email"))

    def change_own(self, *, verified: str | None, **values: str) -> None:
        """Change one's own username at once; another email is pending until it is confirmed.

        `verified` is what verify_password returned. Raise WrongPassword if the password has been replaced since, and
        NameTaken or AccountGone.
        """
        with naming_what_is_taken():
            self.lock()
            changed = {name: value for name, value in values.items() if getattr(self, name) != value}
            if not changed:
                return
            if not self.is_active:
                raise AccountGone()
            if self.password != verified:
                raise WrongPassword()
            if "username" in changed:
                self.notify_of("username")
                self.username = changed["username"]
            if "email" in changed:
                self.request_email(changed["email"])
            self.save(update_fields=["username", *DERIVED])
            Change.objects.record(self.pk)

    def request_email(self, address: str) -> None:
        """Keep another address until it is confirmed, and tell both. Call it under the row's lock."""
        if User.objects.exclude(pk=self.pk).filter(email_key=fold(address)).exists():
            raise NameTaken("email")
        self.cancel_email_change()
        self.pending_email = address
        Mail.objects.plan_to(Mail.Kind.EMAIL_CONFIRMATION, self, address)
        self.notify(Mail.Kind.EMAIL_CHANGE_REQUESTED)

    def confirm_email(self, address: str) -> bool:
        """Make a pending address the account's, or note that the account's own is confirmed.

        Return False if it is neither. Call it under the row's lock.
        """
        if not self.has_to_confirm(address):
            return False
        if address == self.pending_email:
            self.notify_of("email")
            self.email = address
            self.end_mailed_tokens()  # among them reset tokens that were mailed to the old address
        self.email_confirmed = True
        self.email_tokens.filter(email=address).delete()
        self.save(update_fields=["email", *DERIVED])
        Change.objects.record(self.pk)
        return True

    def has_to_confirm(self, address: str) -> bool:
        return address == self.pending_email or (address == self.email and not self.email_confirmed)

    def address_to_confirm(self) -> str | None:
        return self.pending_email or (None if self.email_confirmed else self.email)

    def notify_of(self, field: str) -> None:
        if field in NOTICES:
            self.notify(NOTICES[field])

    def notify(self, kind: Mail.Kind) -> None:
        """Tell the present address, if it is known to be the owner's: a stranger's inbox is left alone."""
        if self.email_confirmed:
            Mail.objects.plan_to(kind, self, self.email)

    def cancel_email_change(self) -> None:
        self.pending_email = None
        self.email_tokens.exclude(email=self.email).delete()

    def end_mailed_tokens(self) -> None:
        """End all that was ever mailed, since the address is another's now or the account is deactivated."""
        self.pending_email = None
        self.email_tokens.all().delete()
        self.password_tokens.all().delete()

    def change_password(self, *, current: str, new: str, keep_session: int | None) -> None:
        """Set another password and end every session but one.

        Raise WrongPassword, AccountGone, or TooManyFailures, since here too somebody may be guessing.
        """
        checked = self.verify_password(current)
        self.set_password(new)
        unchanged = User.objects.filter(pk=self.pk, password=checked)  # of two changes at once one is made
        if not self.end_rights(unchanged, keep_session=keep_session, password=self.password):
            raise WrongPassword()

    def verify_password(self, password: str) -> str:
        """Return the hash of the current password, or raise WrongPassword or TooManyFailures.

        Call it outside of a transaction that may be rolled back: a failed attempt counts.
        """
        attempt = Attempt.objects.begin(login=self.username_key, user_id=self.pk)
        if not self.check_password(password):
            raise WrongPassword()
        attempt.succeeded()
        return self.password

    def sign_out_everywhere(self) -> None:
        if not self.end_rights(User.objects.filter(pk=self.pk)):
            raise AccountGone()

    def end_rights(self, row: models.QuerySet["User"], *, keep_session: int | None = None, **values: Any) -> bool:
        """End the sessions, but for one, all tokens made before and a pending change of the address.

        Save `values` with that, if `row` is there.
        """
        with transaction.atomic():
            next_epoch = models.F("epoch") + 1
            if not row.update(epoch=next_epoch, least_epoch=next_epoch, pending_email=None, **values):
                return False
            self.sessions.exclude(pk=keep_session or 0).delete()
            self.password_tokens.all().delete()
            self.cancel_email_change()
            Change.objects.record(self.pk)
            return True

    def remove(self) -> None:
        """Delete the account, or raise AccountGone or LastAdmin."""
        with transaction.atomic():
            self.lock_with_admins()
            if self.is_admin and self.is_active:
                self.refuse_if_last_admin()
            user_id = self.pk
            self.delete()
            Change.objects.record(user_id)

    def lock(self) -> None:
        """Read this row again under a lock, or raise AccountGone."""
        try:
            self.refresh_from_db(from_queryset=User.objects.select_for_update())
        except User.DoesNotExist as error:
            raise AccountGone() from error

    def lock_with_admins(self) -> None:
        """Read this row afresh under a lock, with every admin's: two admins who demote each other must queue.

        Rows are locked in the order of their ids, so that no two changes wait for each other.
        """
        rows = User.objects.filter(models.Q(pk=self.pk) | models.Q(role=User.Role.ADMIN))
        list(rows.order_by("pk").select_for_update().values_list("pk"))
        self.lock()

    def refuse_if_last_admin(self) -> None:
        if not User.objects.active_admins().exclude(pk=self.pk).exists():
            raise LastAdmin()


@contextmanager
def naming_what_is_taken() -> Iterator[None]:
    """Turn the database's word that a name is taken into NameTaken: a look beforehand would lose the race."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        for field in ("username", "email"):
            if f"{field}_is_taken" in str(error):
                raise NameTaken(field) from error
        raise
