"""What can be wrong with a service. Readiness, metrics and the doctor ask the same checks and only render findings."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import Error, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max
from django.utils import timezone

from chassis import refused_writes
from chassis.models import Heartbeat
from chassis.ops import findings, roles
from chassis.ops.findings import Finding, Gauge, State, duration, manage, ok, unsure, wrong
from chassis.time_limits import TIME_LIMITS
from chassis.versions import MIN_POSTGRESQL
from chassis.worker.outbox import DeliveryQuerySet

MAX_HEARTBEAT_AGE_SECONDS = 60
MAX_WAIT_SECONDS = 600  # of a message in an outbox
REFUSED_WRITE_SECONDS = 60
# So that an outbox of any size costs a scrape some milliseconds.
MAX_COUNTED, MAX_EXAMINED = 10_000, 100_000
SERVER_QUERY = """
    SELECT rolname, rolsuper, current_setting('server_version'), current_setting('server_version_num')::int,
        clock_timestamp()
    FROM pg_roles WHERE rolname = current_user
"""
# Tables of others that this role reaches. What an extension brings along is for everybody.
REACHABLE_TABLES = """
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


@dataclass(frozen=True, slots=True)
class Check:
    """The doctor asks every check of a service; readiness and metrics ask those that say so."""

    name: str
    find: Callable[[], Finding]
    degrades: Collection[State] = ()  # in these states of the finding, readiness is degraded
    measured: bool = False  # metrics show the gauges of the finding


class Server(NamedTuple):
    """What the database server says in one statement."""

    role: str
    is_superuser: bool
    version: str
    version_number: int
    clock_difference_seconds: float
    response_seconds: float


def query_server() -> Server:
    connection.ensure_connection()
    before, began = timezone.now(), time.perf_counter()
    ((role, is_superuser, version, number, theirs),) = query(SERVER_QUERY)
    response_seconds = time.perf_counter() - began
    # However long the way there and back was, it is not a difference.
    difference = max((before - theirs).total_seconds(), (theirs - timezone.now()).total_seconds(), 0.0)
    return Server(role, is_superuser, version, number, difference, response_seconds)


