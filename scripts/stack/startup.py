"""What happens once between starting the processes and calling the stack healthy."""

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
from stack.state import SERVICE_UIDS, State

HEALTHY_SECONDS = 60
# Django's own checks wait for `migrate`: they need the whole service.
READ_SETTINGS = """
import sys
from chassis.ops.startup import exit_on_setting_error
with exit_on_setting_error(sys.argv[1]):
    import config.settings
"""


def check_settings(environments: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse, in the service's own sentence, settings with which a service would not start."""
    with step("Checking settings"):
        refuse_unusable(environments)


def refuse_unusable(environments: Mapping[str, Mapping[str, str]]) -> None:
    env.workers()  # gunicorn would refuse it in a traceback
    finish([read_settings(service, environments[service]) for service in environments])
    nginx.settings(gateway_settings(user_service="http://localhost", task_service="http://localhost"))


def gateway_settings(*, user_service: str, task_service: str) -> dict[str, str]:
    urls = {"USER_SERVICE_URL": user_service, "TASK_SERVICE_URL": task_service}
    return {**settings.without_secrets(), "ALLOWED_HOSTS": settings.hosts(), **urls}


def settings_of_gateway(ports: Ports) -> dict[str, str]:
    return gateway_settings(
        user_service=f"127.0.0.1:{ports.user_service}", task_service=f"127.0.0.1:{ports.task_service}"
    )


def write_programs(state: State, ports: Ports, environments: Mapping[str, Mapping[str, str]]) -> None:
    """Write all that the supervisor, the launcher and the gateway read."""
    chosen = [postgres.program(state, port=ports.postgres)] if settings.needs_postgres() else []
    addresses = {"user_service": ports.user_service, "task_service": ports.task_service}
    uids = service_uids(environments)
    state.share(uids)
    for service, port in addresses.items():
        environment = settings.whole(service, environments[service])  # of now: the supervisor's is that of its start
        if uids[service]:
            environment |= {"HOME": str(state.folder)}  # libpq looks there for certificates; root's is closed to it
        chosen.append(programs.web(service, port=port, environment=environment, uid=uids[service]))
        chosen.append(programs.worker(service, environment=environment, uid=uids[service]))
    user_service, task_service = (f"127.0.0.1:{port}" for port in (ports.user_service, ports.task_service))
    gateway = nginx.program(
        state,
        listen=ports.gateway_listen,
        user_service=user_service,
        task_service=task_service,
        environment=settings_of_gateway(ports),
    )
    chosen.append(gateway)
    programs.write(state, chosen)


def service_uids(environments: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    """Return the user that each service runs as: for root one of its own, if that can reach Python and the checkout."""
    if os.geteuid() != 0:
        return dict.fromkeys(environments, 0)
    try:
        probes = [read_settings(service, environments[service], uid=SERVICE_UIDS[service]) for service in environments]
    except PermissionError:
        return dict.fromkeys(environments, 0)
    failed = [probe for probe in probes if probe.communicate() and probe.returncode]
    return dict.fromkeys(environments, 0) if failed else SERVICE_UIDS


def bring_up(state: State, ports: Ports) -> None:
    environments = settings.for_services(state, ports)
    if settings.needs_postgres():
        with step("Starting PostgreSQL"):
            provision_embedded(state, port=ports.postgres)
    migrate(state, ports, environments)
    with step("Looking for an admin"):
        password = {"ADMIN_PASSWORD": settings.admin_password(state)}
        finish([manage("user_service", "ensure_admin", environment=environments["user_service"] | password)])
    with step("Waiting until all is healthy"):
        wait_until_healthy(ports)


def password_opens(state: State, environment: Mapping[str, str]) -> bool:
    """Tell whether what the banner and the doctor call the admin's password still is that; nobody is signed in."""
    password = {"ADMIN_PASSWORD": settings.admin_password(state)}
    (said,) = finish([manage("user_service", "ensure_admin", "--check", environment={**environment, **password})])
    return said.strip() == "current"


def provision_embedded(state: State, *, port: int) -> None:
    secrets = state.secrets()
    owner_url = postgres.owner_url(secrets["POSTGRES_PASSWORD"], port=port)
    postgres.wait_until_up(owner_url)
    try:
        provision(owner_url, database=postgres.DATABASE, tenants=settings.tenants(secrets))
    except psycopg2.Error as error:
        raise StackError(f"The database roles cannot be prepared: {error_sentence(error)}") from error


def migrate(state: State, ports: Ports, environments: Mapping[str, Mapping[str, str]]) -> None:
    """Migrate as the owners of the schemas, whose passwords no other program of the stack is given."""
    owners = settings.owners(state, ports)
    with step("Migrating both databases"):
        finish(
            [
                manage(service, "migrate", "-v0", environment={**environments[service], **owners[service]})
                for service in environments
            ]
        )


def read_settings(service: str, environment: Mapping[str, str], *, uid: int = 0) -> subprocess.Popen[str]:
    return python(service, "-c", READ_SETTINGS, service, environment=environment, uid=uid)


def manage(service: str, *arguments: str, environment: Mapping[str, str], uid: int = 0) -> subprocess.Popen[str]:
    return python(service, "manage.py", *arguments, environment=environment, uid=uid)


def python(service: str, *arguments: str, environment: Mapping[str, str], uid: int = 0) -> subprocess.Popen[str]:
    return python_in(service, *arguments, environment=settings.whole(service, environment), uid=uid)


def python_in(service: str, *arguments: str, environment: Mapping[str, str], uid: int = 0) -> subprocess.Popen[str]:
    """Start Python in the folder of a service, with this environment and nothing else in it."""
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


def finish(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for all of them and return what they printed; refuse with what the first that failed has to say."""
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        if process.returncode:
            raise StackError(sentence(errors) or f"{process.args!r} failed.")
    return [output for output, _ in outputs]


def sentence(errors: str) -> str:
    """Return what a command says, and of a traceback because of the database the reason alone: it is no bug."""
    if found := re.search(r"^(?:django\.db\.utils|psycopg2\.errors)\.OperationalError: (.+)", errors, re.MULTILINE):
        return f"The database does not do its work: {found[1]}."
    return errors.strip().removeprefix("CommandError: ")


def wait_until_healthy(ports: Ports) -> None:
    for service in ("user", "task"):
        wait_until_reachable(ports, service)


def wait_until_reachable(ports: Ports, service: str) -> None:
    """Ask the service itself, which gives its reasons to callers on its machine, then through the gateway."""
    port = {"user": ports.user_service, "task": ports.task_service}[service]
    wait_until_ready(f"http://127.0.0.1:{port}", service)
    wait_until_ready(ports.gateway_url, service)


def wait_until_ready(url: str, service: str) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while reason := not_ready_because(f"{url}/{service}/health/ready/"):
        if time.monotonic() > deadline:
            raise StackError(f"The {service} service is not ready: {reason} See log/{service}-service.log.")
        time.sleep(0.1)


def not_ready_because(url: str) -> str | None:
    try:
        status, answer = call(url, timeout_seconds=5, Cache_Control="no-cache")
    except OSError as error:
        return f"{error}."
    return None if status == HTTPStatus.OK else str(answer["detail"])
