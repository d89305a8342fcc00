"""The email channel, with a real SMTP server that can misbehave."""

import logging
import re
from datetime import UTC
from email.utils import parsedate_to_datetime

import pytest
from django.utils import timezone

from chassis.testing.smtp_sink import END_OF_DATA, serving
from chassis.worker.mailing import message_id
from directory.models import User
from notifications.models import Delivery, Event
from notifications.reminders import remind
from tasks.models import Task
from tests.deliveries import change, deliver_all, outcome, states, use_smtp

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sink(settings):
    settings.NOTIFICATION_CHANNELS = ["email"]
    settings.PUBLIC_URL = "https://tm.test"
    with serving() as server:
        use_smtp(settings, server.port)
        yield server


@pytest.fixture
def deliver_with_title(ada, task, sink):
    """Return a function that sets a title, even one that the API rejects, completes the task, and returns the mail."""

    def deliver(title):
        Task.objects.filter(pk=task.pk).update(title=title)
        change(task, by=ada, status="completed")
        deliver_all()
        return received_mail(sink)

    return deliver


def received_mail(sink):
    ((_, recipients, message),) = sink.received
    assert recipients == ["alice@tm.example"]
    return message


def unfolded_subject(message):
    return message["Subject"].removeprefix(" ")  # a folded subject may begin on its second line


def body_text(message, kind="plain"):
    return message.get_body((kind,)).get_content().replace("\r\n", "\n")


# Content


