"""Readers of single settings: what they accept, and the sentence for everything else."""

import datetime
from functools import partial

import pytest

from chassis.ops import env

GOOD = "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5"
OTHER = "Zq8LwN3vRt6YbKs1MfXc9HgJd4PzUe7TnAi2"
REMEDY = "generate one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
UMLAUTS = "äöüßéèêñçøåæœłšž"  # 16 characters, 32 bytes
KNOWN = ("log", "email")

on, off = partial(env.flag, default=True), partial(env.flag, default=False)
choice, choices = (partial(read, default="log", known=KNOWN) for read in (env.choice, env.choices))
zone = partial(env.time_zone, default="UTC")
time_of_day = partial(env.time_of_day, default="08:00")
email = partial(env.email, folder="/state/mail")


@pytest.fixture
def setting(monkeypatch):
    return lambda value: monkeypatch.setenv("SETTING", value)


def refusal(read, *names):
    with pytest.raises(env.SettingError) as caught:
        read(*names or ["SETTING"])
    return str(caught.value)


@pytest.mark.parametrize("read", [env.text, env.secret, env.http_url, env.database])
def test_a_missing_setting_is_named_with_a_hint(monkeypatch, setting, read):
    monkeypatch.delenv("SETTING", raising=False)
    assert refusal(read) == "SETTING is not set; see .env.example."

    setting("")
    assert refusal(read) == "SETTING is not set; see .env.example."


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        *((partial(env.text, default="INFO"), value, expected) for value, expected in (("", "INFO"), ("a b", "a b"))),
        *((off, value, True) for value in ("1", "TRUE", "yes", "On")),
        *((on, value, False) for value in ("0", "False", "no")),
        *[(on, "", True), (off, "", False)],
        *[(env.words, " a , b,,c, ", ["a", "b", "c"]), (partial(env.words, default="a,b"), "", ["a", "b"])],
        *[(choice, "email", "email"), (choice, "", "log")],
        *[(choices, "", ["log"]), (choices, "log", ["log"]), (choices, "email,log", ["email", "log"])],
        *[(choices, " log , email, ", ["log", "email"]), (choices, "log,email,log", ["log", "email"])],
        *[(env.secret, UMLAUTS, UMLAUTS), (env.secrets, f"{GOOD}, {OTHER}", [GOOD, OTHER]), (env.secrets, "", [])],
        *[(env.http_url, "https://tm.test/", "https://tm.test"), (partial(env.http_url, default=""), "", "")],
        *[(zone, "", "UTC"), (zone, "Europe/Berlin", "Europe/Berlin")],
        *((time_of_day, value, datetime.time(*time)) for value, time in (("", (8, 0)), ("23:59", (23, 59)))),
        (time_of_day, "00:00", datetime.time(0, 0)),
        *[(env.origins, "", []), (env.origins, "https://App.test, http://a:1", ["https://app.test", "http://a:1"])],
    ],
)
def test_a_value_is_read_and_an_empty_one_takes_the_default(setting, read, value, expected):
    setting(value)

    assert read("SETTING") == expected


SAMPLES = [f"{GOOD}-change-me", f"django-Insecure-{GOOD}", f"YOUR_SECRET_KEY_{GOOD}", f"example-{GOOD}"]
TIMES = ["8:00", "8am", "24:00", "12:60", "08:00:00", "off", "08:00+02:00", "\u0660\u0668:00"]
ORIGINS = ["*", "null", "app.test", "https://*", "https://app.test/", "https://app.test/path", "ftp://app.test"]
ORIGINS += ["https://u@app.test", "https://app.test https://x.test", "https://"]
NO_URL, NO_ZONE = "must begin with http:// or https:// and a host", "must be a time zone such as UTC or Europe/Berlin"
NO_TIME = "must be a time of day from 00:00 to 23:59, such as 08:00"


@pytest.mark.parametrize(
    ("read", "values", "sentence"),
    [
        (off, ["2", "tru", " true", "enabled", "none"], "must be true or false, not {!r}."),
        (env.secret, ["aB3$" * 7 + "xyz"], f"is shorter than 32 bytes; {REMEDY}"),
        (env.secrets, [f"{GOOD},short"], f"is shorter than 32 bytes; {REMEDY}"),
        (env.secret, SAMPLES, f"is a sample value; {REMEDY}"),
        (env.secret, ["a" * 64, "123456789" * 8, " " * 40], f"is too easy to guess; {REMEDY}"),
        (env.http_url, ["tm.test", "ftp://tm.test", "//tm.test", "javascript:alert(1)"], f"{NO_URL}, not {{!r}}."),
        (zone, ["Mars/Olympus", "../../etc/passwd", "+02:00", "utc "], f"{NO_ZONE}, not {{!r}}."),
        (time_of_day, TIMES, f"{NO_TIME}, not {{!r}}."),
        (choice, ["pigeon", "EMAIL", " log", "log,email", ","], "must be one of log, email, not {!r}."),
        *(
            (choices, [value], "must be one or more of log, email, separated by commas.")
            for value in ("pigeon", "log,pigeon", "LOG", "log email", "log;email", ",", " ")
        ),
        (env.origins, ORIGINS, "must be origins such as https://app.example.com, not {!r}."),
    ],
)
def test_an_invalid_value_is_rejected_in_one_sentence(setting, read, values, sentence):
    for value in values:
        setting(value)

        assert refusal(read) == f"SETTING {sentence.format(value)}"


