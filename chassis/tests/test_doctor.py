import pytest

from chassis.auth.keys import key_id
from chassis.ops import doctor, findings, mail_check
from chassis.testing.smtp_sink import HANG_UP, serving

ADDRESS = "ada@example.com"


def test_a_finding_is_one_line():
    line = findings.wrong("refused:\n  no such host; set EMAIL_URL").line("mail")

    assert line == "WRONG   mail        refused: no such host; set EMAIL_URL"


@pytest.mark.parametrize(
    "character", ["\x1b", "\x7f", "\x9b", "\u200b", "\u202e", "\u2066", "\ufeff", "\ud800"], ids=ascii
)
def test_a_finding_has_no_terminal_escapes(character):
    line = findings.wrong(f"550 {character}[2J no").line("mail")

    assert line.isprintable()
    assert line.endswith(rf"550 {ascii(character)[1:-1]}[2J no")


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "ok"), (2, "ok"), (2.1, "unsure"), (5, "unsure"), (5.1, "WRONG"), (90_000, "WRONG")]
)
def test_a_clock_difference_is_reported(seconds, state):
    assert findings.clock(seconds, whose="the database's").state == state


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 minutes"), (7000, "117 minutes"), (7200, "2 hours"), (200_000, "2 days")],
)
def test_durations_are_readable(seconds, expected):
    assert findings.duration(seconds) == expected


def test_keys_are_reported_only_by_id(settings):
    found = doctor.valid_settings()

    shared = [settings.JWT_SIGNING_KEY, *settings.JWT_PREVIOUS_SIGNING_KEYS]
    assert found.state == "ok"
    assert all(secret not in found.text for secret in shared)
    assert all(found.text.count(key_id(secret)) == 2 for secret in shared)


def test_debug_is_unsure(settings):
    settings.DEBUG = True

    assert doctor.valid_settings().state == "unsure"


def test_a_gateway_without_settings_is_unsure(settings):
    unnamed = doctor.limits()
    settings.GATEWAY_ADDRESSES = ["127.0.0.1"]
    named = doctor.limits()

    assert (unnamed.state, named.state) == ("unsure", "ok")
    assert "GATEWAY_ADDRESSES and GATEWAY_SECRET are not set" in unnamed.text


@pytest.fixture
def smtp(settings):
    """A mail server, and settings for it."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.SERVICE, settings.MAIL_DOMAIN = "the_service", "tm.test"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", 5
    with serving() as sink:
        settings.EMAIL_PORT = sink.port
        yield sink


@pytest.fixture
def mail_folder(settings, tmp_path):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.SERVICE, settings.MAIL_DOMAIN = "the_service", "tm.test"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    return tmp_path / "mail"


def test_a_working_mail_server_is_ok_without_sending_a_mail(smtp):
    found = mail_check.mail(None)

    assert found.state == "ok"
    assert f"127.0.0.1:{smtp.port} responds, without a login" in found.text
    assert ("NOOP" in smtp.commands, smtp.received) == (True, [])


@pytest.mark.usefixtures("smtp")
def test_links_in_sent_mails_need_a_public_url(settings):
    settings.PUBLIC_URL, settings.LOCAL_URL = "", "http://localhost:8080"
    inside, outside = doctor.links(in_mails=False), doctor.links(in_mails=True)
    settings.PUBLIC_URL = "https://tasks.example.com"

    assert [inside.state, outside.state, doctor.links(in_mails=True).state] == ["ok", "unsure", "ok"]
    assert "links in mails begin with http://localhost:8080, which only opens on this machine" in outside.text


def test_the_requested_mail_is_sent(smtp):
    found = mail_check.mail(ADDRESS)

    ((_, recipients, message),) = smtp.received
    assert (found.state, recipients) == ("ok", [ADDRESS])
    assert "the_service" in message["Subject"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"CONNECT": "554 not you"}, "554 not you"),
        ({"NOOP": "421 closing"}, "421 closing"),
        ({"NOOP": HANG_UP}, "Connection unexpectedly closed"),
        ({ADDRESS: "550 no such user"}, "550 no such user"),
    ],
)
def test_a_mail_server_that_rejects_the_mail_is_wrong(smtp, answers, expected):
    smtp.answers.update(answers)

    found = mail_check.mail(ADDRESS)

    assert found.state == "WRONG"
    assert f"127.0.0.1:{smtp.port}: " in found.text
    assert expected in found.text
    assert "set EMAIL_URL" in found.text


def test_a_rejected_mail_login_is_wrong(smtp, settings):
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "ada", "seven green bicycles"

    found = mail_check.mail(None)

    assert (found.state, "AUTH" in found.text) == ("WRONG", True)
    assert "bicycles" not in found.text


def test_a_sample_sender_is_wrong_with_a_mail_server(settings, monkeypatch):
    settings.MAIL_DOMAIN = "tmservice.invalid"
    monkeypatch.setenv("EMAIL_URL", "smtp://127.0.0.1:1")

    found = mail_check.mail_to_server(None)

    assert found.state == "WRONG"
    assert found.text.startswith("MAIL_FROM is an address at tmservice.invalid")


def test_without_a_mail_server_mails_are_files(mail_folder):
    looked = mail_check.mail(None)
    before = mail_folder.exists()
    sent = mail_check.mail(ADDRESS)

    assert (looked.state, sent.state, before) == ("ok", "ok", False)
    assert str(mail_folder) in looked.text
    assert len(list(mail_folder.iterdir())) == 1
    assert mail_folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("address", [None, ADDRESS])
def test_an_unusable_mail_folder_is_wrong(mail_folder, address):
    mail_folder.write_text("a file")

    found = mail_check.mail(address)

    assert found.state == "WRONG"
    assert "set MAIL_FOLDER or EMAIL_URL" in found.text
