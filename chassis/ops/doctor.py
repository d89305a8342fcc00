"""manage.py doctor: renders what the checks of a service find. Both services' command."""

import logging
import sys
from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, transaction
from rest_framework.settings import api_settings

from chassis.addresses import is_address
from chassis.auth import tokens
from chassis.ops import checks
from chassis.ops.checks import Check
from chassis.ops.findings import Finding, State, ok, unsure, wrong
from chassis.ops.mail_check import mail

SMTP = "django.core.mail.backends.smtp.EmailBackend"


class DoctorCommand(BaseCommand, ABC):
    help = "Look for what is wrong with this service and what it stands on; the status is 1 if anything is."
    requires_system_checks: list[str] = []  # it is for when something is wrong
    checks: Sequence[Check]  # those of this service's own tables
    outside_checks: Sequence[Check] = ()  # those of what is neither in this service nor in its database

    def sends_mails(self) -> bool:
        return True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--mail", metavar="ADDRESS", help="send a mail there")

    def handle(self, *args: Any, **options: Any) -> None:
        address = options["mail"]
        if address is not None and not is_address(address):
            raise CommandError(f"--mail: {address!r} is no mail address.", returncode=2)
        something_is_wrong = False
        with quiet():
            for name, finding in self.examine(address):
                self.stdout.write(finding.line(name))
                self.stdout.flush()
                something_is_wrong |= finding.state is State.WRONG
        if something_is_wrong:
            sys.exit(1)

    def examine(self, address: str | None) -> Iterator[tuple[str, Finding]]:
        yield "settings", accepted_settings()
        yield "limits", limits()
        yield "links", links(in_mails=self.sends_mails())
        found = database()
        yield "database", found
        if found.state is State.OK:
            yield "timeouts", checks.timeouts()
            yield "writing", checks.writing()
            for check in (*checks.DATABASE_CHECKS, *self.checks):
                yield check.name, run_check(check)
        yield "mail", mail(address) if address or self.sends_mails() else ok("no mails are sent by this service")
        for check in self.outside_checks:
            yield check.name, check.find()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep log lines from between the findings, which say the same in plainer words."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def read_only() -> Iterator[None]:
    """A block in which the database itself refuses changes, and ends what takes long."""
    with transaction.atomic():
        checks.query("SET TRANSACTION READ ONLY")
        checks.query("SET LOCAL statement_timeout = '5s'")
        yield


def run_check(check: Check) -> Finding:
    try:
        with read_only():
            return check.find()
    except Error as error:
        return unsure(f"the database does not tell: {checks.first_line(error)}; apply all migrations and look again")


def database() -> Finding:
    try:
        return checks.version(checks.query_server())
    except Error as error:
        remedy = "is PostgreSQL running, and does DATABASE_URL name it, the role and the password?"
        return wrong(f"{checks.first_line(error)}; {remedy} What it holds was not looked at.")


# Settings. That they were accepted is why this runs: what cannot be used is refused before, in one sentence.


def accepted_settings() -> Finding:
    for_people, for_services = (
        " and ".join(tokens.verifying_keys(audience)) for audience in (tokens.AUDIENCE, tokens.INTERNAL_AUDIENCE)
    )
    text = f"accepted; tokens for people are verified with key {for_people}, those of services with {for_services}"
    if settings.DEBUG:
        return unsure(f"{text}; DEBUG is on, which shows settings and code to anybody: for one's own machine only")
    return ok(text)


def limits() -> Finding:
    rates = api_settings.DEFAULT_THROTTLE_RATES
    text = ", ".join(f"{scope} {rate or 'off'}" for scope, rate in rates.items())
    if not (settings.GATEWAY_ADDRESSES or settings.GATEWAY_SECRET):
        shared = "who has no token shares one limit with all who come by the same gateway"
        return unsure(f"{text}; GATEWAY_ADDRESSES and GATEWAY_SECRET are not set, so that {shared}")
    return ok(text)


def links(*, in_mails: bool) -> Finding:
    """Tell what links begin with; in mails that leave this machine they must open elsewhere too."""
    if settings.PUBLIC_URL:
        return ok(f"they begin with {settings.PUBLIC_URL}")
    text = "PUBLIC_URL is not set, so links in answers are relative"
    if in_mails and settings.EMAIL_BACKEND == SMTP:
        remedy = "set it to the address at which people reach the gateway"
        return unsure(f"{text}, and those in mails begin with {settings.LOCAL_URL}, which opens here alone; {remedy}")
    return ok(text)
