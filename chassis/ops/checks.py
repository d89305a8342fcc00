"""Checks of a service. Readiness, metrics and the doctor run the same checks and render their findings."""

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
from chassis.ops.findings import Finding, Gauge, State, duration, manage_command, ok, unsure, wrong
from chassis.time_limits import TIME_LIMITS
from chassis.versions import MIN_POSTGRESQL
from chassis.worker.outbox import DeliveryQuerySet

MAX_HEARTBEAT_AGE_SECONDS = 60
MAX_WAIT_SECONDS = 600  # for a message in an outbox
REFUSED_WRITE_SECONDS = 60
# A scrape takes milliseconds whatever the size of the outbox.
MAX_COUNTED, MAX_EXAMINED = 10_000, 100_000
SERVER_QUERY = """
    SELECT rolname, rolsuper, current_setting('server_version'), current_setting('server_version_num')::int,
        clock_timestamp()
    FROM pg_roles WHERE rolname = current_user
"""
# Tables outside its schema that this role can access. Tables of extensions do not count.
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

TIME_LIMITS_QUERY = "SELECT name, setting::int FROM pg_settings WHERE name IN ({})"
WRITE_TEST = """
    INSERT INTO chassis_window (key, ends_at, requests)
    SELECT 'doctor ' || gen_random_uuid(), now(), 0 FROM generate_series(1, 5000)
"""
CHANGE_RIGHTS = """
    SELECT has_table_privilege('{table}', '{rights}, TRUNCATE') OR pg_has_role(tableowner, 'MEMBER')
    FROM pg_tables WHERE schemaname = current_schema() AND tablename = '{table}'
"""


@dataclass(frozen=True, slots=True)
class Check:
    """The doctor runs every check; readiness and metrics run those with `degrades` or `measured`."""

    name: str
    find: Callable[[], Finding]
    degrades: Collection[State] = ()  # states of the finding that degrade readiness
    measured: bool = False  # metrics include the gauges of the finding


class Server(NamedTuple):
    """The result of SERVER_QUERY."""

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
    # The duration of the query does not count as a difference.
    difference = max((before - theirs).total_seconds(), (theirs - timezone.now()).total_seconds(), 0.0)
    return Server(role, is_superuser, version, number, difference, response_seconds)


