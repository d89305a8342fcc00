import datetime

import pytest
from rest_framework.exceptions import ValidationError
from rest_framework.fields import CharField

from chassis.api.fields import (
    CappedField,
    ChoiceField,
    DateField,
    IdField,
    IdsField,
    SecretField,
    SingleLineField,
    StrictBooleanField,
    StringField,
)

VISIBLE_TEXTS = [StringField(), SingleLineField()]
ALL_TEXTS = [*VISIBLE_TEXTS, SecretField()]
ID, IDS, FLAG, DATE = IdField(), IdsField(max_ids=3), StrictBooleanField(), DateField()
STATUS = ChoiceField(
    names={"todo": "todo", "in_progress": "in_progress"},
    spellings={"todo": "todo", "to do": "todo", "in_progress": "in_progress"},
)
ORDINARY = [
    "Ordinary text",
    "👨\u200d👩\u200d👧\u200d👦",  # a family: four people held together by joiners
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland, spelled in tags
    "1\ufe0f\u20e3 ❤\ufe0f",
    "می\u200cروم",  # Persian, with a non-joiner inside a word
    *("مهمة عاجلة", "\u200fחג שמח\u200e, Bob", "नमस्ते", "10 000\u00a0€"),
    "e\u0301 and é",  # decomposed and composed: not normalised
    "<b>'\"; DROP TABLE tasks; --{{7*7}}${jndi:ldap://x}%s%n=1+1",
    # An invisible character may modify its neighbor; the second text is Malayalam, with a joiner at the end of a word.
    *("می\u200cرویم", "ക്\u200d", "❤\ufe0f\u200d🔥 🏳\ufe0f\u200d🌈 👩🏽\u200d🚀", "©\ufe0f #\ufe0f\u20e3 葛\U000e0100"),
    *("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "C\u200e: \u05d0", "\u200e" * 300 + "א"),
]
CONTROLS = [chr(code) for code in (*range(9), *range(0xE, 0x20), 0x7F, 0x84, 0x86, 0x9F, 0xFEFF)]
DIRECTIONS = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]


def refusals(field, value):
    with pytest.raises(ValidationError) as caught:
        field.run_validation(value)
    return [str(detail) for detail in caught.value.detail]