def query(statement: str) -> Any:
    """Return the rows of a statement, if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def examine_database() -> tuple[str, Server | None]:
    """Return why this service cannot use its database, "" if it can, and what the server says."""
    try:
        server = query_server()
        blocking = {"role": superuser(server), "migrations": migrations()}
    except Error:
        return "The database cannot be reached.", None
    problems = (f"{name}: {found.text}" for name, found in blocking.items() if found.state is State.WRONG)
    return next(problems, ""), server


def common_checks(server: Server) -> list[Check]:
    """Return what readiness and metrics ask in both services."""
    return [
        Check("clock", partial(clock, server), degrades=(State.UNSURE, State.WRONG), measured=True),
        Check("writes", writes, degrades=(State.WRONG,)),
    ]


def superuser(server: Server) -> Finding:
    if server.is_superuser:
        return wrong(f"{server.role} is a superuser; use a role that serves this schema and nothing else")
    return ok(f"{server.role} is no superuser")


def clock(server: Server) -> Finding:
    seconds = server.clock_difference_seconds
    description = "How far the clocks of this machine and of the database are apart."
    gauge = Gauge("tmservice_clock_difference_seconds", description, seconds)
    return findings.clock(seconds, whose="the database's", gauges=(gauge,))


def writes() -> Finding:
    age = refused_writes.age_seconds()
    if age < REFUSED_WRITE_SECONDS:
        return wrong(f"the database refused to store something {age:.0f} s ago; is its disk full, or is it read-only?")
    return ok("the database refused no write lately")


class Schema:
    """Which migrations the database lacks. Loading all of them takes long, so this stops once all were applied: a
    process keeps its code, and no migration is ever taken back under it."""

    def __init__(self) -> None:
        self.is_complete = False

    def missing(self) -> list[tuple[str, str]]:
        if self.is_complete:
            return []
        loader = MigrationLoader(connection)
        missing = sorted(set(loader.graph.nodes) - set(loader.applied_migrations))
        self.is_complete = not missing
        return missing


SCHEMA = Schema()


def migrations() -> Finding:
    if missing := SCHEMA.missing():
        first = ".".join(missing[0])
        return wrong(f"{len(missing)} are not applied, such as {first}; run: {manage('migrate')}")
    return ok("all are applied")


# For the doctor alone


def version(server: Server) -> Finding:
    milliseconds = server.response_seconds * 1000
    text = f"PostgreSQL {server.version.split()[0]} answers in {milliseconds:.0f} ms, role {server.role}"
    if server.version_number < MIN_POSTGRESQL * 10_000:
        return wrong(f"{text}; use PostgreSQL {MIN_POSTGRESQL} or newer")
    return ok(text)


def timeouts() -> Finding:
    """Read what holds for this very connection; for use outside of `looking`, which has a limit of its own."""
    limits = dict(query(LIMITS.format(", ".join(f"'{name}'" for name in TIME_LIMITS))))
    if unlimited := [name for name in TIME_LIMITS if not limits[name]]:
        remedy = "run manage.py migrate, which sets them for this role, then restart the service and what pools for it"
        return wrong(f"{', '.join(unlimited)} is 0, so that the server ends nothing that hangs; {remedy}")
    return ok(", ".join(f"{name} {limits[name] / 1000:g} s" for name in TIME_LIMITS))


def writing() -> Finding:
    """Store what needs new room on the disk, and take it back."""
    try:
        with transaction.atomic():
            query(WRITE)
            transaction.set_rollback(True)
    except Error as error:
        return wrong(
            f"the database stores nothing: {first_line(error)}; make room on its disk, or use a primary server"
        )
    return ok("the database stores what it is given")


def role() -> Finding:
    server = query_server()
    if server.is_superuser:
        return superuser(server)
    name = server.role
    reachable = [table for (table,) in query(REACHABLE_TABLES)]
    if reachable:
        remedy = "give each service a role of its own, and take from this one what it has been granted"
        return wrong(f"{name} reaches {len(reachable)} tables outside of its schema, such as {reachable[0]}; {remedy}")
    return ok(f"{name} is no superuser and reaches no tables but this service's")


def schema() -> Finding:
    ((name, path, owner),) = query(
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
    changeable = [name for name, rights in tables.items() if query(MAY_CHANGE.format(table=name, rights=rights))[0][0]]
    if changeable:
        remedy = "give migrations an owner of their own: scripts/provision-database, and OWNER_DATABASE_URL"
        return unsure(f"this role may change or delete {', '.join(changeable)}; {remedy}")
    return ok(f"this role may only add to {', '.join(tables)}" if tables else "no table of this service is append-only")


def counting() -> Finding:
    ((persistence,),) = query("SELECT relpersistence FROM pg_class WHERE oid = 'chassis_window'::regclass")
    if persistence != "u":
        remedy = "ALTER TABLE chassis_window SET UNLOGGED"
        return wrong(f"requests are counted in a table that is logged, a write to disk for each; {remedy}")
    return ok("requests are counted in an UNLOGGED table")


def is_worker_alive() -> bool:
    return Heartbeat.objects.age_seconds() < MAX_HEARTBEAT_AGE_SECONDS  # false for the NaN of one that never was


def worker() -> Finding:
    age = Heartbeat.objects.age_seconds()
    if age < MAX_HEARTBEAT_AGE_SECONDS:
        return ok(f"one was at work {duration(max(age, 0))} ago")
    remedy = f"start one: {manage('run_worker')}, or set RUN_WORKER=inline where no further process can run"
    if not math.isnan(age):
        return wrong(f"none has been at work for {duration(age)}; {remedy}")
    if migrated_recently():
        return unsure(f"none was at work yet, and the tables are new; if it stays so for a minute, {remedy}")
    return wrong(f"none was ever at work; {remedy}")


def migrated_recently() -> bool:
    """Whether a worker may not have noticed its tables yet: it waits the longer the more often it did not find them."""
    newest = MigrationRecorder(connection).migration_qs.aggregate(newest=Max("applied"))["newest"]
    return newest is not None and (timezone.now() - newest).total_seconds() < MAX_HEARTBEAT_AGE_SECONDS


DATABASE_CHECKS = [
    Check("role", role),
    Check("schema", schema),
    Check("history", history),
    Check("migrations", migrations),
    Check("counting", counting),
    Check("clock", lambda: clock(query_server())),
    Check("worker", worker),
]


# Outboxes


def outbox(messages: DeliveryQuerySet[Any], *, one: str, many: str, sendable: DeliveryQuerySet[Any]) -> Finding:
    """Judge how long messages wait, which are called `one` and `many`. Only `sendable` ones can be late."""
    oldest = messages.oldest_pending_age_seconds()
    gauge = Gauge(f"tmservice_oldest_{one}_seconds", f"For how long the oldest unsent {one} has been waiting.", oldest)
    waiting = sendable.oldest_pending_age_seconds()
    if waiting > MAX_WAIT_SECONDS:
        first = sendable.filter(state="planned").order_by("planned_at")[0]
        why = first.reason or "nobody has tried to send it"
        text = f"the oldest of the {many} has been waiting for {duration(waiting)}: {why}; is a worker running?"
        return wrong(text, (gauge,))
    return ok(f"the oldest of the {many} waits for {duration(waiting)}" if waiting else f"no {many} wait", (gauge,))


def failed(messages: DeliveryQuerySet[Any], *, many: str, remedy: str) -> Finding:
    """Judge dead-lettered messages; `remedy` says what to do about them."""
    newest = messages.aggregate(newest=Max("pk"))["newest"] or 0
    dead_lettered = messages.filter(state="failed", pk__gt=newest - MAX_EXAMINED).order_by("-pk")
    gauges = outbox_metrics(messages, many, failed=(number := dead_lettered.count()))
    if number:
        last = dead_lettered[0].reason
        return unsure(f"{number} {many} were dead-lettered, the last because: {last}; {remedy}", gauges)
    return ok(f"no {many} were dead-lettered", gauges)


def outbox_metrics(messages: DeliveryQuerySet[Any], many: str, *, failed: int) -> tuple[Gauge, Gauge]:
    waiting = messages.filter(state="planned")[:MAX_COUNTED].count()
    return (
        Gauge(f"tmservice_{many}_waiting", f"How many {many} wait to be sent, counted up to {MAX_COUNTED}.", waiting),
        Gauge(f"tmservice_{many}_failed", f"How many of the newest {MAX_EXAMINED} {many} were dead-lettered.", failed),
    )


def held_mails(mails: DeliveryQuerySet[Any]) -> Finding:
    """Judge the mails that wait for a mail server to be set."""
    if settings.MAILS_ARE_HELD and mails.oldest_pending_age_seconds():
        return unsure("mails wait in the database until EMAIL_URL is set")
    return ok("no mails wait for EMAIL_URL to be set")
