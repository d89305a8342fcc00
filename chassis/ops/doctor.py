"""manage.py doctor: prints the findings of all checks of a service."""

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
    help = "Check this service and its dependencies; the exit status is 1 if anything is wrong."
    requires_system_checks: list[str] = []  # it must run when something is wrong
    checks: Sequence[Check]  # of this service's tables
    outside_checks: Sequence[Check] = ()  # of other dependencies

    def sends_mails(self) -> bool:
        return True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--mail", metavar="ADDRESS", help="send a test mail to this address")

    def handle(self, *args: Any, **options: Any) -> None:
        address = options["mail"]
        if address is not None and not is_address(address):
            raise CommandError(f"--mail: {address!r} is not a mail address.", returncode=2)
        something_is_wrong = False
        with quiet():
            for name, finding in self.examine(address):
                self.stdout.write(finding.line(name))
                self.stdout.flush()
                something_is_wrong |= finding.state is State.WRONG
        if something_is_wrong:
            sys.exit(1)

    def examine(self, address: str | None) -> Iterator[tuple[str, Finding]]:
        yield "settings", valid_settings()
        yield "limits", limits()
        yield "links", links(in_mails=self.sends_mails())
        found = database()
        yield "database", found
        if found.state is State.OK:
            yield "timeouts", checks.timeouts()
            yield "writing", checks.writing()
            for check in (*checks.DATABASE_CHECKS, *self.checks):
                yield check.name, run_check(check)
        yield "mail", mail(address) if address or self.sends_mails() else ok("this service sends no mails")
        for check in self.outside_checks:
            yield check.name, check.find()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress log lines, which would repeat the findings between them."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def read_only() -> Iterator[None]:
    """Open a transaction in which the database rejects writes and cancels slow statements."""
    with transaction.atomic():
        checks.query("SET TRANSACTION READ ONLY")
        checks.query("SET LOCAL statement_timeout = '5s'")
        yield


def run_check(check: Check) -> Finding:
    try:
        with read_only():
            return check.find()
    except Error as error:
        return unsure(f"unknown: {checks.first_line(error)}; apply all migrations and try again")


def database() -> Finding:
    try:
        return checks.version(checks.query_server())
    except Error as error:
        remedy = "is PostgreSQL running, and is DATABASE_URL correct?"
        return wrong(f"{checks.first_line(error)}; {remedy} The other checks of it were skipped.")


# Settings. Invalid ones have already stopped the command at start.


def valid_settings() -> Finding:
    for_people, for_services = (
        " and ".join(tokens.verifying_keys(audience)) for audience in (tokens.AUDIENCE, tokens.INTERNAL_AUDIENCE)
    )
    text = f"valid; user tokens are verified with key {for_people}, service tokens with {for_services}"
    if settings.DEBUG:
        return unsure(f"{text}; DEBUG is on, which exposes settings and code; use it only on your own machine")
    return ok(text)


def limits() -> Finding:
    rates = api_settings.DEFAULT_THROTTLE_RATES
    text = ", ".join(f"{scope} {rate or 'off'}" for scope, rate in rates.items())
    if not (settings.GATEWAY_ADDRESSES or settings.GATEWAY_SECRET):
        shared = "all callers without a token share one limit per gateway"
        return unsure(f"{text}; GATEWAY_ADDRESSES and GATEWAY_SECRET are not set, so {shared}")
    return ok(text)


def links(*, in_mails: bool) -> Finding:
    """Check the base of links: those in mails must open on other machines too."""
    if settings.PUBLIC_URL:
        return ok(f"they begin with {settings.PUBLIC_URL}")
    text = "PUBLIC_URL is not set, so links in responses are relative"
    if in_mails and settings.EMAIL_BACKEND == SMTP:
        remedy = "set it to the address of the gateway"
        return unsure(
            f"{text}, and links in mails begin with {settings.LOCAL_URL}, which only opens on this machine; {remedy}"
        )
    return ok(text)