@pytest.mark.parametrize("text", ORDINARY, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize("field", ALL_TEXTS)
def test_text_of_any_language_is_unchanged(field, text):
    assert field.run_validation(text).encode() == text.encode()


@pytest.mark.parametrize("field", VISIBLE_TEXTS)
def test_a_control_character_is_reported_with_its_position(field):
    for character in CONTROLS + DIRECTIONS:
        position = f"U+{ord(character):04X} at position 3"

        assert refusals(field, f"ab{character}c")[0] == (
            f"Must not contain control or text-direction characters ({position})."
        )


@pytest.mark.parametrize(
    ("text", "position"),
    [
        *((f"Pay{character}roll", 4) for character in "\u200b\u061c\u00ad\u200e\u200d"),
        *((f"a{character}", 2) for character in "\u034f\u2060\u2064\u3164\ufe0f"),
        *[("\u200cPayroll", 1), ("a\u2060b", 2), ("א\u061c", 2), ("👨\u200d\u200d👩", 3), ("می\u200c\u200dروم", 4)],
        ("a\U000e0041\U000e007f", 2),
        ("🏴\U000e0067\U000e0062", 2),  # no cancel tag
        ("😀\U000e0067\U000e0062\U000e0073\U000e007f", 2),  # no flag
        *[("😀\ufe0f\ufe01", 3), ("😀\U000e0100\U000e0101", 3)],  # each selector may encode a hidden byte
    ],
    ids=ascii,
)
@pytest.mark.parametrize("field", VISIBLE_TEXTS)
def test_any_other_invisible_character_is_rejected(field, text, position):
    code = f"U+{ord(text[position - 1]):04X}"

    assert refusals(field, text) == [f"Must not contain invisible characters ({code} at position {position})."]


@pytest.mark.parametrize("field", ALL_TEXTS)
def test_a_lone_surrogate_is_rejected(field):
    for surrogate in "\ud800\udfff":
        assert "Surrogate characters are not allowed" in refusals(field, f"a{surrogate}b")[0]


@pytest.mark.parametrize("text", ["  - one\r\n\t- two\u2028\n ", "", " \n "], ids=ascii)
def test_a_text_keeps_lines_and_surrounding_whitespace(text):
    assert StringField(allow_blank=True).run_validation(text) == text


@pytest.mark.parametrize("end", ["\t", "\n", "\v", "\f", "\r", "\r\n", "\x85", "\u2028", "\u2029", " \n \n"], ids=ascii)
def test_line_breaks_in_a_line_become_a_space_or_are_stripped(end):
    assert SingleLineField().run_validation(f"{end}Call  the{end}landlord\u00a0{end}") == "Call  the landlord"


@pytest.mark.parametrize("end", ["\v", "\f", "\x85"], ids=ascii)
def test_unusual_line_breaks_become_line_feeds(end):
    assert StringField().run_validation(f"one{end}two") == "one\ntwo"


@pytest.mark.parametrize("field", [CappedField(max_length=3), StringField(max_length=3), SingleLineField(max_length=3)])
def test_a_too_long_text_is_not_examined(field, monkeypatch):
    monkeypatch.setattr(CharField, "run_validation", lambda *_: pytest.fail("it was examined"))

    for text in ("abcd", f"a{' ' * 1_000_000}b{chr(10) * 1_000}c"):
        assert refusals(field, text) == ["Ensure this field has no more than 3 characters."]


def test_the_length_is_in_characters_after_stripping():
    field = SingleLineField(max_length=200)

    assert field.run_validation(f" {'😀' * 200} ") == "😀" * 200
    assert refusals(field, "😀" * 201) == ["Ensure this field has no more than 200 characters."]


@pytest.mark.parametrize("password", ["x" * 1024, " pw ", "   ", "\tpw\n", "p\u202ew", "pässwörd", "\x1b"], ids=ascii)
def test_a_password_is_used_exactly_as_sent_and_never_shown(password):
    assert SecretField().run_validation(password) == password
    assert SecretField().write_only


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (ID, [1, 2**31 - 1, 2**31, 2**63 - 1]),
        (IdsField(max_ids=100), [[1], [3, 1, 2], [2**63 - 1], list(range(100, 0, -1))]),
        (FLAG, [True, False]),
        (DATE, ["2000-01-01", "2024-02-29", "2100-12-31"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_valid_value_is_returned_as_sent(field, values):
    assert [field.to_representation(field.run_validation(value)) for value in values] == values


NO_DATE = "Must be a date in the format YYYY-MM-DD."
CENTURY = "Must be between 2000-01-01 and 2100-12-31."


@pytest.mark.parametrize(
    ("field", "values", "sentence"),
    [
        *((field, [0, 1.5, True, [], ["a"], {"a": 1}], "Must be a string.") for field in ALL_TEXTS),
        (
            SingleLineField(),
            ["", " ", "\n", "\u00a0", "\u3000", "\u2003\u2009", "\u2800", "\u0301"],
            "Must contain at least one visible character.",
        ),
        (SecretField(), ["x" * 1025, "é" * 513], "Must be at most 1024 bytes in UTF-8."),
        (SecretField(), ["a\0b"], "Null characters are not allowed."),
        (
            ID,
            [0, -1, 2**63, 10**400, 1.0, 0.5, float("inf"), float("nan"), True, False, "1", "", [1], {"id": 1}],
            "Must be an id: a whole number from 1 to 9223372036854775807.",
        ),
        (
            IDS,
            [[], [1, 2, 3, 4], [1] * 100_000, 1, 1.0, True, "", "1", "123", {}, {"1": 1}, (1, 2), {1}, range(1, 3)],
            "Must be a list of 1 to 3 ids.",
        ),
        *(
            (IDS, [[item], [7, item], [item, item, 7]], "Must contain only ids: whole numbers from 1 to {}.")
            for item in (0, 2**63, 1.0, float("nan"), True, "1", "", None, [1], {"id": 1})
        ),
        *((field, [None], "This field may not be null.") for field in (*ALL_TEXTS, ID, IDS, FLAG, DATE)),
        (FLAG, [0, 1, "true", "false", "", "yes", [], {}, 1.0], "Must be true or false."),
        (DATE, ["0001-01-01", "1999-12-31", "2101-01-01", "9999-12-31"], CENTURY),
        (
            DATE,
            ["", "2026-1-1", "20260101", "2026-W01-1", "2026-001", "01/02/2026", "tomorrow", "2026-01-01 "],
            NO_DATE,
        ),
        (
            DATE,
            [f"2026-01-01{end}" for end in ("T00:00:00Z", "T24:00:00", "T23:59:60Z", "T00:00+16:00", "\n")],
            NO_DATE,
        ),
        (
            DATE,
            ["+2026-01-01", "-026-01-01", "12026-01-01", "\u0662\u0660\u0662\u0666-01-01", "\uff12026-01-01"],
            NO_DATE,
        ),
        (DATE, [20260101, 1.5, True, [], {}, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)], NO_DATE),
        (
            STATUS,
            ["", "bogus", "todo ", "\ud800", "todo\0", {}, [], ["todo"], 0, True, "t" * 100_000],
            "Must be one of: todo, in_progress.",
        ),
    ],
)
def test_an_invalid_value_is_rejected_in_one_sentence(field, values, sentence):
    for value in values:
        assert refusals(field, value) == [sentence.format(2**63 - 1)]


@pytest.mark.parametrize("date", ["2026-02-30", "2025-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "0000-01-01"])
def test_a_date_exists_in_the_calendar(date):
    assert refusals(DATE, date) == [f"There is no such date: {date}."]


@pytest.mark.parametrize(("ids", "twice"), [([1, 1], 1), ([3, 1, 2, 3], 3), ([1, 2, 2, 1], 1), ([5, 4, 4, 4], 4)])
def test_an_id_appears_once_in_a_list(ids, twice):
    assert refusals(IdsField(max_ids=4), ids) == [f"Must not repeat ids; {twice} appears twice."]


def test_a_choice_is_accepted_in_any_spelling():
    assert [STATUS.run_validation(text) for text in ("todo", "To Do", "IN_PROGRESS")] == ["todo", "todo", "in_progress"]


def test_the_stored_value_of_a_choice_may_differ_from_its_name():
    field = ChoiceField(names={0: "low", 1: "normal"}, spellings={"low": 0, "normal": 1})

    assert field.run_validation("Low") == 0
    assert field.to_representation(0) == "low"
