"""Serializer fields that accept one type each and reject text that cannot be stored or displayed."""

import datetime
import re
import unicodedata
from collections import Counter
from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from chassis.hidden_characters import CONTROL_WHITESPACE, FORBIDDEN_IN_TEXT, first_hidden
from chassis.ids import MAX_ID

MAX_CHOICE_LENGTH = 100  # longer than any choice
MAX_SECRET_BYTES = 1024  # the cost of hashing grows with the length
MIN_DATE, MAX_DATE = datetime.date(2000, 1, 1), datetime.date(2100, 12, 31)
UNUSUAL_LINE_END = re.compile("[\x0b\x0c\x85]")
WHITESPACE = re.compile(r"[^\S\x1c-\x1f]+")  # \x1c to \x1f are whitespace to Python only
# Separators, controls, formats and marks. Not "Cn": a character newer than this Python's tables may be visible.
INVISIBLE = {"Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Mc", "Me"}
# Letters and symbols without ink: Hangul fillers and the blank Braille pattern.
BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"


class CappedField(serializers.CharField):
    """A JSON string whose length is checked first, because not all later checks are linear."""

    default_error_messages = {"invalid": "Must be a string."}

    def run_validation(self, data: Any = empty) -> Any:
        if isinstance(data, str):
            self.check_length(data)
        elif data is not empty and data is not None:  # CharField would turn numbers and booleans into text
            self.fail("invalid")
        return super().run_validation(data)

    def check_length(self, text: str) -> None:
        if self.max_length is not None and len(text) > self.max_length:
            self.fail("max_length", max_length=self.max_length)


def single_line(text: str) -> str:
    """Replace each run of whitespace that contains a tab, a line break or a page break with one space."""
    return WHITESPACE.sub(lambda run: " " if CONTROL_WHITESPACE.search(run[0]) else run[0], text)


class StringField(CappedField):
    """A JSON string, stored as sent, except that vertical tab, form feed and next line become a line feed."""

    default_error_messages = {
        "control": "Must not contain control or text-direction characters (U+{code:04X} at position {position}).",
        "hidden": "Must not contain invisible characters (U+{code:04X} at position {position}).",
    }

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        value = UNUSUAL_LINE_END.sub("\n", super().to_internal_value(data))
        self.fail_if_found(FORBIDDEN_IN_TEXT.search(value), "control")
        self.fail_if_found(first_hidden(value), "hidden")
        return value

    def fail_if_found(self, found: re.Match[str] | None, key: str) -> None:
        if found:
            self.fail(key, code=ord(found.group()), position=found.start() + 1)


