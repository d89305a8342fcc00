"""Making the directory what the user service says, where positions alone do not tell what is newer.

After a restore of the user service's database its feed tells of earlier times, and of some accounts not at all.
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
    """What the directory has to become, and what is striking about it. Accounts are told by (id, name)."""

    people: list[Person]  # all that the user service tells of, and marks of those that it does not know any more
    position: int  # the end of the feed
    gone: list[tuple[int, str]]
    returned: list[tuple[int, str]]
    renamed: list[tuple[int, str, str]]  # the name here, the name there
    orphans: list[int]  # others who are relied on here and are nobody's ids there

    @classmethod
    def found(cls, *, relied_on: Collection[int]) -> Self:
        """Compare, or raise client.DirectoryUnavailable. `relied_on` are ids that must be those of living accounts.

        What is known here is read first: an account that is made meanwhile is in the feed, but would not be missed.
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
        """Believe the user service in everything. Who is gone, or was nobody, loses what was assigned to them."""
        store((it for it in self.people if not it.is_deleted), ("username", *FACTS))
        store((it for it in self.people if it.is_deleted), FACTS)  # a deleted account keeps its name
        read = {"position": self.position, "tried_at": Now(), "pulled_at": Now()}
        Feed.objects.update_or_create(pk=1, defaults=read)
        if lost := [*(user_id for user_id, _ in self.gone), *self.orphans]:
            users_deleted.send(User, user_ids=lost)


def whole_feed() -> tuple[dict[int, Person], int]:
    """Return the accounts by id, and the position at which the feed ends."""
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
