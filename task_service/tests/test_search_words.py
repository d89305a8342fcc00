"""Words: the same rule for every script, case, normal form and locale."""

# ruff: noqa: RUF001  # texts in many scripts

import unicodedata

import pytest

from tests.conftest import TASKS, titles

pytestmark = pytest.mark.django_db

PAIRS = {
    "“Budget” review": ["budget", "BUDGET", "review", "“budget”", "budget review", "rev"],
    "Berlin–Hamburg": ["hamburg", "berlin", "berlin–hamburg", "ham"],
    "wait… then": ["wait", "then", "wait…"],
    "«Смета»": ["смета", "СМЕТА", "«смета»", "сме"],
    "¿Cuándo llega?": ["cuándo", "cuando", "Cuando llega", "¿cuándo llega?"],
    "l’été": ["été", "ete", "ÉTÉ", "l'été", "l’ete"],
    "🚀Launch": ["launch", "🚀launch", "🚀 launch"],
    "会议：准备": ["会议", "准备", "会", "议", "会议：准备", "备"],
    "明天的会议室": ["会议", "天的会", "室", "明天 会议室"],
    "毎日ｶﾞｽを確認": ["ガス", "ｶﾞｽ", "確認"],
    "주간회의를 준비": ["회의", "간회의", "주간", "준비", "회"],
    "ประชุมทีมพรุ่งนี้": ["ทีม", "ประชุม", "พรุ่งนี้"],
    "हिन्दी किताब": ["किताब", "हिन्दी", "कित"],
    "مُحَمَّد يكتب": ["محمد", "مُحَمَّد"],
    "שָׁלוֹם עולם": ["שלום", "עולם"],
    "Ёлка и чай": ["елка", "ёлка", "чай"],
    "Ωμέγα ΣΊΣΥΦΟΣ": ["ωμεγα", "σίσυφος", "σισυφοσ"],
    "Łódź, Straße, Ærø, İzmir, Đakovo": ["lodz", "strasse", "STRASSE", "aero", "izmir", "dakovo", "łódź"],
    "ﬁnal ½ ① ٣": ["final", "fi", "1", "3"],
    "Client/Server split": ["client", "server", "client/server", "Client/Ser"],
    "Q3/2026 report": ["Q3", "2026", "report", "q3/2026", "Q3/20"],
    "report_final.pdf": ["report", "final", "pdf", "report_final.pdf", "report_final.p"],
    "INV-2026-0815": ["0815", "inv", "INV-2026-0815", "inv-2026", "2026-08", "INV 0815"],
    "-5 degrees": ["5 degrees", "-5 degrees", '"-5 degrees"', "degrees"],
    "x86-64": ["64", "x86", "x86-64"],
    "germany-dev-east": ["dev-east", "dev", "germany-dev-east", "germany-d"],
    "mail ops+eu@mail.tm.example": ["ops+eu@mail.tm.example", "eu@mail", "tm.example", "ops"],
    "see /srv/data/a.txt or C:\\temp": ["/srv/data/a.txt", "a.txt", "srv/data", "C:\\temp", "temp"],
    "use --force": ["--force", "force"],
}


def found(person, text):
    return titles(person.get(TASKS, {"search": text, "page_size": 100}))


@pytest.mark.parametrize(("form", "other_form"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("title", PAIRS)
def test_a_title_is_found(ada, title, form, other_form):
    stored = unicodedata.normalize(form, title)
    for body in ({"title": stored}, {"title": "Another", "description": stored}, {"title": "Nothing of the kind"}):
        ada.post(TASKS, body)

    by_text = {text: found(ada, unicodedata.normalize(other_form, text)) for text in PAIRS[title]}

    assert by_text == {text: [stored, "Another"] for text in PAIRS[title]}


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Budget", "udget"),
        ("Budget review", '"bud"'),
        ("Client and Server", "client/server"),
        ("INV-0815-2026", "INV-2026-0815"),
        ("dev-west, germany-east", "dev-east"),
        ("会议准备", "会准"),
        ("会议准备", "准备会议"),
        ("ประชุม", "ชุมป"),
        ("x86", "86"),
        ("कम", "का"),
    ],
)
def test_a_title_is_not_found(ada, title, text):
    ada.post(TASKS, {"title": title})

    assert found(ada, text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("degrees -5", []),
        ('-"-5 degrees"', ["5 apples"]),
        ("-5", ["-5 degrees", "5 apples"]),
        ("-apples", ["-5 degrees"]),
        ("-appl", ["-5 degrees", "5 apples"]),
    ],
)
def test_a_minus_excludes_unless_it_starts_a_first_number(ada, text, expected):
    for title in ("5 apples", "-5 degrees"):
        ada.post(TASKS, {"title": title})

    assert sorted(found(ada, text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("b", ["Budget", "Plan B"]), ("plan b", ["Plan B"]), ("bu pl", ["Budget"])]
)
def test_a_single_letter_with_other_words_is_a_whole_word(ada, text, expected):
    ada.post(TASKS, {"title": "Plan B"})
    ada.post(TASKS, {"title": "Budget", "description": "planned"})

    assert sorted(found(ada, text)) == expected


def test_a_phrase_does_not_span_title_and_description(ada):
    ada.post(TASKS, {"title": "Call Bob", "description": "Smith knows"})

    assert found(ada, '"bob smith"') == []
    assert found(ada, "bob smith") == ["Call Bob"]


def test_a_phrase_is_found_anywhere_in_a_long_text(ada):
    ada.post(TASKS, {"title": "Log", "description": "and so on " * 4_000 + "until the very end"})

    assert found(ada, '"the very end"') == found(ada, "on-until-the") == ["Log"]
