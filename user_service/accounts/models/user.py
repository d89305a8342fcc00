"""Accounts and their sessions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from accounts.names import fold, validate_username


class NameTaken(Exception):
    """Another account has this `field`."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class AccountGone(Exception):
    """The account was deleted since it was read."""


class LastAdmin(Exception):
    """The change would leave no active admin."""


class UserManager(BaseUserManager["User"]):
    def register(self, *, username: str, email: str, password: str, role: str = "user") -> "User":
        """Make an account, or raise NameTaken."""
        user = self.model(username=username, email=email, role=role)
        user.set_password(password)
        with naming_what_is_taken():
            user.save(force_insert=True)
        return user

    def signing_in(self, *, login: str, password: str) -> "User | None":
        """Return the active account with this username or email and password.

        Unknown, wrong and inactive cost the same: one hash.
        """
        key = {"email_key": fold(login)} if "@" in login else {"username_key": fold(login)}
        user = self.filter(**key).first()
        if user is None:
            make_password(password)
            return None
        return user if user.check_password(password) and user.is_active else None

    def active_admins(self) -> models.QuerySet["User"]:
        return self.filter(role=User.Role.ADMIN, is_active=True)


class User(AbstractUser):
    class Role(models.TextChoices):
        ADMIN = "admin", "Admin"
        USER = "user", "User"

    first_name = None  # type: ignore[assignment]  # Django's way to drop a field of an abstract parent
    last_name = None  # type: ignore[assignment]
    username = models.CharField(max_length=64, validators=[validate_username])
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=5, choices=Role, default=Role.USER)
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
        with transaction.atomic(), naming_what_is_taken():
            self.lock_with_admins()
            changed = [name for name, value in values.items() if getattr(self, name) != value]
            was_active_admin = self.is_admin and self.is_active
            for name in changed:
                setattr(self, name, values[name])
            if was_active_admin and not (self.is_admin and self.is_active):
                self.refuse_if_last_admin()
            if changed:
                self.save(update_fields=[*changed, "username_key", "email_key"])
            if not self.is_active:
                self.sessions.all().delete()

    def remove(self) -> None:
        """Delete the account, or raise AccountGone or LastAdmin."""
        with transaction.atomic():
            self.lock_with_admins()
            if self.is_admin and self.is_active:
                self.refuse_if_last_admin()
            self.delete()

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


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self) -> Self:
        return self.filter(expires_at__gt=timezone.now(), user__is_active=True)

    def expired(self) -> Self:
        return self.filter(expires_at__lte=timezone.now())

    def open(self, user: User) -> "Session":
        """Begin a session, and forget this user's expired ones. Raise AccountGone if the user was deleted meanwhile."""
        user.sessions.expired().delete()
        now = timezone.now()
        try:
            return self.create(user=user, current_jti=uuid4().hex, rotated_at=now, expires_at=now + lifetime())
        except IntegrityError as error:
            raise AccountGone() from error

    def rotate(self, *, session_id: int, jti: str) -> bool:
        """Replace the refresh id `jti` by a fresh one. Of several callers with the same one, one gets True."""
        now = timezone.now()
        # No condition may reach into another table: Django would put all of them into a subquery, which PostgreSQL
        # does not look at again when it has waited for the row.
        claimed = self.filter(pk=session_id, current_jti=jti, expires_at__gt=now)
        return bool(
            claimed.update(
                current_jti=uuid4().hex,
                previous_jti=models.F("current_jti"),
                rotated_at=now,
                expires_at=now + lifetime(),
            )
        )


def lifetime() -> Any:
    return settings.SIMPLE_JWT["REFRESH_TOKEN_LIFETIME"]


class Session(models.Model):
    """One signing-in, kept alive by refresh tokens of which only the newest is good."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sessions")
    current_jti = models.CharField(max_length=32)
    previous_jti = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    rotated_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    objects: ClassVar[Any] = SessionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"session {self.pk} of user {self.user_id}"