def query(statement: str) -> Any:
    """Return the rows of a statement, or [] if it returns none."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def examine_database() -> tuple[str, Server | None]:
    """Return why this service cannot use its database ("" if it can), and the server."""
    try:
        server = query_server()
        blocking = {"role": superuser(server), "migrations": migrations()}
    except Error:
        return "The database cannot be reached.", None
    problems = (f"{name}: {found.text}" for name, found in blocking.items() if found.state is State.WRONG)
    return next(problems, ""), server


def common_checks(server: Server) -> list[Check]:
    """Return the checks of readiness and metrics that both services share."""
    return [
        Check("clock", partial(clock, server), degrades=(State.UNSURE, State.WRONG), measured=True),
        Check("writes", writes, degrades=(State.WRONG,)),
    ]


def superuser(server: Server) -> Finding:
    if server.is_superuser:
        return wrong(f"{server.role} is a superuser; use a role with access to this schema only")
    return ok(f"{server.role} is not a superuser")


def clock(server: Server) -> Finding:
    seconds = server.clock_difference_seconds
    description = "The difference between the clocks of this machine and the database."
    gauge = Gauge("tmservice_clock_difference_seconds", description, seconds)
    return findings.clock(seconds, whose="the database's", gauges=(gauge,))


def writes() -> Finding:
    age = refused_writes.age_seconds()
    if age < REFUSED_WRITE_SECONDS:
        return wrong(f"the database rejected a write {age:.0f} s ago; is its disk full, or is it read-only?")
    return ok("the database has not rejected a write recently")


class Schema:
    """Finds missing migrations. Loading them is slow, so this stops once all were applied: the code of a process does
    not change, and migrations are never reverted while it runs."""

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
        return wrong(f"{len(missing)} are not applied, such as {first}; run: {manage_command('migrate')}")
    return ok("all are applied")


# Only for the doctor


def version(server: Server) -> Finding:
    milliseconds = server.response_seconds * 1000
    text = f"PostgreSQL {server.version.split()[0]} answers in {milliseconds:.0f} ms, role {server.role}"
    if server.version_number < MIN_POSTGRESQL * 10_000:
        return wrong(f"{text}; use PostgreSQL {MIN_POSTGRESQL} or newer")
    return ok(text)


def timeouts() -> Finding:
    """Check the limits of this connection. Do not use it inside `read_only`, which sets another limit."""
    limits = dict(query(TIME_LIMITS_QUERY.format(", ".join(f"'{name}'" for name in TIME_LIMITS))))
    if unlimited := [name for name in TIME_LIMITS if not limits[name]]:
        remedy = (
            "run manage.py migrate, which sets them for this role, then restart the service and its connection pooler"
        )
        return wrong(f"{', '.join(unlimited)} is 0, so the server never cancels a statement that hangs; {remedy}")
    return ok(", ".join(f"{name} {limits[name] / 1000:g} s" for name in TIME_LIMITS))


def writing() -> Finding:
    """Write rows that need new disk space, and roll back."""
    try:
        with transaction.atomic():
            query(WRITE_TEST)
            transaction.set_rollback(True)
    except Error as error:
        return wrong(f"the database rejects writes: {first_line(error)}; free disk space, or use a primary server")
    return ok("the database accepts writes")


def role() -> Finding:
    server = query_server()
    if server.is_superuser:
        return superuser(server)
    name = server.role
    reachable = [table for (table,) in query(REACHABLE_TABLES)]
    if reachable:
        remedy = "use a separate role for each service, and revoke the grants of this one"
        return wrong(f"{name} can access {len(reachable)} tables outside its schema, such as {reachable[0]}; {remedy}")
    return ok(f"{name} is not a superuser and can only access this service's tables")


def schema() -> Finding:
    ((name, path, owner),) = query(
        "SELECT current_schema(), current_setting('search_path'), "
        "(SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = current_schema())"
    )
    if name is None:
        return wrong(f"no schema of search_path {path} exists; create it, or ALTER ROLE ... SET search_path")
    others = {app for app, _ in MigrationRecorder(connection).applied_migrations()} - set(apps.app_configs)
    if others:
        whose = ", ".join(sorted(others))
        return wrong(f"{name} also contains the tables of {whose}; use a separate role and schema for each service")
    return ok(f"{name} (search_path {path}), owned by {owner}")


def history() -> Finding:
    """Check whether an attacker who takes over this service could change append-only tables."""
    tables = roles.append_only_tables()
    changeable = [
        name for name, rights in tables.items() if query(CHANGE_RIGHTS.format(table=name, rights=rights))[0][0]
    ]
    if changeable:
        remedy = "use a separate owner for migrations: scripts/provision-database and OWNER_DATABASE_URL"
        return unsure(f"this role may change or delete {', '.join(changeable)}; {remedy}")
    return ok(
        f"this role may only insert into {', '.join(tables)}" if tables else "no table of this service is append-only"
    )


def counting() -> Finding:
    ((persistence,),) = query("SELECT relpersistence FROM pg_class WHERE oid = 'chassis_window'::regclass")
    if persistence != "u":
        remedy = "ALTER TABLE chassis_window SET UNLOGGED"
        return wrong(f"requests are counted in a logged table, which costs a disk write for each; {remedy}")
    return ok("requests are counted in an UNLOGGED table")


def is_worker_alive() -> bool:
    return Heartbeat.objects.age_seconds() < MAX_HEARTBEAT_AGE_SECONDS  # false for NaN


def worker() -> Finding:
    age = Heartbeat.objects.age_seconds()
    if age < MAX_HEARTBEAT_AGE_SECONDS:
        return ok(f"one was active {duration(max(age, 0))} ago")
    remedy = f"start one: {manage_command('run_worker')}, or set RUN_WORKER=inline if no separate process can run"
    if not math.isnan(age):
        return wrong(f"none was active for {duration(age)}; {remedy}")
    if migrated_recently():
        return unsure(f"none was active yet, and the tables are new; if this lasts for a minute, {remedy}")
    return wrong(f"none was ever active; {remedy}")


def migrated_recently() -> bool:
    """Return whether a worker may not have found its tables yet: its pauses grow with each failure."""
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
    """Check how long messages, called `one` and `many`, have waited. Only `sendable` ones can be late."""
    oldest = messages.oldest_pending_age_seconds()
    gauge = Gauge(f"tmservice_oldest_{one}_seconds", f"The time that the oldest unsent {one} has waited.", oldest)
    waiting = oldest if sendable is messages else sendable.oldest_pending_age_seconds()
    if waiting > MAX_WAIT_SECONDS:
        first = sendable.filter(state="planned").order_by("planned_at")[0]
        why = first.reason or "no attempt yet"
        text = f"the oldest of the {many} has waited for {duration(waiting)}: {why}; is a worker running?"
        return wrong(text, (gauge,))
    return ok(
        f"the oldest of the {many} has waited for {duration(waiting)}" if waiting else f"no {many} wait", (gauge,)
    )


def failed(messages: DeliveryQuerySet[Any], *, many: str, remedy: str) -> Finding:
    """Check for dead-lettered messages; `remedy` says what to do about them."""
    newest = messages.aggregate(newest=Max("pk"))["newest"] or 0
    dead_lettered = messages.filter(state="failed", pk__gt=newest - MAX_EXAMINED).order_by("-pk")
    gauges = outbox_metrics(messages, many, failed=(number := dead_lettered.count()))
    if number:
        last = dead_lettered[0].reason
        return unsure(f"{number} {many} were dead-lettered, the last one because: {last}; {remedy}", gauges)
    return ok(f"no {many} were dead-lettered", gauges)


def outbox_metrics(messages: DeliveryQuerySet[Any], many: str, *, failed: int) -> tuple[Gauge, Gauge]:
    waiting = messages.filter(state="planned")[:MAX_COUNTED].count()
    return (
        Gauge(
            f"tmservice_{many}_waiting",
            f"The number of {many} waiting to be sent, counted up to {MAX_COUNTED}.",
            waiting,
        ),
        Gauge(
            f"tmservice_{many}_failed", f"The number of dead-lettered {many} among the newest {MAX_EXAMINED}.", failed
        ),
    )


def held_mails(mails: DeliveryQuerySet[Any]) -> Finding:
    """Check for mails that wait for a mail server."""
    if settings.MAILS_ARE_HELD and mails.oldest_pending_age_seconds():
        return unsure("mails wait in the database until EMAIL_URL is set")
    return ok("no mails wait for EMAIL_URL")
