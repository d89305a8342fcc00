"""scripts/manage user|task COMMAND ...: the manage.py of a service, with the settings of the stack.

The settings are those of the running, or last, stack. A command runs as the service's user; one that needs the
schema owner or the admin password runs as the user who starts the stack.
"""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

import psycopg2

from chassis.ops import env
from deploy.provision import error_sentence
from stack import launch, postgres, programs, settings
from stack.console import StackError, exit_on_error
from stack.ports import read_ports
from stack.state import StateFolder, find_state

SERVICES = {"user": "user_service", "task": "task_service"}
PRIVILEGED = {"ensure_admin", "migrate", "prepare"}
WITHOUT_DATABASE = {"--version", "check", "doctor", "help", "version"}  # the doctor reports a missing database itself
CONNECT_SECONDS = 5
TERMINAL_VARIABLES = ("COLUMNS", "DJANGO_SUPERUSER_", "LINES", "TERM")
USAGE = (
    "scripts/manage user|task COMMAND [ARGUMENT ...] runs a command of a service, such as: "
    "scripts/manage task check_due_tasks. COMMAND help lists them."
)


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        sys.exit(0 if arguments else 2)
    with exit_on_error("manage", env.SettingError):
        env.load_dotenv()
        manage(find_state(), *arguments)


def manage(state: StateFolder, name: str, *arguments: str) -> NoReturn:
    """Exec the command, so that it gets the input, output and exit status of this process."""
    if name not in SERVICES:
        raise StackError(f"There is no service {name!r}: use user or task.")
    program = service_program(state, SERVICES[name])
    command = arguments[0] if arguments else "help"
    environment, uid = program.environment, program.uid
    if command in PRIVILEGED:
        environment, uid = environment | privileged(state, SERVICES[name]), 0
    if command not in WITHOUT_DATABASE and not {"-h", "--help"} & {*arguments}:
        check_database(environment)
    if uid:
        os.umask(programs.PRIVATE)
        launch.become(uid, uid)
    os.chdir(program.folder)
    os.execve(sys.executable, [sys.executable, "manage.py", *arguments], with_terminal(environment))


def service_program(state: StateFolder, service: str) -> programs.Program:
    try:
        return programs.read(state, service.replace("_", "-"))
    except FileNotFoundError as error:
        raise StackError(f"No stack was started in {state.folder} yet; scripts/run starts one.") from error
    except PermissionError as error:
        raise StackError(f"The stack in {state.folder} belongs to another user.") from error


def privileged(state: StateFolder, service: str) -> dict[str, str]:
    """Return the settings that no running program gets."""
    owners = settings.owners(state, read_ports(state))
    admin = {"ADMIN_PASSWORD": settings.admin_password(state)} if service == "user_service" else {}
    return owners[service] | admin


def check_database(environment: Mapping[str, str]) -> None:
    url = environment.get("OWNER_DATABASE_URL") or environment["DATABASE_URL"]
    try:
        psycopg2.connect(url, connect_timeout=CONNECT_SECONDS).close()
    except psycopg2.OperationalError as error:
        raise StackError(
            f"The database does not answer (scripts/run starts the stack): {error_sentence(error)}"
        ) from error


def with_terminal(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with terminal variables, and with PostgreSQL's tools on PATH for dbshell."""
    terminal = {name: value for name, value in os.environ.items() if name.startswith(TERMINAL_VARIABLES)}
    path = f"{environment.get('PATH', os.defpath)}{os.pathsep}{postgres.binaries()}"
    return {**environment, **terminal, "PATH": path}


if __name__ == "__main__":
    main()
