"""manage.py doctor: looks for what is wrong with a service and with what it stands on. Both services' command."""

import logging
import os
import smtplib
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max
from django.utils import timezone
from rest_framework.settings import api_settings

from chassis.addresses import is_address
from chassis.auth import tokens
from chassis.models import Heartbeat
from chassis.ops import findings, roles
from chassis.ops.findings import Check, Finding, State, duration, manage, ok, unsure, wrong
from chassis.ops.settings import sample_sender
from chassis.time_limits import TIME_LIMITS
from chassis.worker.mailing import mails_are_held
from chassis.worker.outbox import DeliveryQuerySet, classify

OLDEST_POSTGRESQL = 15
SMTP = "django.core.mail.backends.smtp.EmailBackend"
DEAD_WORKER_SECONDS = 60
LATE_SECONDS = 600  # as in the health of the services
NEWEST = 100_000  # of an outbox; as in its metrics
# Tables of others that this role reaches. What an extension brings along is for everybody.
REACHED = """
    SELECT format('%I.%I', space.nspname, class.relname)
    FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = class.relnamespace
    WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND space.nspname NOT IN (coalesce(current_schema(), ''), 'information_schema') AND space.nspname !~ '^pg_'
        AND has_schema_privilege(space.oid, 'USAGE')
        AND has_table_privilege(class.oid, 'SELECT, INSERT, UPDATE, DELETE')
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = class.oid AND deptype = 'e'
        )
    ORDER BY 1
"""

LIMITS = "SELECT name, setting::int FROM pg_settings WHERE name IN ({})"
WRITE = """
    INSERT INTO chassis_window (key, ends_at, requests)
    SELECT 'doctor ' || gen_random_uuid(), now(), 0 FROM generate_series(1, 5000)
"""
MAY_CHANGE = """
    SELECT has_table_privilege('{table}', '{rights}, TRUNCATE') OR pg_has_role(tableowner, 'MEMBER')
    FROM pg_tables WHERE schemaname = current_schema() AND tablename = '{table}'
"""


class DoctorCommand(BaseCommand, ABC):
    help = "Look for what is wrong with this service and what it stands on; the status is 1 if anything is."
    requires_system_checks: list[str] = []  # it is for when something is wrong

    @abstractmethod
    def stored(self) -> Mapping[str, Check]:
        """Return the checks that need this service's own tables."""

    def around(self) -> Mapping[str, Check]:
        """Return the checks of what is neither in this service nor in its database."""
        return {}

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
            yield "timeouts", timeouts()
            yield "writing", writing()
            for name, check in {**DATABASE_CHECKS, **self.stored()}.items():
                yield name, looked_up(check)
        yield "mail", mail(address) if address or self.sends_mails() else ok("no mails are sent by this service")
        for name, check in self.around().items():
            yield name, check()


def links(*, in_mails: bool) -> Finding:
    """Tell what links begin with; in mails that leave this machine they must open elsewhere too."""
    if settings.PUBLIC_URL:
        return ok(f"they begin with {settings.PUBLIC_URL}")
    text = "PUBLIC_URL is not set, so links in answers are relative"
    if in_mails and settings.EMAIL_BACKEND == SMTP:
        remedy = "set it to the address at which people reach the gateway"
        return unsure(f"{text}, and those in mails begin with {settings.LOCAL_URL}, which opens here alone; {remedy}")
    return ok(text)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep log lines from between the findings, which say the same in plainer words."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def looking() -> Iterator[None]:
    """A block in which the database itself refuses changes, and ends what takes long."""
    with transaction.atomic():
        ask("SET TRANSACTION READ ONLY")
        ask("SET LOCAL statement_timeout = '5s'")
        yield


def looked_up(check: Check) -> Finding:
    try:
        with looking():
            return check()
    except Error as error:
        return unsure(f"the database does not tell: {first_line(error)}; apply all migrations and look again")


