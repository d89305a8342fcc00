"""Make untrusted text safe for one line of a terminal, a header or a log.

Unsafe characters end the line, move the cursor or change the reading direction: those that chassis.api.fields rejects
in a line, and lone surrogates. Joiners, variation selectors and tags are safe: letters and emoji need them.
"""

import re
import unicodedata

from chassis.hidden_characters import CONTROL_WHITESPACE, FORBIDDEN_IN_TEXT, JOINERS, NEVER_ALLOWED

SURROGATES = re.compile("[\ud800-\udfff]")
FORBIDDEN = (FORBIDDEN_IN_TEXT, CONTROL_WHITESPACE, NEVER_ALLOWED, SURROGATES)
UNSAFE = re.compile("|".join(characters.pattern for characters in FORBIDDEN))
# Besides combining marks, these belong to the character before them: skin tones and the tags of a flag.
MODIFIERS = re.compile("[\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
REGION = "[\U0001f1e6-\U0001f1ff]"  # two of them are a flag
UNPAIRED_REGION = re.compile(f"(?<!{REGION})(?:{REGION}{REGION})*{REGION}$")
FIRST_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"


def printable(text: str) -> str:
    """Replace unsafe characters with Python escapes."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Replace each run of unsafe characters and whitespace with one space."""
    return " ".join(UNSAFE.sub(" ", text).split())


def isolate(text: str) -> str:
    """Return one line of untrusted text that cannot change the reading direction of the sentence around it."""
    return f"{FIRST_ISOLATE}{one_line(text)}{POP_ISOLATE}"


def shorten(text: str, limit: int) -> str:
    """Cut a text to `limit` characters including the ellipsis, but never within a grapheme cluster."""
    if len(text) <= limit:
        return text
    end = limit - 1
    while end > 0 and not is_boundary(text, end):
        end -= 1
    return f"{text[: end or limit - 1].rstrip()}\u2026"


def is_boundary(text: str, index: int) -> bool:
    """Return whether a grapheme cluster ends before this index (roughly by the rules of UAX #29)."""
    before, after = text[index - 1], text[index]
    if before == "\u200d" or after in JOINERS or MODIFIERS.match(after) or unicodedata.category(after).startswith("M"):
        return False
    if "\u1160" <= after <= "\u11ff":  # vowel or final consonant of a Korean syllable
        return False
    return not (re.match(REGION, after) and UNPAIRED_REGION.search(text, 0, index))
