"""Words: the same rule for every script, case, normal form and locale."""

# ruff: noqa: RUF001  # texts in many scripts

import unicodedata

import pytest

pytestmark = pytest.mark.django_db

TASKS = "/task/tasks/"
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
    answer = person.get(TASKS, {"search": text, "page_size": 100})
    assert answer.status_code == 200, answer.content
    return [task["title"] for task in answer.json()["results"]]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("title", "text"), [(title, text) for title, texts in PAIRS.items() for text in texts])
def test_a_title_is_found(ada, title, text, form):
    ada.post(TASKS, {"title": unicodedata.normalize(form, title)})
    ada.post(TASKS, {"title": "Another", "description": unicodedata.normalize(form, title)})
    ada.post(TASKS, {"title": "Nothing of the kind"})

    other_form = "NFD" if form == "NFC" else "NFC"
    assert found(ada, unicodedata.normalize(other_form, text)) == [unicodedata.normalize(form, title), "Another"]


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
    ("text", "titles"),
    [
        ("degrees -5", []),
        ('-"-5 degrees"', ["5 apples"]),
        ("-5", ["-5 degrees", "5 apples"]),
        ("-apples", ["-5 degrees"]),
        ("-appl", ["-5 degrees", "5 apples"]),
    ],
)
def test_a_minus_excludes_unless_it_starts_a_first_number(ada, text, titles):
    for title in ("5 apples", "-5 degrees"):
        ada.post(TASKS, {"title": title})

    assert sorted(found(ada, text)) == titles


@pytest.mark.parametrize(
    ("text", "titles"), [("b", ["Budget", "Plan B"]), ("plan b", ["Plan B"]), ("bu pl", ["Budget"])]
)
def test_a_single_letter_with_other_words_is_a_whole_word(ada, text, titles):
    ada.post(TASKS, {"title": "Plan B"})
    ada.post(TASKS, {"title": "Budget", "description": "planned"})

    assert sorted(found(ada, text)) == titles


def test_a_phrase_does_not_span_title_and_description(ada):
    ada.post(TASKS, {"title": "Call Bob", "description": "Smith knows"})

    assert found(ada, '"bob smith"') == []
    assert found(ada, "bob smith") == ["Call Bob"]


def test_a_phrase_is_found_anywhere_in_a_long_text(ada):
    ada.post(TASKS, {"title": "Log", "description": "and so on " * 4_000 + "until the very end"})

    assert found(ada, '"the very end"') == found(ada, "on-until-the") == ["Log"]
