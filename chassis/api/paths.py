"""Ids in paths: any other spelling than that of chassis.ids is a 404."""

from django.urls import register_converter

from chassis.ids import PATTERN, parse_id


class IdConverter:
    regex = PATTERN

    def to_python(self, value: str) -> int:
        id_ = parse_id(value)
        if id_ is None:
            raise ValueError("larger than any id")  # Django treats it as no match
        return id_

    def to_url(self, value: int) -> str:
        return str(value)


def register() -> None:
    register_converter(IdConverter, "id")