def test_the_first_database_url_that_is_set_is_used(setting, monkeypatch):
    setting("postgresql://second.test/tasks")
    monkeypatch.setenv("FIRST", "")
    assert env.database("FIRST", "SETTING")["HOST"] == "second.test"

    monkeypatch.setenv("FIRST", "postgresql://first.test/tasks")
    assert env.database("FIRST", "SETTING")["HOST"] == "first.test"


def test_the_error_lists_all_names_of_a_database_url(setting):
    setting("")

    assert refusal(env.database, "SETTING", "OTHER") == "SETTING or OTHER is not set; see .env.example."


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        (["sqlite:///tasks.db", "mysql://db.test/tasks", "tasks"], "must be a postgresql:// URL (only PostgreSQL is"),
        (["postgresql://db.test", "postgresql://db.test/"], "has no database name; it must end in /DATABASE."),
        (["postgresql://db.test:port/tasks", "postgresql://db.test:99999/tasks"], "is not a valid URL"),
        (["postgresql://[::1/tasks", "postgresql://task:hunter2/unquoted@db.test/tasks"], "is not a valid URL"),
    ],
)
def test_the_error_of_a_database_url_hides_its_password(setting, urls, reason):
    for url in urls:
        setting(url)

        sentence = refusal(env.database)

        assert sentence.startswith(f"SETTING {reason}")
        assert "hunter2" not in sentence


FILES = "django.core.mail.backends.filebased.EmailBackend"
SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.mark.parametrize("url", [None, ""])
def test_without_a_mail_server_mails_are_files_or_wait(monkeypatch, setting, url):
    monkeypatch.delenv("SETTING", raising=False)
    if url is not None:
        setting(url)

    held = env.email("SETTING", folder="off")

    assert email("SETTING") == env.Mail(FILES, "/state/mail")
    assert (held.is_held, held.backend) == (True, "django.core.mail.backends.dummy.EmailBackend")


@pytest.mark.parametrize(
    ("url", "changes"),
    [
        ("smtp://mail.test", {"port": 25}),
        ("smtp+tls://mail.test", {"port": 587, "use_tls": True}),
        ("smtp+ssl://mail.test", {"port": 465, "use_ssl": True}),
        ("smtp://mail.test:2525", {"port": 2525}),
        ("smtp://[::1]:2525", {"host": "::1", "port": 2525}),
        ("smtp://127.0.0.1:2525/", {"host": "127.0.0.1", "port": 2525}),
        *(
            (f"smtp://tm%40mail.test:{written}@mail.test", {"port": 25, "user": "tm@mail.test", "password": password})
            for written, password in (("p%40ss%2Fw%3A%23%25", "p@ss/w:#%"), ("a+b", "a+b"), ("a@b", "a@b"))
        ),
        ("smtp://tm:p%C3%A9@mail.test", {"port": 25, "user": "tm", "password": "p\u00e9"}),
    ],
)
def test_a_mail_url_is_read_with_the_port_of_its_scheme(setting, url, changes):
    setting(url)

    assert email("SETTING") == env.Mail(**{"backend": SMTP, "host": "mail.test"} | changes)


@pytest.mark.parametrize(
    "url",
    [
        *("mail.test", "hunter2", "smtp://", "smtp:mail.test", "http://tm:hunter2@mail.test"),
        "smtps://tm:hunter2@mail.test",  # ambiguous: STARTTLS or TLS from the start
        *("consolemail://hunter2", "dummymail://", "://tm:hunter2@mail.test", "smtp+tls://tm:hunter2@"),
        *("smtp+tls://tm:hunter2@:587", "smtp+tls:///hunter2", "smtp+tls://tm:hunter2@mail.test:port"),
        *("smtp+tls://tm:hunter2@mail.test:99999", "smtp+tls://tm:hunter2@[::1"),
        *(f"smtp+tls://tm:hunter2{mark}unquoted@mail.test" for mark in "/#?["),
        "smtp+tls://tm:25/hunter2@mail.test",  # would be host tm, port 25
        "smtp+tls://tm:25#hunter2@mail.test",
    ],
)
def test_an_invalid_mail_url_is_rejected_without_its_password(setting, url):
    setting(url)

    with pytest.raises(env.SettingError) as caught:
        email("SETTING")

    sentence = str(caught.value)
    assert (sentence.startswith("SETTING "), sentence.endswith("."), "\n" in sentence) == (True, True, False)
    assert not [word for word in ("hunter2", "unquoted") if word in sentence]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
