"""An account as the user service sends it."""

from dataclasses import dataclass
from typing import Any, Self

from chassis.auth.tokens import ROLES
from chassis.ids import MAX_ID

EMPTY = {"username": "", "email": "", "role": "user", "is_active": False, "epoch": 0, "min_valid_epoch": 0}


@dataclass(frozen=True, slots=True)
class Person:
    """An account at a position of the change feed. A higher position is newer."""

    id: int
    username: str
    email: str
    role: str
    is_active: bool
    is_deleted: bool
    epoch: int
    min_valid_epoch: int
    position: int

    @classmethod
    def from_row(cls, row: dict[str, Any], **more: Any) -> Self:
        """Take the known fields; a newer user service may send more.

        Raises KeyError, TypeError or ValueError for an invalid row.
        """
        values = row | {"is_deleted": False} | more
        if "least_epoch" in values:  # the name in the previous version
            values = {"min_valid_epoch": values["least_epoch"]} | values
        person = cls(**{name: values[name] for name in cls.__annotations__})
        for name, kind in cls.__annotations__.items():
            if type(getattr(person, name)) is not kind:
                raise TypeError(f"{name} is not a {kind.__name__}")
        person.validate()
        return person

    @classmethod
    def deleted(cls, id_: int, position: int) -> Self:
        return cls.from_row(EMPTY, id=id_, position=position, is_deleted=True)

    def validate(self) -> None:
        numbers = (self.id - 1, self.position - 1, self.epoch, self.min_valid_epoch)
        if not all(0 <= number < MAX_ID for number in numbers):
            raise ValueError("a number is out of range")
        if self.role not in ROLES:
            raise ValueError("the role is unknown")
        if not self.username and not self.is_deleted:
            raise ValueError("the username is empty")
