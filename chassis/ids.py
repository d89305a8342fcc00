"""The one spelling of an id as text: ASCII digits, no leading zero, at most 2^63 - 1."""

import re

MAX_ID = 2**63 - 1
PATTERN = "[1-9][0-9]{0,18}"


def parse_id(text: str) -> int | None:
    """Return the id, or None if the text is not one."""
    return int(text) if re.fullmatch(PATTERN, text) and int(text) <= MAX_ID else None
