"""Accounts: the one way each changes, and what stands against a change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import IntegrityError, models, transaction

from accounts.models.attempt import Attempt
from accounts.models.change import Change
from accounts.names import fold, validate_username


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
    def register(self, *, username: str, email: str, password: str | None, role: str = "user") -> "User":
        """Make an account, or raise NameTaken. Without a password nobody can sign in to it yet."""
        user = self.model(username=username, email=email, role=role)
        user.set_password(password)
        with naming_what_is_taken():
            user.save(force_insert=True)
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
        """Save what differs. Raise NameTaken, AccountGone, or LastAdmin where no active admin would be left."""
        with naming_what_is_taken():
            self.lock_with_admins()
            changed = [name for name, value in values.items() if getattr(self, name) != value]
            was_active_admin = self.is_admin and self.is_active
            for name in changed:
                setattr(self, name, values[name])
            if was_active_admin and not (self.is_admin and self.is_active):
                self.refuse_if_last_admin()
            if {"role", "is_active"} & set(changed):
                self.epoch += 1
            if "is_active" in changed:
                self.least_epoch = self.epoch
            if changed:
                self.save(update_fields=[*changed, "username_key", "email_key", "epoch", "least_epoch"])
                Change.objects.record(self.pk)
            if not self.is_active:
                self.sessions.all().delete()
            if "email" in changed:
                self.password_tokens.all().delete()  # they went to an address that is another's now

    def change_password(self, *, current: str, new: str, keep_session: int | None) -> None:
        """Set another password and end every session but one.

        Raise WrongPassword, AccountGone, or TooManyFailures, since here too somebody may be guessing.
        """
        attempt = Attempt.objects.begin(login=self.username_key, user_id=self.pk)
        if not self.check_password(current):
            raise WrongPassword()
        attempt.succeeded()
        checked = self.password
        self.set_password(new)
        unchanged = User.objects.filter(pk=self.pk, password=checked)  # of two changes at once one is made
        if not self.end_rights(unchanged, keep_session=keep_session, password=self.password):
            raise WrongPassword()

    def sign_out_everywhere(self) -> None:
        if not self.end_rights(User.objects.filter(pk=self.pk)):
            raise AccountGone()

    def end_rights(self, row: models.QuerySet["User"], *, keep_session: int | None = None, **values: Any) -> bool:
        """End the sessions, but for one, and all tokens made before; save `values` with that, if `row` is there."""
        with transaction.atomic():
            next_epoch = models.F("epoch") + 1
            if not row.update(epoch=next_epoch, least_epoch=next_epoch, **values):
                return False
            self.sessions.exclude(pk=keep_session or 0).delete()
            self.password_tokens.all().delete()
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

    def lock_with_admins(self) -> None:
        """Read this row afresh under a lock, with every admin's: two admins who demote each other must queue.

        Rows are locked in the order of their ids, so that no two changes wait for each other.
        """
        rows = User.objects.filter(models.Q(pk=self.pk) | models.Q(role=User.Role.ADMIN))
        list(rows.order_by("pk").select_for_update().values_list("pk"))
        try:
            self.refresh_from_db()
        except User.DoesNotExist as error:
            raise AccountGone() from error

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
