"""scripts/manage user|task COMMAND ...: the manage.py of a service, with the settings of the stack.

They are those with which it runs, or ran last. A command runs as the user of the service; one that needs the owner of
the schema or the admin's password, as whoever starts the stack.
"""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn

import psycopg2

from chassis.ops import env
from deploy.provision import error_sentence
from stack import launch, postgres, programs, settings
from stack.console import StackError, command
from stack.ports import read_ports
from stack.state import State, find_state

SERVICES = {"user": "user_service", "task": "task_service"}
PRIVILEGED = {"ensure_admin", "migrate", "prepare"}
WITHOUT_DATABASE = {"--version", "check", "doctor", "help", "version"}  # the doctor says itself what it finds
CONNECT_SECONDS = 5
PASSED_ON = ("COLUMNS", "DJANGO_SUPERUSER_", "LINES", "TERM")
USAGE = (
    "scripts/manage user|task COMMAND [ARGUMENT ...] runs a command of a service, such as: "
    "scripts/manage task check_due_tasks. COMMAND help lists them."
)


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        sys.exit(0 if arguments else 2)
    with command("manage", env.SettingError):
        env.load_dotenv()
        manage(find_state(), *arguments)


def manage(state: State, side: str, *arguments: str) -> NoReturn:
    """Become the command: its input, output and exit status are those of this process."""
    if side not in SERVICES:
        raise StackError(f"There is no service {side!r}: it is user or task.")
    program = program_of(state, SERVICES[side])
    command = arguments[0] if arguments else "help"
    environment, uid = program.environment, program.uid
    if command in PRIVILEGED:
        environment, uid = environment | privileged(state, SERVICES[side]), 0
    if command not in WITHOUT_DATABASE and not {"-h", "--help"} & {*arguments}:
        check_database(environment)
    if uid:
        os.umask(programs.PRIVATE)
        launch.become(uid, uid)
    os.chdir(program.folder)
    os.execve(sys.executable, [sys.executable, "manage.py", *arguments], passed_on(environment))


def program_of(state: State, service: str) -> programs.Program:
    try:
        return programs.read(state, service.replace("_", "-"))
    except FileNotFoundError as error:
        raise StackError(f"Nothing was started in {state.folder} yet; scripts/run does it.") from error
    except PermissionError as error:
        raise StackError(f"The stack in {state.folder} is another user's.") from error


def privileged(state: State, service: str) -> dict[str, str]:
    """Return what no program that serves is given."""
    owners = settings.owners(state, read_ports(state))
    admin = {"ADMIN_PASSWORD": settings.admin_password(state)} if service == "user_service" else {}
    return owners[service] | admin


def check_database(environment: Mapping[str, str]) -> None:
    url = environment.get("OWNER_DATABASE_URL") or environment["DATABASE_URL"]
    try:
        psycopg2.connect(url, connect_timeout=CONNECT_SECONDS).close()
    except psycopg2.OperationalError as error:
        raise StackError(
            f"The database does not answer, scripts/run starts the stack: {error_sentence(error)}"
        ) from error


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with what is the terminal's, and with the programs of PostgreSQL, for dbshell."""
    of_now = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    path = f"{environment.get('PATH', os.defpath)}{os.pathsep}{postgres.binaries()}"
    return {**environment, **of_now, "PATH": path}


if __name__ == "__main__":
    main()