def ask(statement: str) -> Any:
    """Return the rows of a statement, if it is one that has any."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


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


# The database


def database() -> Finding:
    try:
        connection.ensure_connection()
        began = time.perf_counter()
        ((version, number, role),) = ask(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_user"
        )
        milliseconds = (time.perf_counter() - began) * 1000
    except Error as error:
        remedy = "is PostgreSQL running, and does DATABASE_URL name it, the role and the password?"
        return wrong(f"{first_line(error)}; {remedy} What it holds was not looked at.")
    text = f"PostgreSQL {version.split()[0]} answers in {milliseconds:.0f} ms, role {role}"
    if number < OLDEST_POSTGRESQL * 10_000:
        return wrong(f"{text}; use PostgreSQL {OLDEST_POSTGRESQL} or newer")
    return ok(text)


def timeouts() -> Finding:
    """Read what holds for this very connection; for use outside of `looking`, which has a limit of its own."""
    limits = dict(ask(LIMITS.format(", ".join(f"'{name}'" for name in TIME_LIMITS))))
    if unlimited := [name for name in TIME_LIMITS if not limits[name]]:
        remedy = "run manage.py migrate, which sets them for this role, then restart the service and what pools for it"
        return wrong(f"{', '.join(unlimited)} is 0, so that the server ends nothing that hangs; {remedy}")
    return ok(", ".join(f"{name} {limits[name] / 1000:g} s" for name in TIME_LIMITS))


def writing() -> Finding:
    """Store what needs new room on the disk, and take it back."""
    try:
        with transaction.atomic():
            ask(WRITE)
            transaction.set_rollback(True)
    except Error as error:
        return wrong(
            f"the database stores nothing: {first_line(error)}; make room on its disk, or use a primary server"
        )
    return ok("the database stores what it is given")


def role() -> Finding:
    ((name, is_superuser),) = ask("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user")
    if is_superuser:
        return wrong(f"{name} is a superuser; use a role that serves this schema and nothing else")
    reached = [table for (table,) in ask(REACHED)]
    if reached:
        remedy = "give each service a role of its own, and take from this one what it has been granted"
        return wrong(f"{name} reaches {len(reached)} tables outside of its schema, such as {reached[0]}; {remedy}")
    return ok(f"{name} is no superuser and reaches no tables but this service's")


def schema() -> Finding:
    ((name, path, owner),) = ask(
        "SELECT current_schema(), current_setting('search_path'), "
        "(SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = current_schema())"
    )
    if name is None:
        return wrong(f"there is none of search_path {path}; make it, or ALTER ROLE ... SET search_path")
    others = {app for app, _ in MigrationRecorder(connection).applied_migrations()} - set(apps.app_configs)
    if others:
        whose = ", ".join(sorted(others))
        return wrong(f"{name} also holds the tables of {whose}; give each service a role and a schema of its own")
    return ok(f"{name}, by search_path {path}; {owner} owns it")


def history() -> Finding:
    """Tell whether anyone who takes over this service can also change what is append-only."""
    tables = roles.append_only_tables()
    changeable = [name for name, rights in tables.items() if ask(MAY_CHANGE.format(table=name, rights=rights))[0][0]]
    if changeable:
        remedy = "give migrations an owner of their own: scripts/provision-database, and OWNER_DATABASE_URL"
        return unsure(f"this role may change or delete {', '.join(changeable)}; {remedy}")
    return ok(f"this role may only add to {', '.join(tables)}" if tables else "no table of this service is append-only")


def migrations() -> Finding:
    loader = MigrationLoader(connection)
    waiting = sorted(set(loader.graph.nodes) - set(loader.applied_migrations))
    if waiting:
        first = ".".join(waiting[0])
        return wrong(f"{len(waiting)} are not applied, such as {first}; run: {manage('migrate')}")
    return ok(f"all {len(loader.graph.nodes)} are applied")


def counting() -> Finding:
    ((persistence,),) = ask("SELECT relpersistence FROM pg_class WHERE oid = 'chassis_window'::regclass")
    if persistence != "u":
        remedy = "ALTER TABLE chassis_window SET UNLOGGED"
        return wrong(f"requests are counted in a table that is logged, a write to disk for each; {remedy}")
    return ok("requests are counted in an UNLOGGED table")


def clock() -> Finding:
    before = timezone.now()
    ((theirs,),) = ask("SELECT clock_timestamp()")
    after = timezone.now()
    # However long the way there and back was, it is not a difference.
    apart = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    return findings.clock(apart, whose="the database's")


def worker() -> Finding:
    beat = Heartbeat.objects.first()
    age = (timezone.now() - beat.beat_at).total_seconds() if beat else None
    if age is not None and age < DEAD_WORKER_SECONDS:
        return ok(f"one was at work {duration(max(age, 0))} ago")
    remedy = f"start one: {manage('run_worker')}, or set RUN_WORKER=inline where no further process can run"
    if age is not None:
        return wrong(f"none has been at work for {duration(age)}; {remedy}")
    if migrated_lately():
        return unsure(f"none was at work yet, and the tables are new; if it stays so for a minute, {remedy}")
    return wrong(f"none was ever at work; {remedy}")


def migrated_lately() -> bool:
    """Whether a worker may not have noticed its tables yet: it waits the longer the more often it did not find them."""
    newest = MigrationRecorder(connection).migration_qs.aggregate(newest=Max("applied"))["newest"]
    return newest is not None and (timezone.now() - newest).total_seconds() < DEAD_WORKER_SECONDS


DATABASE_CHECKS: Mapping[str, Check] = {
    "role": role,
    "schema": schema,
    "history": history,
    "migrations": migrations,
    "counting": counting,
    "clock": clock,
    "worker": worker,
}


def outbox(messages: DeliveryQuerySet[Any], *, noun: str, remedy: str) -> Finding:
    """Judge an outbox, whose messages are called `noun`, in the plural. `remedy` is for dead-lettered ones."""
    waiting = messages.oldest_pending_age_seconds()
    newest = messages.aggregate(newest=Max("pk"))["newest"] or 0
    failed = messages.filter(state="failed", pk__gt=newest - NEWEST).order_by("-pk")
    dead_lettered = failed.count()
    lost = (
        f"{dead_lettered} {noun} were dead-lettered, the last because: {failed[0].reason}; {remedy}"
        if dead_lettered
        else ""
    )
    if waiting > LATE_SECONDS:
        first = messages.filter(state="planned").order_by("planned_at")[0]
        why = first.reason or "nobody has tried to send it"
        text = f"the oldest of the {noun} has been waiting for {duration(waiting)}: {why}; is a worker running?"
        return wrong(f"{text} {lost}")
    if lost:
        return unsure(lost)
    return ok(f"the oldest of the {noun} waits for {duration(waiting)}" if waiting else f"no {noun} wait")


# Mail


def mail(address: str | None) -> Finding:
    """Look whether mails would get away; where an address is given, send one there."""
    if mails_are_held():
        return unsure("no mail is sent: all wait in the database until EMAIL_URL is set")
    folder = getattr(settings, "EMAIL_FILE_PATH", None)
    try:
        return mail_to_folder(Path(folder), address) if folder else mail_to_server(address)
    except OSError as error:
        place = f"the folder {folder}" if folder else server()
        remedy = (
            "set MAIL_FOLDER, or EMAIL_URL" if folder else "set EMAIL_URL to a server that takes this service's mails"
        )
        return wrong(f"{place}: {reason(error)}; {remedy}")


def mail_to_folder(folder: Path, address: str | None) -> Finding:
    place = f"files in {folder}, as EMAIL_URL is not set"
    if address:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it will hold tokens
        send(address, get_connection())
        return ok(f"the mail to {address} is one of the {place}")
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return wrong(f"mails become {place}, and may not be written there; set MAIL_FOLDER, or EMAIL_URL")
    return ok(f"mails become {place}")


def mail_to_server(address: str | None) -> Finding:
    if warning := sample_sender(settings.MAIL_DOMAIN):
        return wrong(warning)
    backend: Any = get_connection()
    with backend as session:  # connected, encrypted and signed in as the settings say
        code, answer = session.connection.noop()
        if code != 250:  # RFC 5321 section 4.3.2
            raise smtplib.SMTPResponseException(code, answer)
        if address:
            send(address, session)
            return ok(f"{server()} took a mail to {address}; did it come?")
    login = f"lets {settings.EMAIL_HOST_USER} in" if settings.EMAIL_HOST_USER else "answers, without a login"
    return ok(f"{server()} {login}; --mail ADDRESS sends a mail")


def server() -> str:
    return f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"


def send(address: str, session: Any) -> None:
    name = settings.SERVICE
    EmailMessage(
        subject=f"A mail from {name}",
        body=f"This was sent by manage.py doctor of {name}: its mails arrive here.\n",
        to=[address],
        headers={"Message-ID": f"<doctor-{uuid4().hex}@{settings.MAIL_DOMAIN}>", "Auto-Submitted": "auto-generated"},
        connection=session,
    ).send()


def reason(error: OSError) -> str:
    return str(classify(error)) if isinstance(error, smtplib.SMTPException) else error.strerror or str(error)
