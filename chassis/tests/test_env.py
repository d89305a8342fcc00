import datetime
import os

import pytest

from chassis.ops import env, settings

GOOD = "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5"
OTHER = "Zq8LwN3vRt6YbKs1MfXc9HgJd4PzUe7TnAi2"
REMEDY = "generate one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"


@pytest.fixture
def setting(monkeypatch):
    def put(value):
        monkeypatch.setenv("SETTING", value)

    return put


def refusal(read, *arguments, **options):
    with pytest.raises(env.SettingError) as caught:
        read(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("reader", [env.text, env.secret, env.http_url, env.database])
def test_a_missing_setting_is_named_with_a_hint(monkeypatch, setting, reader):
    monkeypatch.delenv("SETTING", raising=False)
    assert refusal(reader, "SETTING") == "SETTING is not set; see .env.example."

    setting("")
    assert refusal(reader, "SETTING") == "SETTING is not set; see .env.example."


def test_an_empty_setting_takes_the_default(setting):
    setting("")

    assert env.text("SETTING", "INFO") == "INFO"
    assert env.flag("SETTING", True) is True
    assert env.words("SETTING", "a,b") == ["a", "b"]
    assert env.choices("SETTING", "a,b", known=("a", "b", "c")) == ["a", "b"]
    assert env.choice("SETTING", "a", known=("a", "b")) == "a"
    assert env.secrets("SETTING") == []
    assert env.http_url("SETTING", "") == ""
    assert env.time_zone("SETTING", "UTC") == "UTC"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("TRUE", True), ("yes", True), ("On", True), ("0", False), ("False", False), ("no", False)],
)
def test_a_flag_accepts_common_spellings(setting, value, expected):
    setting(value)

    assert env.flag("SETTING", not expected) is expected


@pytest.mark.parametrize("value", ["2", "tru", " true", "enabled", "none"])
def test_a_flag_with_another_value_is_rejected(setting, value):
    setting(value)

    assert refusal(env.flag, "SETTING", False) == f"SETTING must be true or false, not '{value}'."


def test_a_list_may_have_spaces_and_a_trailing_comma(setting):
    setting(" a , b,,c, ")

    assert env.words("SETTING") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("aB3$" * 7 + "xyz", "is shorter than 32 bytes"),
        (f"{GOOD}-change-me", "is a sample value"),
        (f"django-Insecure-{GOOD}", "is a sample value"),
        (f"YOUR_SECRET_KEY_{GOOD}", "is a sample value"),
        (f"example-{GOOD}", "is a sample value"),
        ("a" * 64, "is too easy to guess"),
        ("123456789" * 8, "is too easy to guess"),
        (" " * 40, "is too easy to guess"),
    ],
)
def test_a_weak_secret_is_rejected_and_not_repeated(setting, value, reason):
    setting(value)

    assert refusal(env.secret, "SETTING") == f"SETTING {reason}; {REMEDY}"


def test_the_length_of_a_secret_is_counted_in_bytes(setting):
    setting("äöüßéèêñçøåæœłšž")

    assert env.secret("SETTING") == "äöüßéèêñçøåæœłšž"  # 16 characters, 32 bytes


def test_each_of_several_secrets_is_checked(setting):
    setting(f"{GOOD}, {OTHER}")
    assert env.secrets("SETTING") == [GOOD, OTHER]

    setting(f"{GOOD},short")
    assert refusal(env.secrets, "SETTING") == f"SETTING is shorter than 32 bytes; {REMEDY}"


def test_previous_signing_keys_are_read_too(monkeypatch):
    monkeypatch.setenv("JWT_SIGNING_KEY", GOOD)
    monkeypatch.setenv("JWT_PREVIOUS_SIGNING_KEYS", OTHER)

    assert settings.signing_keys(secret_key="unrelated") == (GOOD, [OTHER])


@pytest.mark.parametrize("secret_key", [GOOD, OTHER])
def test_a_signing_key_equal_to_the_secret_key_is_rejected(monkeypatch, secret_key):
    monkeypatch.setenv("JWT_SIGNING_KEY", GOOD)
    monkeypatch.setenv("JWT_PREVIOUS_SIGNING_KEYS", OTHER)

    assert refusal(settings.signing_keys, secret_key=secret_key) == (
        "JWT_SIGNING_KEY must not equal the SECRET_KEY of a service; make two different keys."
    )


