"""Untrusted text on one line: what is kept, what is replaced, and where it is shortened."""

import re

import pytest

from chassis.printable import isolate, one_line, printable, shorten
from chassis.worker.mailing import message_id

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"
SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
UNSAFE = ["\x00", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\u2069", "\u200b", "\ud800"]


@pytest.mark.parametrize(
    "text", ["plain", FAMILY, FLAG, SCOTLAND, PERSIAN, "\u2764\ufe0f", "Gr\u00f6\u00dfe", "\u05d0\u200f!"], ids=ascii
)
def test_ordinary_text_is_unchanged(text):
    assert one_line(text) == printable(text) == text


@pytest.mark.parametrize("character", UNSAFE, ids=ascii)
def test_unsafe_characters_become_a_space_or_are_escaped(character):
    assert one_line(f"a{character}{character}b") == "a b"
    assert printable(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"


def test_a_text_cannot_end_its_isolate():
    assert isolate("a\u2069\u202eb") == "\u2068a b\u2069"


@pytest.mark.parametrize(
    ("text", "shortened"),
    [
        *[("x" * 10, "x" * 10), ("x" * 11, "x" * 9 + "\u2026")],
        ("e" + "\u0301" * 200, "e" + "\u0301" * 8 + "\u2026"),  # a grapheme longer than the limit is split
    ],
)
def test_a_text_is_shortened_if_it_does_not_fit(text, shortened):
    assert shorten(text, 10) == shortened


@pytest.mark.parametrize(
    "whole", ["e\u0301\u0323", FAMILY, SCOTLAND, FLAG, "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\u1112\u1161\u11ab"]
)
def test_shortening_does_not_split_characters(whole):
    for before in ("", "ab", f"ab{whole}"):
        text = before + whole * 3
        for limit in range(len(before) + len(whole) + 1, len(text)):
            kept = shorten(text, limit).removesuffix("\u2026").removeprefix(before)
            assert kept.replace(whole, "") == ""
            assert len(kept) + len(before) + 1 <= limit


def test_message_ids_differ_between_installations(settings):
    settings.SERVICE, settings.MAIL_DOMAIN = "task_service", "tm.test"
    seen = set()
    for settings.SECRET_KEY in ("one of them", "the other"):
        seen |= {message_id(7, prefix="notification"), message_id(7, prefix="notification")}

    assert len(seen) == 2
    assert all(re.fullmatch(r"<notification-7\.[0-9a-f]{16}@tm\.test>", each) for each in seen)
