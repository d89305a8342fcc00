"""Rebuilds the directory when positions alone do not show which state is newer.

After a restore of the user service's database, its feed has older states and lacks some accounts.
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

WHOLE_FEED_FROM = 0
PART_SECONDS = 10.0
FACTS = ("email", "role", "is_active", "is_deleted", "epoch", "least_epoch", "position")


@dataclass(frozen=True, slots=True)
class Differences:
    """The new content of the directory, and notable differences. Accounts are (id, name)."""

    people: list[Person]  # all accounts of the user service, and deletion marks for those that it no longer has
    position: int  # the end of the feed
    gone: list[tuple[int, str]]
    returned: list[tuple[int, str]]
    renamed: list[tuple[int, str, str]]  # the name here, the name there
    orphans: list[int]  # other ids in use here that belong to no account there

    @classmethod
    def found(cls, *, relied_on: Collection[int]) -> Self:
        """Compare, or raise client.DirectoryUnavailable. `relied_on` are ids that must belong to existing accounts.

        The directory is read before the feed: an account created in between is then in the feed and not missing.
        """
        known: dict[int, User] = User.objects.in_bulk()
        people, position = whole_feed()
        marks = [Person.deleted(user.pk, max(user.position, 1)) for user in known.values() if user.pk not in people]
        there = people | {mark.id: mark for mark in marks}
        both = [(user, there[user.pk]) for user in known.values()]
        stayed = [(user, person) for user, person in both if not person.is_deleted]
        gone = [(user.pk, user.username) for user, person in both if person.is_deleted and not user.is_deleted]
        living = {person.id for person in people.values() if not person.is_deleted}
        return cls(
            people=list(there.values()),
            position=position,
            gone=gone,
            returned=[(u.pk, u.username) for u, _ in stayed if u.is_deleted],
            renamed=[(u.pk, u.username, p.username) for u, p in stayed if u.username != p.username],
            orphans=sorted(set(relied_on) - living - dict(gone).keys()),
        )

    @long_statements()
    def settle(self) -> None:
        """Store the state of the user service. Deleted and unknown accounts lose their tasks."""
        store((it for it in self.people if not it.is_deleted), ("username", *FACTS))
        store((it for it in self.people if it.is_deleted), FACTS)  # a deleted account keeps its name
        read = {"position": self.position, "tried_at": Now(), "pulled_at": Now()}
        Feed.objects.update_or_create(pk=1, defaults=read)
        if lost := [*(user_id for user_id, _ in self.gone), *self.orphans]:
            users_deleted.send(User, user_ids=lost)


def whole_feed() -> tuple[dict[int, Person], int]:
    """Return the accounts by id, and the position at the end of the feed."""
    people: dict[int, Person] = {}
    after, more = WHOLE_FEED_FROM, True
    while more:
        page = client.changes(after, seconds=PART_SECONDS)
        people |= {person.id: person for person in page.people}
        after, more = page.next_after, page.more
    return people, after


def store(people: Iterable[Person], fields: Collection[str]) -> None:
    rows = [User(**asdict(person)) for person in sorted(people, key=lambda person: person.id)]
    User.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=fields, batch_size=1000)