@pytest.mark.parametrize(
    ("hosts", "debug"),
    [("api.tm.test", False), ("localhost,127.0.0.1,[::1]", True), ("*", True), ("localhost,api.tm.test", False)],
)
def test_allowed_hosts_are_read_as_given(monkeypatch, hosts, debug):
    monkeypatch.setenv("ALLOWED_HOSTS", hosts)

    assert env.allowed_hosts(debug=debug) == hosts.split(",")


@pytest.mark.parametrize("debug", [True, False])
def test_only_this_machine_is_allowed_by_default(monkeypatch, debug):
    monkeypatch.delenv("ALLOWED_HOSTS", raising=False)

    assert env.allowed_hosts(debug=debug) == ["localhost", "127.0.0.1", "[::1]"]


@pytest.mark.parametrize("hosts", ["*", "api.tm.test,*"])
def test_a_wildcard_host_is_rejected_without_debug(monkeypatch, hosts):
    monkeypatch.setenv("ALLOWED_HOSTS", hosts)

    assert refusal(env.allowed_hosts, debug=False) == (
        "ALLOWED_HOSTS=* is for DEBUG only; list the host names of this service."
    )


@pytest.mark.parametrize("hosts", ["api.tm.test", "localhost,api.tm.test", "*,api.tm.test"])
def test_debug_is_rejected_with_a_public_host(monkeypatch, hosts):
    monkeypatch.setenv("ALLOWED_HOSTS", hosts)

    assert refusal(env.allowed_hosts, debug=True) == (
        "DEBUG must be off if ALLOWED_HOSTS contains a public host (api.tm.test)."
    )


def test_a_base_url_loses_its_trailing_slash(setting):
    setting("https://tm.test/")

    assert env.http_url("SETTING") == "https://tm.test"


@pytest.mark.parametrize("value", ["tm.test", "ftp://tm.test", "//tm.test", "javascript:alert(1)"])
def test_a_base_url_with_another_scheme_is_rejected(setting, value):
    setting(value)

    assert refusal(env.http_url, "SETTING") == f"SETTING must begin with http:// or https:// and a host, not '{value}'."


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_database_url_becomes_an_entry_with_conn_max_age(setting, scheme):
    setting(f"{scheme}://task:p%40ss@db.test:5433/tasks?sslmode=require")

    assert settings.database("SETTING") == {
        "ENGINE": "django.db.backends.postgresql",
        "USER": "task",
        "PASSWORD": "p@ss",
        "HOST": "db.test",
        "PORT": 5433,
        "NAME": "tasks",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 3, "sslmode": "require"},  # nothing that a pooler would reject
    }


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
    ("url", "reason"),
    [
        ("sqlite:///tasks.db", "must be a postgresql:// URL (only PostgreSQL is supported)."),
        ("mysql://db.test/tasks", "must be a postgresql:// URL (only PostgreSQL is supported)."),
        ("tasks", "must be a postgresql:// URL (only PostgreSQL is supported)."),
        ("postgresql://db.test", "has no database name; it must end in /DATABASE."),
        ("postgresql://db.test/", "has no database name; it must end in /DATABASE."),
        ("postgresql://db.test:port/tasks", "is not a valid URL"),
        ("postgresql://db.test:99999/tasks", "is not a valid URL"),
        ("postgresql://[::1/tasks", "is not a valid URL"),
    ],
)
def test_an_unusable_database_url_is_rejected(setting, url, reason):
    setting(url)

    assert refusal(env.database, "SETTING").startswith(f"SETTING {reason}")


def test_the_error_of_a_database_url_hides_the_password(setting):
    setting("postgresql://task:hunter2/unquoted@db.test/tasks")

    assert "hunter2" not in refusal(env.database, "SETTING")


