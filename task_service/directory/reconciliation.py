"""Rebuilds the directory after a restore of the user service's database.

Its feed then has older states and lacks some accounts, so positions do not show which state is newer.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Self

from django.db.models.functions import Now

from chassis.database import long_statements
from directory import client
from directory.models import Feed, User
from directory.person import Person
from directory.signals import users_deleted

FEED_START = 0
PAGE_SECONDS = 10.0
STATE_FIELDS = ("email", "role", "is_active", "is_deleted", "epoch", "min_valid_epoch", "position")


@dataclass(frozen=True, slots=True)
class Differences:
    """The new content of the directory, and its differences from the old. Accounts are (id, name)."""

    people: list[Person]  # all accounts of the user service, and deletion marks for those that it no longer has
    position: int  # the end of the feed
    gone: list[tuple[int, str]]
    returned: list[tuple[int, str]]
    renamed: list[tuple[int, str, str]]  # the name here, the name there
    orphans: list[int]  # other required ids without an account there

    @classmethod
    def find(cls, *, required_ids: Collection[int]) -> Self:
        """Compare, or raise client.DirectoryUnavailable. `required_ids` must belong to existing accounts.

        Reads the directory before the feed, so that an account created in between is not missing from the feed.
        """
        known: dict[int, User] = User.objects.in_bulk()
        people, position = read_whole_feed()
        marks = [Person.deleted(user.pk, max(user.position, 1)) for user in known.values() if user.pk not in people]
        there = people | {mark.id: mark for mark in marks}
        both = [(user, there[user.pk]) for user in known.values()]
        present = [(user, person) for user, person in both if not person.is_deleted]
        gone = [(user.pk, user.username) for user, person in both if person.is_deleted and not user.is_deleted]
        existing = {person.id for person in people.values() if not person.is_deleted}
        return cls(
            people=list(there.values()),
            position=position,
            gone=gone,
            returned=[(u.pk, u.username) for u, _ in present if u.is_deleted],
            renamed=[(u.pk, u.username, p.username) for u, p in present if u.username != p.username],
            orphans=sorted(set(required_ids) - existing - dict(gone).keys()),
        )

    @long_statements()
    def apply(self) -> None:
        """Store the state of the user service. Deleted and unknown accounts lose their tasks."""
        store((person for person in self.people if not person.is_deleted), ("username", *STATE_FIELDS))
        store((person for person in self.people if person.is_deleted), STATE_FIELDS)  # a deleted account keeps its name
        read = {"position": self.position, "tried_at": Now(), "pulled_at": Now()}
        Feed.objects.update_or_create(pk=1, defaults=read)
        if lost := [*(user_id for user_id, _ in self.gone), *self.orphans]:
            users_deleted.send(User, user_ids=lost)


def read_whole_feed() -> tuple[dict[int, Person], int]:
    """Return the accounts by id, and the position at the end of the feed."""
    people: dict[int, Person] = {}
    after, more = FEED_START, True
    while more:
        page = client.changes(after, seconds=PAGE_SECONDS)
        people |= {person.id: person for person in page.people}
        after, more = page.next_after, page.more
    return people, after


def store(people: Iterable[Person], fields: Collection[str]) -> None:
    rows = [User(**asdict(person)) for person in sorted(people, key=lambda person: person.id)]
    User.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=fields, batch_size=1000)
