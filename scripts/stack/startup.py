"""Steps between starting the processes and a healthy stack."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus

import psycopg2

from chassis.ops import env
from deploy.provision import error_sentence, provision
from stack import nginx, postgres, programs, settings
from stack.bootstrap import ROOT
from stack.console import StackError, step
from stack.http import call
from stack.ports import Ports
from stack.state import SERVICE_UIDS, StateFolder

HEALTHY_SECONDS = 60
# Django's system checks run with `migrate`: they need the whole service.
READ_SETTINGS = """
import sys
from chassis.ops.startup import exit_on_setting_error
with exit_on_setting_error(sys.argv[1]):
    import config.settings
"""
# One start of Django for several commands: each takes longer to start than to run.
RUN_COMMANDS = """
import os, sys
from django.core.management import execute_from_command_line
from chassis.ops.startup import exit_on_setting_error
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
with exit_on_setting_error(sys.argv[1]):
    for command in sys.argv[2:]:
        execute_from_command_line(["manage.py", *command.split()])
"""
MIGRATE = "migrate -v0"


def check_settings(environments: Mapping[str, Mapping[str, str]]) -> None:
    """Raise StackError, with the service's message, for settings that would stop a service from starting."""
    with step("Checking settings"):
        validate_settings(environments)


def validate_settings(environments: Mapping[str, Mapping[str, str]]) -> None:
    env.workers()  # gunicorn would fail with a traceback
    wait_for_all([read_settings(service, environments[service]) for service in environments])
    nginx.settings(gateway_settings(user_service="http://localhost", task_service="http://localhost"))


def gateway_settings(*, user_service: str, task_service: str) -> dict[str, str]:
    urls = {"USER_SERVICE_URL": user_service, "TASK_SERVICE_URL": task_service}
    return {**settings.without_secrets(), "ALLOWED_HOSTS": settings.hosts(), **urls}


def local_gateway_settings(ports: Ports) -> dict[str, str]:
    return gateway_settings(
        user_service=f"127.0.0.1:{ports.user_service}", task_service=f"127.0.0.1:{ports.task_service}"
    )


def write_programs(state: StateFolder, ports: Ports, environments: Mapping[str, Mapping[str, str]]) -> None:
    """Write the files of the supervisor, the launcher and the gateway."""
    chosen = [postgres.program(state, port=ports.postgres)] if settings.needs_postgres() else []
    addresses = {"user_service": ports.user_service, "task_service": ports.task_service}
    uids = service_uids(environments)
    state.share(uids)
    for service, port in addresses.items():
        # The current environment: the supervisor still has the one from its start.
        environment = settings.full_environment(service, environments[service])
        if uids[service]:
            environment |= {"HOME": str(state.folder)}  # libpq looks for certificates there; it cannot read root's
        chosen.append(programs.web(service, port=port, environment=environment, uid=uids[service]))
        chosen.append(programs.worker(service, environment=environment, uid=uids[service]))
    user_service, task_service = (f"127.0.0.1:{port}" for port in (ports.user_service, ports.task_service))
    gateway = nginx.program(
        state,
        listen=ports.gateway_listen,
        user_service=user_service,
        task_service=task_service,
        environment=local_gateway_settings(ports),
    )
    chosen.append(gateway)
    programs.write(state, chosen)


