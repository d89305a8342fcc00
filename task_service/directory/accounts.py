"""What the task service may rely on about an account: its own copy, and the user service where that is not enough."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet

from chassis.auth.limits import CallerQuery, Counted, parameter
from chassis.auth.tokens import Caller
from directory import client, feed
from directory.models import User


class UnknownUser(Exception):
    """There is no account with this id, or none any more."""


class InactiveUser(Exception):
    """The account is not active, or not any more with this token."""


def known_account() -> QuerySet[Any, Any]:
    epoch = parameter("epoch")
    is_current = ExpressionWrapper(Q(is_active=True, least_epoch__lte=epoch, epoch__gte=epoch), BooleanField())
    account: QuerySet[Any, Any] = User.objects.with_feed_state().filter(pk=parameter("user_id"))
    return account.values("username", "role", "feed_is_stale", caller_id=F("id"), is_current=is_current)


CALLER = CallerQuery(known_account)


def resolve_caller(caller: Caller) -> tuple[Caller, Counted | None]:
    """Return the caller with the current name and role, or raise UnknownUser, InactiveUser or DirectoryUnavailable.

    The same statement counts the request if the directory alone shows that the token is good.
    """
    row, counted = CALLER.run(user_id=caller.id, epoch=caller.epoch)
    news = row is not None and row["feed_is_stale"] and feed.pull_if_stale()
    if row is not None and row["is_current"] and not news:
        return replace(caller, username=row["username"], role=row["role"]), counted
    return judged(caller), counted


def judged(caller: Caller) -> Caller:
    """Return the caller as of now, where the directory has something against the token, or does not know the account.

    A token that is newer than the directory makes it look the account up. Where nobody answers then, the token is the
    latest that is known.
    """
    user = User.objects.filter(pk=caller.id).first()
    if user is None:
        user = looked_up(caller.id, asked_by=caller.id)
    elif user.epoch < caller.epoch and not user.is_deleted:
        try:
            user = looked_up(caller.id, asked_by=caller.id)
        except client.DirectoryUnavailable:
            return caller
    if not user.is_active or caller.epoch < user.least_epoch:
        raise InactiveUser()
    return replace(caller, username=user.username, role=user.role)


def vouch_for(user_id: int, *, asked_by: int) -> None:
    """Find that tasks can be assigned to the account, or raise UnknownUser, InactiveUser or DirectoryUnavailable.

    A good word of the directory is enough. What stands against somebody in it is looked up, but for a deletion.
    """
    user = User.objects.filter(pk=user_id).first()
    if user is None or not (user.is_active or user.is_deleted):
        user = looked_up(user_id, asked_by=asked_by)
    if user.is_deleted:
        raise UnknownUser()
    if not user.is_active:
        raise InactiveUser()


def ids_of(names: Collection[str]) -> set[int]:
    """Return the ids of the living accounts with these names that the directory knows."""
    return set(User.objects.named(names).values_list("pk", flat=True))


def find_named(name: str) -> int:
    """Return the id of the living account with this name, or raise UnknownUser or DirectoryUnavailable.

    The name may be younger than the directory, so one that is not in it is looked for at the end of the feed.
    """
    accounts = User.objects.named([name])
    user = accounts.first()
    if user is None:
        feed.catch_up()
        user = accounts.first()
    if user is None:
        raise UnknownUser()
    return int(user.pk)


def looked_up(user_id: int, *, asked_by: int) -> User:
    person = client.look_up(user_id, asked_by=asked_by)
    if person is None:
        raise UnknownUser()
    User.objects.learn([person])
    return User.objects.get(pk=user_id)


def hold(user_id: int | None) -> User | None:
    """Return the account and keep it from being marked as deleted until this transaction ends.

    Raises UnknownUser if it is already. One that is not in the directory is let pass: a task that came before the
    directory may keep its assignee.
    """
    user: User | None = User.objects.select_for_update(no_key=True).filter(pk=user_id).first() if user_id else None
    if user is not None and user.is_deleted:
        raise UnknownUser()
    return user