FILES = "django.core.mail.backends.filebased.EmailBackend"
SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.mark.parametrize("url", [None, ""])
def test_without_a_mail_server_mails_are_files(monkeypatch, setting, url):
    monkeypatch.delenv("SETTING", raising=False)
    if url is not None:
        setting(url)

    assert env.email("SETTING", folder="/state/mail") == env.Mail(FILES, "/state/mail")


def test_without_a_mail_server_or_folder_mails_wait(setting):
    setting("")

    mail = env.email("SETTING", folder="off")

    assert mail.is_held
    assert mail.backend == "django.core.mail.backends.dummy.EmailBackend"


@pytest.mark.parametrize(
    ("scheme", "port", "encryption"),
    [("smtp", 25, {}), ("smtp+tls", 587, {"use_tls": True}), ("smtp+ssl", 465, {"use_ssl": True})],
)
def test_a_mail_url_implies_the_port_of_its_scheme(setting, scheme, port, encryption):
    setting(f"{scheme}://mail.test")

    assert env.email("SETTING", folder="/state/mail") == env.Mail(SMTP, host="mail.test", port=port, **encryption)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("mail.test:2525", "mail.test", 2525), ("[::1]:2525", "::1", 2525), ("127.0.0.1:2525/", "127.0.0.1", 2525)],
)
def test_an_explicit_port_is_kept(setting, address, host, port):
    setting(f"smtp+tls://tm:secret@{address}")

    entry = env.email("SETTING", folder="/state/mail")

    assert (entry.host, entry.port) == (host, port)


@pytest.mark.parametrize(
    ("written", "meant"), [("p%40ss%2Fw%3A%23%25", "p@ss/w:#%"), ("a+b", "a+b"), ("a@b", "a@b"), ("p%C3%A9", "p\u00e9")]
)
def test_user_and_password_of_a_mail_server_are_decoded(setting, written, meant):
    setting(f"smtp+tls://tm%40mail.test:{written}@mail.test")

    entry = env.email("SETTING", folder="/state/mail")

    assert (entry.user, entry.password) == ("tm@mail.test", meant)
    assert entry.host == "mail.test"