def service_uids(environments: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Return the user ID of each service: for root a separate one, if it can access Python and the checkout."""
    if os.geteuid() != 0:
        return dict.fromkeys(environments, 0)
    try:
        probes = [read_settings(service, environments[service], uid=SERVICE_UIDS[service]) for service in environments]
    except PermissionError:
        return dict.fromkeys(environments, 0)
    failed = [probe for probe in probes if probe.communicate() and probe.returncode]
    return dict.fromkeys(environments, 0) if failed else SERVICE_UIDS


def bring_up(state: StateFolder, ports: Ports) -> bool:
    """Return whether the known admin password is valid."""
    environments = settings.for_services(state, ports)
    if settings.needs_postgres():
        with step("Starting PostgreSQL"):
            provision_embedded(state, port=ports.postgres)
    with step("Migrating both databases and ensuring an admin exists"):
        is_current = prepare(state, ports, environments)
    with step("Waiting until everything is healthy"):
        wait_until_healthy(ports)
    return is_current


def prepare(state: StateFolder, ports: Ports, environments: Mapping[str, Mapping[str, str]]) -> bool:
    """Migrate, create the first admin, and return whether the known admin password is valid."""
    users, tasks = owner_environments(state, ports, environments)
    users |= {"ADMIN_PASSWORD": settings.admin_password(state)}
    # Without Django's system checks: they load all views, as the services are doing at this moment.
    commands = [f"{each} --skip-checks" for each in (MIGRATE, "ensure_admin", "ensure_admin --check")]
    output, _ = wait_for_all(
        [
            python("user_service", "-c", RUN_COMMANDS, "user_service", *commands, environment=users),
            manage("task_service", *commands[0].split(), environment=tasks),
        ]
    )
    return says_current(output)


def admin_password_is_current(state: StateFolder, environment: Mapping[str, str]) -> bool:
    """Return whether the known admin password is still valid, without signing in."""
    password = {"ADMIN_PASSWORD": settings.admin_password(state)}
    (output,) = wait_for_all(
        [manage("user_service", "ensure_admin", "--check", environment={**environment, **password})]
    )
    return says_current(output)


def says_current(output: str) -> bool:
    return output.splitlines()[-1] == "current"


def provision_embedded(state: StateFolder, *, port: int) -> None:
    secrets = state.secrets()
    owner_url = postgres.owner_url(secrets["POSTGRES_PASSWORD"], port=port)
    postgres.wait_until_up(owner_url)
    try:
        provision(owner_url, database=postgres.DATABASE, tenants=settings.tenants(secrets))
    except psycopg2.Error as error:
        raise StackError(f"Creating the database roles failed: {error_sentence(error)}") from error


def migrate(state: StateFolder, ports: Ports, environments: Mapping[str, Mapping[str, str]]) -> None:
    with step("Migrating both databases"):
        each = zip(environments, owner_environments(state, ports, environments), strict=True)
        wait_for_all([manage(service, *MIGRATE.split(), environment=environment) for service, environment in each])


def owner_environments(
    state: StateFolder, ports: Ports, environments: Mapping[str, Mapping[str, str]]
) -> list[dict[str, str]]:
    """Return the environments for migrating as the schema owners, whose passwords no other program gets."""
    owners = settings.owners(state, ports)
    return [{**environments[service], **owners[service]} for service in environments]


def read_settings(service: str, environment: Mapping[str, str], *, uid: int = 0) -> subprocess.Popen[str]:
    return python(service, "-c", READ_SETTINGS, service, environment=environment, uid=uid)


def manage(service: str, *arguments: str, environment: Mapping[str, str], uid: int = 0) -> subprocess.Popen[str]:
    return python(service, "manage.py", *arguments, environment=environment, uid=uid)


def python(service: str, *arguments: str, environment: Mapping[str, str], uid: int = 0) -> subprocess.Popen[str]:
    return start_python(service, *arguments, environment=settings.full_environment(service, environment), uid=uid)


def start_python(service: str, *arguments: str, environment: Mapping[str, str], uid: int = 0) -> subprocess.Popen[str]:
    """Start Python in the folder of a service with exactly this environment."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT / service,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **programs.identity(uid),
    )


def wait_for_all(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for all processes and return their outputs; raise StackError with the first failure."""
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        if process.returncode:
            raise StackError(error_text(errors) or f"{process.args!r} failed.")
    return [output for output, _ in outputs]


def error_text(errors: str) -> str:
    """Return the error output; of a traceback from the database only the reason, since it is no bug."""
    if found := re.search(r"^(?:django\.db\.utils|psycopg2\.errors)\.OperationalError: (.+)", errors, re.MULTILINE):
        return f"The database failed: {found[1]}."
    return errors.strip().removeprefix("CommandError: ")


def wait_until_healthy(ports: Ports) -> None:
    for service in ("user", "task"):
        wait_until_reachable(ports, service)


def wait_until_reachable(ports: Ports, service: str) -> None:
    """Check the service directly, since it gives reasons only to local callers, then through the gateway."""
    port = {"user": ports.user_service, "task": ports.task_service}[service]
    wait_until_ready(f"http://127.0.0.1:{port}", service)
    wait_until_ready(ports.gateway_url, service)


def wait_until_ready(url: str, service: str) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while reason := not_ready_reason(f"{url}/{service}/health/ready/"):
        if time.monotonic() > deadline:
            raise StackError(f"The {service} service is not ready: {reason} See log/{service}-service.log.")
        time.sleep(0.1)


def not_ready_reason(url: str) -> str | None:
    try:
        status, answer = call(url, timeout_seconds=5, Cache_Control="no-cache")
    except OSError as error:
        return f"{error}."
    return None if status == HTTPStatus.OK else str(answer["detail"])
