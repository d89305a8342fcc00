"""Ids in paths: one that is spelled otherwise than chassis.ids says is no such page."""

from django.urls import register_converter

from chassis.ids import PATTERN, parse_id


class IdConverter:
    regex = PATTERN

    def to_python(self, value: str) -> int:
        id_ = parse_id(value)
        if id_ is None:
            raise ValueError("larger than any id")  # Django takes it as: this pattern does not match
        return id_

    def to_url(self, value: int) -> str:
        return str(value)


def register() -> None:
    register_converter(IdConverter, "id")
