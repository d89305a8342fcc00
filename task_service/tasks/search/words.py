"""Splits text into words: one rule for stored text and for searches, independent of the database's locale.

A word is a run of letters and digits, regardless of case, accents and normal form. A run in a script without spaces
becomes pairs of characters, plus its last character.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

# Increment it when the same text yields other words: the worker then indexes every task again. The condition of the
# index task_to_index contains it, so `makemigrations` creates the necessary migration.
RULES = 1
MAX_FOLDED = 60_000  # characters; the vector of any such text stays below PostgreSQL's limit of 1 MB
MAX_WORD = 200  # characters; a lexeme may have 2,046 bytes

# Letters that Unicode does not decompose but people also type as plain letters. For Arabic and Persian: interchangeable
# letters, and the mark that stretches a word.
LETTERS = {
    "\u00e6": "ae",  # æ
    "\u0153": "oe",  # œ
    "\u00f8": "o",  # ø
    "\u0111": "d",  # đ
    "\u00f0": "d",  # ð
    "\u00fe": "th",  # þ
    "\u0142": "l",  # ł
    "\u0131": "i",  # dotless i
    "\u014b": "n",  # ŋ
    "\u0127": "h",  # ħ
    "\u0167": "t",  # ŧ
    "\u0138": "k",  # ĸ
    "\u0491": "\u0433",  # Cyrillic ghe with upturn
    **dict.fromkeys("\u02bb\u02bc\u02bd", " "),  # letters in Unicode, but typed as apostrophes
    "\u0649": "\u064a",  # alef maksura
    "\u06cc": "\u064a",  # Farsi yeh
    "\u06a9": "\u0643",  # keheh
    "\u0629": "\u0647",  # teh marbuta
    "\u0640": "",  # tatweel
}
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
ZERO_WIDTH_SPACE = "\u200b"  # of category Cf, but it separates words
# The blocks of Unicode with marks, digits and invisible characters, without Han and Hangul.
BLOCKS = (
    *(range(0x3400), range(0xA400, 0xAC00), range(0xF800, 0x12400), range(0x16800, 0x17000)),
    *(range(0x1BC00, 0x1FC00), range(0xE0000, 0xE0200)),
)
UNSPACED = (
    "\u0e00-\u0e3a\u0e40-\u0e4e"  # Thai
    "\u0e80-\u0ece\u0edc-\u0edf"  # Lao
    "\u1000-\u103f\u1050-\u108f\u109a-\u109f"  # Myanmar
    "\u1780-\u17d3"  # Khmer
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7ff"  # Hangul
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
    "\u3005-\u3007\u3105-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)


class Word(NamedTuple):
    text: str
    run_length: int = 0  # length of the run that ends with this character, in a script without spaces


def words(text: str) -> Iterator[Word]:
    for match in PATTERN.finditer(fold(text)):
        run = match["run"]
        if run is None:
            yield Word(match[0][:MAX_WORD])
        else:
            yield from (Word(run[at : at + 2]) for at in range(len(run) - 1))
            yield Word(run[-1], run_length=len(run))


def fold(text: str) -> str:
    if text.isascii():
        return text.lower()[:MAX_FOLDED]
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    # Compose again: nobody searches for parts of a Hangul syllable or a voiced kana.
    return unicodedata.normalize("NFC", decomposed.translate(FOLDED))[:MAX_FOLDED]


def replacement(character: str) -> str | None:
    """Return the replacement of a character, or None if it stays."""
    category = unicodedata.category(character)
    if INVISIBLE.match(character) or (category == "Cf" and character != ZERO_WIDTH_SPACE):
        return ""
    if category == "Me" or (category == "Mn" and is_accent(unicodedata.combining(character))):
        return ""
    return str(unicodedata.decimal(character)) if category == "Nd" else None


def is_accent(combining_class: int) -> bool:
    """Return whether it is a mark of Latin, Greek, Cyrillic, Hebrew or Arabic, not a vowel sign of another script."""
    return 10 <= combining_class <= 36 or combining_class >= 200


def ranges(characters: str) -> str:
    """Return these sorted characters as the content of a character class."""
    found: list[list[str]] = []
    for character in characters:
        if found and ord(character) == ord(found[-1][1]) + 1:
            found[-1][1] = character
        else:
            found.append([character, character])
    return "".join(f"{first}-{last}" for first, last in found)


CHARACTERS = [chr(code) for code in chain(*BLOCKS)]
FOLDED = {ord(character): to for character in CHARACTERS if (to := replacement(character)) is not None}
FOLDED |= {ord(letter): to for letter, to in LETTERS.items()}
# Vowel signs and other marks inside words.
MARKS = ranges("".join(c for c in CHARACTERS if unicodedata.category(c) in ("Mn", "Mc") and ord(c) not in FOLDED))
LETTER = rf"[^\W_{UNSPACED}]"
PATTERN = re.compile(rf"(?P<run>[{UNSPACED}]+)|{LETTER}+(?:[{MARKS}]+{LETTER}*)*")