class SingleLineField(StringField):
    """One line of visible text. Surrounding whitespace is stripped; see single_line."""

    default_error_messages = {"blank": "Must contain at least one visible character."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=True, **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        return super().run_validation(single_line(data) if isinstance(data, str) else data)

    def check_length(self, text: str) -> None:
        super().check_length(text.strip())

    def to_internal_value(self, data: Any) -> str:
        # Before stripping: str.strip() treats some control characters as whitespace.
        self.fail_if_found(FORBIDDEN_IN_TEXT.search(data), "control")
        value = super().to_internal_value(data)
        if not any(is_visible(character) for character in value):
            self.fail("blank")
        return value


def is_visible(character: str) -> bool:
    return unicodedata.category(character) not in INVISIBLE and character not in BLANK_LETTERS


class SecretField(CappedField):
    """A password: any string up to MAX_SECRET_BYTES, verified exactly as sent (ASVS 5.0, 6.2.8) and never returned."""

    default_error_messages = {"max_length": "Must be at most {max_length} bytes in UTF-8."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, write_only=True, max_length=MAX_SECRET_BYTES, **kwargs)

    def check_length(self, text: str) -> None:
        super().check_length(text)
        if len(text.encode(errors="surrogatepass")) > MAX_SECRET_BYTES:
            self.fail("max_length", max_length=MAX_SECRET_BYTES)


def is_id(data: Any) -> bool:
    return type(data) is int and 1 <= data <= MAX_ID  # a bool is an int too


class IdField(serializers.Field):
    """The id of a row: a whole JSON number from 1 to 2^63 - 1."""

    default_error_messages = {"invalid": "Must be an id: a whole number from 1 to 9223372036854775807."}

    def to_internal_value(self, data: Any) -> int:
        if not is_id(data):
            self.fail("invalid")
        return int(data)

    def to_representation(self, value: int) -> int:
        return value


class IdsField(serializers.Field):
    """A list of distinct row ids."""

    default_error_messages = {
        "invalid": "Must be a list of 1 to {max_ids} ids.",
        "invalid_id": "Must contain only ids: whole numbers from 1 to 9223372036854775807.",
        "repeated": "Must not repeat ids; {id} appears twice.",
    }

    def __init__(self, *, max_ids: int, **kwargs: Any) -> None:
        self.max_ids = max_ids
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> list[int]:
        if not isinstance(data, list) or not 1 <= len(data) <= self.max_ids:
            self.fail("invalid", max_ids=self.max_ids)
        if not all(is_id(item) for item in data):
            self.fail("invalid_id")
        if twice := [id_ for id_, count in Counter(data).items() if count > 1]:
            self.fail("repeated", id=twice[0])
        return data

    def to_representation(self, value: list[int]) -> list[int]:
        return value


class StrictBooleanField(serializers.Field):
    default_error_messages = {"invalid": "Must be true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data

    def to_representation(self, value: bool) -> bool:
        return value


class DateField(serializers.Field):
    """A calendar date as YYYY-MM-DD (RFC 3339 full-date), from MIN_DATE to MAX_DATE."""

    default_error_messages = {"invalid": "{reason}"}

    def to_internal_value(self, data: Any) -> datetime.date:
        try:
            return parse_date(data)
        except ValueError as error:
            self.fail("invalid", reason=str(error))

    def to_representation(self, value: datetime.date) -> str:
        return value.isoformat()


def parse_date(text: Any) -> datetime.date:
    """Parse YYYY-MM-DD in ASCII digits, from MIN_DATE to MAX_DATE, or raise ValueError with a message for the user."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("Must be a date in the format YYYY-MM-DD.")
    try:
        value = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"There is no such date: {text}.") from error
    if not MIN_DATE <= value <= MAX_DATE:
        raise ValueError(f"Must be between {MIN_DATE} and {MAX_DATE}.")
    return value


def utc_text(instant: datetime.datetime) -> str:
    """Return an instant as ISO 8601 in UTC with a Z, whatever TIME_ZONE is."""
    return instant.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class InstantField(serializers.DateTimeField):
    """A time in UTC. DRF's field would use TIME_ZONE, which only decides what "today" is."""

    def to_representation(self, value: datetime.datetime) -> str:
        return utc_text(value)


class ChoiceField(serializers.Field):
    """One of a fixed set of names. `spellings` maps each accepted spelling, casefolded, to the stored value."""

    default_error_messages = {"invalid": "Must be one of: {names}."}

    def __init__(self, *, names: dict[Any, str], spellings: dict[str, Any], **kwargs: Any) -> None:
        self.names, self.spellings = names, spellings
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        known = isinstance(data, str) and len(data) <= MAX_CHOICE_LENGTH
        value = self.spellings.get(data.casefold()) if known else None
        if value is None:
            self.fail("invalid", names=", ".join(self.names.values()))
        return value

    def to_representation(self, value: Any) -> str:
        return self.names[value]


class AnyField(serializers.Field):
    """Any JSON value, unchanged."""

    def to_representation(self, value: Any) -> Any:
        return value


class UserReferenceField(serializers.Field):
    """Shows an account as {"id", "username"}."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, allow_null=True, **kwargs)

    def to_representation(self, value: Any) -> dict[str, Any] | None:
        return {"id": value.pk, "username": value.username}


class NullableTextField(serializers.CharField):
    """Shows an empty text as null."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, allow_null=True, **kwargs)

    def to_representation(self, value: str) -> Any:
        return value or None