def test_it_works(ada, task, sink):
    change(task, by=ada, status="completed")
    then = timezone.now().replace(year=2001, month=1, day=1, microsecond=0)
    Event.objects.update(created_at=then)

    deliver_all()

    ((sender, recipients, message),) = sink.received
    text, url = "ada completed \u2068Pay\u2069", f"https://tm.test/task/tasks/{task.pk}/"
    html = f'<p>ada completed <bdi>Pay</bdi></p>\n<p><a href="{url}">{url}</a></p>\n'
    assert states() == ["sent"]
    assert (sender, recipients) == ("noreply@tmservice.invalid", ["alice@tm.example"])
    assert (message["To"], message["Subject"]) == ("alice@tm.example", text)
    assert message.get_content_type() == "multipart/alternative"
    assert (body_text(message), body_text(message, "html")) == (f"{text}\n\n{url}\n", html)
    assert message["Message-ID"] == message_id(Delivery.objects.get().pk, prefix="notification")
    assert message["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(message["Date"]).replace(tzinfo=UTC) == then


def test_the_kind_of_event_is_in_a_header(ada, alice, create_task, sink):
    task = create_task(title="Pay", due_date=timezone.localdate())
    for values in ({"assigned_to_id": alice.id}, {"status": "in_progress"}, {"assigned_to_id": None}):
        change(task, by=ada, **values)
        deliver_all()
    late = create_task(title="Pay", assigned_to=alice.id, created_by=alice.id, due_date="2001-01-01")
    remind()
    deliver_all()
    ada.delete(f"/task/tasks/{late.pk}/")
    deliver_all()

    kinds = [message["X-TMService-Event"] for _, (to,), message in sink.received if to == "alice@tm.example"]
    assert kinds[0] == "task_assigned, task_due_soon"
    assert kinds[1:] == ["task_status_changed", "task_unassigned", "task_overdue", "task_deleted"]


@pytest.mark.parametrize(
    ("public_url", "link"), [("http://10.0.0.1:8080", "http://10.0.0.1:8080"), ("", "http://localhost:8080")]
)
def test_the_link_starts_with_the_public_url(ada, task, sink, settings, public_url, link):
    settings.PUBLIC_URL = public_url
    change(task, by=ada, status="completed")

    deliver_all()

    assert body_text(received_mail(sink)).splitlines()[-1] == f"{link}/task/tasks/{task.pk}/"


def test_markup_in_a_title_is_text(deliver_with_title):
    message = deliver_with_title('<img src=x onerror="alert(1)"> & </p><script>alert(2)</script>')

    assert '<img src=x onerror="alert(1)"> & </p><script>' in body_text(message)
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; &lt;/p&gt;&lt;script&gt;" in body_text(message, "html")
    assert body_text(message, "html").count("<") == 8


@pytest.mark.parametrize(
    "title",
    [
        *("Größe prüfen", "Оплатить счёт", "支払い 😀 👩\u200d👧", "e\u0301" * 40),
        *("\u05d3\u05d5\u05d7 (1)", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),  # right to left
        "x" * (150 - len("ada completed \u2068\u2069")),  # just fits
    ],
    ids=ascii,
)
def test_a_title_arrives_unchanged_and_isolated(deliver_with_title, title):
    message = deliver_with_title(title)

    assert unfolded_subject(message) == body_text(message).splitlines()[0] == f"ada completed \u2068{title}\u2069"
    assert body_text(message, "html").startswith(f"<p>ada completed <bdi>{title}</bdi></p>\n")


@pytest.mark.parametrize("letter", ["x", "ä", "水", "😀"])
def test_a_subject_has_at_most_150_characters(deliver_with_title, letter):
    message = deliver_with_title(letter * 200)

    assert unfolded_subject(message) == "ada completed \u2068" + letter * 133 + "\u2026\u2069"
    assert letter * 200 in body_text(message)


def test_a_long_title_is_shortened_between_characters(ada, sink, task):
    Task.objects.update(title="\U0001f468\u200d\U0001f469\u200d\U0001f467" * 40)
    change(task, by=ada, status="in_progress")

    deliver_all()

    subject = unfolded_subject(received_mail(sink))
    assert subject.startswith("ada changed the status from To Do to In Progress: \u2068\U0001f468")
    assert subject.endswith("\u200d\U0001f467\u2026\u2069")
    assert len(subject) <= 150


def test_a_text_of_the_previous_version_has_a_subject(ada, task, sink):
    change(task, by=ada, status="completed")
    Event.objects.update(text='"Pay\n" is Completed now; it was To Do.')

    deliver_all()

    assert received_mail(sink)["Subject"] == '"Pay " is Completed now; it was To Do.'


# Header injection


@pytest.mark.parametrize(
    "title",
    [
        *("Pay\r\nBcc: eve@evil.test", "Pay\nBcc: eve@evil.test", "Pay\rBcc: eve@evil.test"),
        "Pay\r\n\r\nAnother body",
        "Pay\r\n.\r\nMAIL FROM:<eve@evil.test>\r\n",
        "Pay\u2028Bcc: eve@evil.test\u2029\x85\x0b\x0c",
        "\r\n",
        "\x1b[31mPay\x7f\x9b",
        "Pay =?utf-8?q?now=0D=0ABcc:_eve=40evil.test?= soon",
    ],
    ids=ascii,
)
def test_a_malicious_title_forges_nothing(deliver_with_title, sink, title):
    message = deliver_with_title(title)

    assert states() == ["sent"]
    assert (message["Bcc"], message["Cc"], message["To"]) == (None, None, "alice@tm.example")
    assert re.fullmatch("ada completed \u2068[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\u2069", unfolded_subject(message))
    assert sink.commands.count("MAIL") == sink.commands.count("RCPT") == 1


def test_a_malicious_username_forges_nothing(ada, bob, task, sink):
    User.objects.filter(pk=bob.id).update(username="bob\r\nBcc: eve@evil.test")
    change(task, by=ada, assigned_to_id=bob.id)

    deliver_all()

    (_, recipients, message), _ = sink.received
    assert (recipients, message["Bcc"]) == (["bob@tm.example"], None)
    assert unfolded_subject(message) == "ada assigned bob Bcc: eve@evil.test to \u2068Pay\u2069"


@pytest.mark.parametrize(
    ("address", "result"),
    [
        ("", ("skipped", "the account has no confirmed address")),
        ("alice@example.com>\r\nRCPT TO:<eve@evil.test", ("failed", "the account's address is not valid")),
        ("alice@=?utf-8?q?evil?=.com", ("failed", "the account's address is not valid")),
    ],
)
def test_an_account_without_a_valid_address_gets_no_mail(ada, alice, grace, create_task, sink, address, result, caplog):
    User.objects.filter(pk=alice.id).update(email=address)
    change(create_task(assigned_to=alice.id, created_by=grace.id), by=ada, status="completed")

    deliver_all()

    assert [recipients for _, recipients, _ in sink.received] == [["grace@tm.example"]]
    assert outcome(recipient_id=alice.id) == result
    assert not [record for record in caplog.records if record.exc_info]


def test_a_mail_that_cannot_be_built_is_dead_lettered_at_once(ada, task, sink, monkeypatch, caplog):
    monkeypatch.setattr("notifications.channels.email.subject", lambda text: "Bcc: eve\n\neve@evil.test")
    change(task, by=ada, status="completed")

    deliver_all()

    assert states() == ["failed"]
    assert (sink.received, [record for record in caplog.records if record.exc_info]) == ([], [])


# Server errors: chassis and the user service test all of them, test_digests.py and test_deliveries.py the retries


@pytest.mark.parametrize(("command", "answer"), [("RCPT", "550 no such user"), (END_OF_DATA, "554 looks like spam")])
def test_a_permanent_failure_is_dead_lettered(ada, task, sink, command, answer):
    sink.answers = {command: answer}
    change(task, by=ada, status="in_progress")

    deliver_all()

    assert outcome() == ("failed", answer)


@pytest.mark.parametrize("answer", ["450 mailbox busy", "550 no such user"])
def test_the_log_has_no_addresses_or_titles(ada, task, sink, caplog, answer):
    caplog.set_level(logging.DEBUG)
    sink.answers = {"RCPT": answer}
    change(task, by=ada, status="completed", title="Fire bob")

    deliver_all()

    assert "Fire bob" in Delivery.objects.get().event.text
    logged = "".join(record.getMessage() for record in caplog.records if record.name != "django.db.backends")
    assert "alice" not in logged
    assert "Fire" not in logged
