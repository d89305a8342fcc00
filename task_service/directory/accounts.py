"""Looks up accounts in the directory and, if that is not enough, in the user service."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet

from chassis.auth.limits import CallerQuery, CountedRequest
from chassis.auth.tokens import Caller
from chassis.compiled_query import CompiledQuery, parameter
from directory import client, feed
from directory.models import User


class UnknownUser(Exception):
    """The account does not exist or was deleted."""


class InactiveUser(Exception):
    """The account is deactivated, or its token is no longer valid."""


USER = CompiledQuery(lambda: User.objects.filter(pk=parameter("id")))
LOCKED_USER = CompiledQuery(lambda: User.objects.select_for_update(no_key=True).filter(pk=parameter("id")))


def known_account() -> QuerySet[Any, Any]:
    epoch = parameter("epoch")
    is_current = ExpressionWrapper(Q(is_active=True, min_valid_epoch__lte=epoch, epoch__gte=epoch), BooleanField())
    account: QuerySet[Any, Any] = User.objects.with_feed_state().filter(pk=parameter("user_id"))
    return account.values("username", "role", "feed_is_stale", caller_id=F("id"), is_current=is_current)


CALLER = CallerQuery(known_account)


def resolve_caller(caller: Caller) -> tuple[Caller, CountedRequest | None]:
    """Return the caller with the current name and role, or raise UnknownUser, InactiveUser or DirectoryUnavailable.

    The same statement counts the request if the directory is enough to accept the token.
    """
    row, counted = CALLER.run(user_id=caller.id, epoch=caller.epoch)
    has_pulled = row is not None and row["feed_is_stale"] and feed.pull_if_stale()
    if row is not None and row["is_current"] and not has_pulled:
        return replace(caller, username=row["username"], role=row["role"]), counted
    return recheck_caller(caller), counted


def recheck_caller(caller: Caller) -> Caller:
    """Return the current caller if the directory rejects the token or does not have the account.

    If the token is newer than the directory, the account is fetched. If the user service does not respond, the token is
    accepted: nothing newer is known.
    """
    user = User.objects.filter(pk=caller.id).first()
    if user is None:
        user = fetch_user(caller.id, asked_by=caller.id)
    elif user.epoch < caller.epoch and not user.is_deleted:
        try:
            user = fetch_user(caller.id, asked_by=caller.id)
        except client.DirectoryUnavailable:
            return caller
    if not user.is_active or caller.epoch < user.min_valid_epoch:
        raise InactiveUser()
    return replace(caller, username=user.username, role=user.role)


def require_assignable(user_id: int, *, asked_by: int) -> None:
    """Check that tasks can be assigned to the account, or raise UnknownUser, InactiveUser or DirectoryUnavailable.

    An account that is missing in the directory, or inactive but not deleted, is fetched.
    """
    user = find_user(USER, user_id)
    if user is None or not (user.is_active or user.is_deleted):
        user = fetch_user(user_id, asked_by=asked_by)
    if user.is_deleted:
        raise UnknownUser()
    if not user.is_active:
        raise InactiveUser()


def find_ids_by_username(names: Collection[str]) -> set[int]:
    """Return the ids of the undeleted accounts in the directory that have these usernames."""
    return set(User.objects.named(names).values_list("pk", flat=True))


def find_id_by_username(name: str) -> int:
    """Return the id of the undeleted account with this username, or raise UnknownUser or DirectoryUnavailable.

    If the directory does not have it, the rest of the feed is read first: the account may be new.
    """
    accounts = User.objects.named([name])
    user = accounts.first()
    if user is None:
        feed.catch_up()
        user = accounts.first()
    if user is None:
        raise UnknownUser()
    return int(user.pk)


def find_user(query: CompiledQuery, user_id: int) -> User | None:
    row = query.first(id=user_id)
    values: Any = row and row.values()  # in the order of the model's fields
    return User(*values) if values else None


def fetch_user(user_id: int, *, asked_by: int) -> User:
    person = client.look_up(user_id, asked_by=asked_by)
    if person is None:
        raise UnknownUser()
    User.objects.upsert([person])
    return User.objects.get(pk=user_id)


def lock_user(user_id: int | None) -> User | None:
    """Return the account, locked so that it cannot be marked as deleted during this transaction.

    Raise UnknownUser if it is deleted already. Return None if it is not in the directory: a task older than the
    directory may keep its assignee.
    """
    user = find_user(LOCKED_USER, user_id) if user_id else None
    if user is not None and user.is_deleted:
        raise UnknownUser()
    return user
