"""The one spelling of an id in a path: ASCII digits, no leading zero, at most 2^63 - 1. Any other is no such page."""

from django.urls import register_converter

from chassis.tokens import LARGEST_ID


class IdConverter:
    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        if int(value) > LARGEST_ID:
            raise ValueError("larger than any id")  # Django takes it as: this pattern does not match
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


def register() -> None:
    register_converter(IdConverter, "id")
