"""Characters that show nothing: which of them a text may hold, and where.

All that Unicode calls Default_Ignorable_Code_Point is refused, except where it shapes what is seen: one joiner or
variation selector right after a character that they apply to (an emoji, a letter of a script beyond Latin, Greek and
Cyrillic), the tags of a flag, and left-to-right or right-to-left marks in a text with right-to-left letters.
"""

import re

# They reorder or break what a reader sees: explicit bidirectional overrides and isolates (UAX #9), line separators.
FORBIDDEN_IN_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
# What comes along when text is copied from a PDF, a word processor or a table: cleaned, not refused.
CONTROL_WHITESPACE = re.compile("[\t\n\x0b\x0c\r\x85\u2028\u2029]")
# Refused wherever they are. Kept as a set of its own for the OpenAPI document, whose patterns know no context.
NEVER_ALLOWED = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200b\u2060-\u2065\u206a-\u206f\u3164\uffa0\ufff0-\ufff8]"
)
JOINERS = "\u200c\u200d"
SELECTORS = "\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
MARKS = "\u200e\u200f"
REST = "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # shorthand, music, tags
BASES = (
    "#*0-9\u00a9\u00ae\u0590-\u115e\u1161-\u17b3\u17b6-\u180a\u1810-\u1fff\u203c\u2049\u2100-\u2fff\u3001-\u3163"
    "\u3165-\ufdff\ufe10-\ufefe\uff01-\uff9f\uffa1-\uffef\U00010000-\U0001bc9f\U0001bca4-\U0001d172\U0001d17b-\U000dffff"
)
FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f"  # UTS #51, of a region such as Scotland
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")


def pattern(hidden: str) -> re.Pattern[str]:
    """Match what is in its place as a whole, and a character that is not as group 1."""
    in_place = f"{FLAG}|[{BASES}](?:[{SELECTORS}][{JOINERS}]?|[{JOINERS}])"
    return re.compile(f"{in_place}|([{NEVER_ALLOWED.pattern[1:-1]}{JOINERS}{SELECTORS}{REST}{hidden}])")


WITH_MARKS, WITHOUT_MARKS = pattern(""), pattern(MARKS)


def first_hidden(text: str) -> re.Match[str] | None:
    """Return the match of the first character that may not be where it is."""
    if text.isascii():
        return None
    scanned = (WITH_MARKS if RIGHT_TO_LEFT.search(text) else WITHOUT_MARKS).finditer(text)
    return next((found for found in scanned if found[1]), None)
