import pytest
from django.core.mail import EmailMessage

from chassis.addresses import is_address, normalize
from chassis.ops import settings
from chassis.ops.env import SettingError
from chassis.testing.mail_addresses import ACCEPTED, INTERNATIONAL, REFUSED_UNTRIMMED
from chassis.worker.mailing import send_mail
from chassis.worker.outbox import PermanentFailure

INVALID = [*REFUSED_UNTRIMMED, ""]


def test_only_a_plain_address_is_accepted():
    assert [address for address in [*ACCEPTED, *INVALID] if is_address(address)] == ACCEPTED


@pytest.mark.parametrize(("address", "normal"), INTERNATIONAL.items(), ids=ascii)
def test_an_international_domain_has_one_normal_form(address, normal):
    assert (normalize(address), normalize(normal)) == (normal, normal)
    assert is_address(normal)


def test_no_other_address_is_changed():
    assert [normalize(address) for address in [*ACCEPTED, *INVALID]] == [*ACCEPTED, *INVALID]


@pytest.mark.parametrize("address", INVALID, ids=ascii)
def test_no_mail_is_sent_to_an_invalid_address(address, mailoutbox):
    for recipients in ([address], ["alice@example.com", address]) if address else ([address],):
        with pytest.raises(PermanentFailure, match="address is not valid"):
            send_mail(EmailMessage("Hello", "Text", "tm@example.com", recipients))

    assert mailoutbox == []


@pytest.mark.parametrize(
    "fields",
    [
        *[{"subject": "a\nBcc: eve@evil.test"}, {"body": "\udc80"}],
        *[{"headers": {"X-Event": "a\r\nb"}}, {"headers": {"X-Ev\u00e9nt: a": "b"}}],
    ],
    ids=ascii,
)
def test_a_mail_that_cannot_be_built_is_a_permanent_failure(fields, mailoutbox):
    mail = EmailMessage(**{"subject": "Hello", "body": "Text", "to": ["alice@example.com"]} | fields)

    with pytest.raises(PermanentFailure, match=r"^the mail cannot be built: [A-Za-z]+$"):
        send_mail(mail)

    assert mailoutbox == []


def test_a_valid_sender_is_accepted():
    domains = [settings.mail_domain(f"TMService <{address}>") for address in ACCEPTED]

    assert domains == [address.partition("@")[2] for address in ACCEPTED]


SENDERS = ["", "TMService", "eve@evil.test, TM <tm@example.com>", "TM\n<tm@example.com>"]
SENDERS += [address for address in REFUSED_UNTRIMMED if "<alice@example.com>" not in address]


@pytest.mark.parametrize("sender", SENDERS, ids=ascii)
def test_an_invalid_sender_is_rejected(sender):
    with pytest.raises(SettingError, match="MAIL_FROM is not a valid address"):
        settings.mail_domain(sender)