@pytest.mark.parametrize(
    "url",
    [
        "mail.test",
        "hunter2",
        "smtp://",
        "smtp:mail.test",
        "http://tm:hunter2@mail.test",
        "smtps://tm:hunter2@mail.test",  # ambiguous: STARTTLS or TLS from the start
        "consolemail://hunter2",
        "dummymail://",
        "://tm:hunter2@mail.test",
        "smtp+tls://tm:hunter2@",
        "smtp+tls://tm:hunter2@:587",
        "smtp+tls:///hunter2",
        "smtp+tls://tm:hunter2@mail.test:port",
        "smtp+tls://tm:hunter2@mail.test:99999",
        "smtp+tls://tm:hunter2@[::1",
        "smtp+tls://tm:hunter2/unquoted@mail.test",
        "smtp+tls://tm:hunter2#unquoted@mail.test",
        "smtp+tls://tm:hunter2?unquoted@mail.test",
        "smtp+tls://tm:hunter2[unquoted@mail.test",
        "smtp+tls://tm:25/hunter2@mail.test",  # would be host tm, port 25
        "smtp+tls://tm:25#hunter2@mail.test",
    ],
)
def test_an_invalid_mail_url_is_rejected_without_its_password(setting, url):
    setting(url)

    sentence = refusal(env.email, "SETTING", folder="/state/mail")

    assert sentence.startswith("SETTING ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    assert "unquoted" not in sentence


def test_an_error_has_no_cause_that_contains_the_password(setting):
    setting("smtp+tls://tm:hunter2/unquoted@mail.test")

    with pytest.raises(env.SettingError) as caught:
        env.email("SETTING", folder="/state/mail")

    assert caught.value.__suppress_context__ is True
    assert caught.value.__cause__ is None


def test_a_time_zone_is_read_by_name(setting):
    setting("Europe/Berlin")

    assert env.time_zone("SETTING", "UTC") == "Europe/Berlin"


@pytest.mark.parametrize("value", ["Mars/Olympus", "../../etc/passwd", "+02:00", "utc "])
def test_an_unknown_time_zone_is_rejected(setting, value):
    setting(value)

    assert refusal(env.time_zone, "SETTING", "UTC") == (
        f"SETTING must be a time zone such as UTC or Europe/Berlin, not '{value}'."
    )


@pytest.mark.parametrize(("value", "time"), [("", (8, 0)), ("00:00", (0, 0)), ("23:59", (23, 59))])
def test_a_time_of_day_is_read(setting, value, time):
    setting(value)

    assert env.time_of_day("SETTING", "08:00") == datetime.time(*time)


@pytest.mark.parametrize(
    "value", ["8:00", "8am", "24:00", "12:60", "08:00:00", "off", "08:00+02:00", "\u0660\u0668:00"]
)
def test_an_invalid_time_of_day_is_rejected(setting, value):
    setting(value)

    assert refusal(env.time_of_day, "SETTING", "08:00") == (
        f"SETTING must be a time of day from 00:00 to 23:59, such as 08:00, not {value!r}."
    )


def test_the_environment_wins_over_the_file_unless_it_is_empty(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("SET=file\nEMPTY=file\n")
    monkeypatch.setenv("TMSERVICE_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("SET", "environment")
    monkeypatch.setenv("EMPTY", "")

    env.load_dotenv()

    assert (os.environ["SET"], os.environ["EMPTY"]) == ("environment", "file")


def test_a_file_is_parsed_without_changing_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("ONE", raising=False)
    (tmp_path / ".env").write_text("# a comment\nexport ONE='two words'\n\nURL=postgresql://u:p@h/d?a=b#c\nNONE=\n")

    assert env.read_dotenv(tmp_path / ".env") == {
        "ONE": "two words",
        "URL": "postgresql://u:p@h/d?a=b#c",
        "NONE": "",
    }
    assert "ONE" not in os.environ


def test_values_of_one_file_do_not_leak_into_the_next(tmp_path):
    (tmp_path / "first").write_text("ONE=1\n")
    (tmp_path / "second").write_text("TWO=2\n")
    env.read_dotenv(tmp_path / "first")

    assert env.read_dotenv(tmp_path / "second") == {"TWO": "2"}


def test_the_env_file_is_optional(monkeypatch, tmp_path):
    monkeypatch.setenv("TMSERVICE_ENV_FILE", str(tmp_path / "absent"))
    before = dict(os.environ)

    env.load_dotenv()

    assert dict(os.environ) == before


# Settings in files


def test_a_setting_can_be_read_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("from the file\n")
    monkeypatch.setenv("SETTING_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("SETTING", "")

    assert env.text("SETTING", "the default") == "from the file"

    monkeypatch.setenv("SETTING", "from the environment")

    assert env.text("SETTING", "the default") == "from the environment"


def test_a_database_url_may_be_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "url").write_text("postgresql://task:secret@db.test/tasks")
    monkeypatch.setenv("SETTING_FILE", str(tmp_path / "url"))

    assert env.database("SETTING", "OTHER_SETTING")["HOST"] == "db.test"


def test_an_empty_file_sets_nothing(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("\n")
    monkeypatch.setenv("SETTING_FILE", str(tmp_path / "key"))

    assert env.text("SETTING", "the default") == "the default"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_file_is_rejected(monkeypatch, tmp_path, content):
    if content:
        (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("SETTING_FILE", str(tmp_path / "key"))

    assert refusal(env.text, "SETTING").startswith("SETTING_FILE names a file that cannot be read: ")


SECRET = "correct-horse-battery-staple"


@pytest.mark.parametrize("line", [SECRET, f"ADMIN_PASSWORD {SECRET}", f"export: {SECRET}", f"ADMIN-PASSWORD={SECRET}"])
def test_an_invalid_line_is_reported_by_number_only(tmp_path, caplog, line):
    file = tmp_path / ".env"
    file.write_text(f"# a comment\n\nLOG_LEVEL=INFO\n{line}\n")

    with pytest.raises(env.SettingError) as refusal:
        env.read_dotenv(file)

    assert str(refusal.value) == f"{file}, line 4: this is neither NAME=VALUE nor a comment that begins with #."
    assert caplog.text == ""
