"""What is written by hand of an operation, and of all those of an app."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from rest_framework.serializers import Serializer

JSON = "application/json"
Schema = dict[str, Any]
Call = tuple[type, str]  # a view class and a method of it, such as "get"


class Kind(Enum):
    """What an object is described as: an answer, or the body of a request that makes, replaces or changes one."""

    ANSWER = auto()
    NEW = auto()
    PUT = auto()
    PATCH = auto()


@dataclass(frozen=True, slots=True)
class Shape:
    """The schema of an answer that no listed fields make."""

    name: str
    properties: dict[str, Schema]


@dataclass(frozen=True, slots=True)
class Body:
    """The JSON that a request brings. Who names the row in the body, where others do in the path, is `with_id`."""

    serializer: type[Serializer]
    example: dict[str, Any]
    kind: Kind = Kind.NEW
    with_id: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a success looks like; `headers` are those that the view sets itself.

    `of` is the serializer or shape of the answer, or of the rows of a page. Without it there is no body, or, if there
    is a `media_type`, a file.
    """

    of: type[Serializer] | Shape | None = None
    example: Any = None
    status: int = 200
    description: str = ""
    headers: tuple[str, ...] = ()
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    tag: str
    summary: str
    answer: Answer
    description: str = ""
    body: Body | None = None
    refusals: Mapping[int, str] = field(default_factory=dict)  # besides those that can be derived
    problems: Mapping[int, Shape] = field(default_factory=dict)  # members that some problems of a status have besides


@dataclass(frozen=True, slots=True)
class Chapter:
    """What an app tells of its endpoints. The order of tags and operations is that in which they are shown.

    `notes` describe fields of a serializer, or filters of a filter set.
    """

    tags: Mapping[str, str]
    operations: Mapping[Call, Operation]
    notes: Mapping[type, Mapping[str, str]] = field(default_factory=dict)
