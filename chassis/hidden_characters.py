"""Invisible characters: which ones a text may contain, and where.

Every Default_Ignorable_Code_Point of Unicode is rejected unless it changes what a reader sees: a joiner or variation
selector after a character it applies to (an emoji, or a letter of a script other than Latin, Greek and Cyrillic), the
tags of a flag, and direction marks in a text with right-to-left letters.
"""

import re

# Control characters, and bidirectional overrides and isolates (UAX #9), which reorder the visible text.
FORBIDDEN_IN_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
# Often part of text pasted from a PDF, a word processor or a table, so it is cleaned instead of rejected.
CONTROL_WHITESPACE = re.compile("[\t\n\x0b\x0c\r\x85\u2028\u2029]")
# Rejected everywhere. A separate set because the patterns of the OpenAPI document know no context.
NEVER_ALLOWED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200b\u2060-\u2065\u206a-\u206f\u3164\uffa0\ufff0-\ufff8]"
)
JOINERS = "\u200c\u200d"
SELECTORS = "\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
DIRECTION_MARKS = "\u200e\u200f"
OTHER_INVISIBLE = "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # shorthand, music, tags
BASES = (
    "#*0-9\u00a9\u00ae\u0590-\u115e\u1161-\u17b3\u17b6-\u180a\u1810-\u1fff\u203c\u2049\u2100-\u2fff\u3001-\u3163"
    "\u3165-\ufdff\ufe10-\ufefe\uff01-\uff9f\uffa1-\uffef\U00010000-\U0001bc9f\U0001bca4-\U0001d172\U0001d17b-\U000dffff"
)
FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f"  # UTS #51: Scotland
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")


def pattern(hidden: str) -> re.Pattern[str]:
    """Match allowed sequences as a whole, and a misplaced character as group 1."""
    in_place = f"{FLAG}|[{BASES}](?:[{SELECTORS}][{JOINERS}]?|[{JOINERS}])"
    return re.compile(f"{in_place}|([{NEVER_ALLOWED.pattern[1:-1]}{JOINERS}{SELECTORS}{OTHER_INVISIBLE}{hidden}])")


WITH_MARKS, WITHOUT_MARKS = pattern(""), pattern(DIRECTION_MARKS)


def first_hidden(text: str) -> re.Match[str] | None:
    """Return the match of the first misplaced invisible character."""
    if text.isascii():
        return None
    scanned = (WITH_MARKS if RIGHT_TO_LEFT.search(text) else WITHOUT_MARKS).finditer(text)
    return next((found for found in scanned if found[1]), None)
