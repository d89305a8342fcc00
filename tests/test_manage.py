"""scripts/manage runs commands of a service with the stack's settings; documented commands work."""

import os
import pty
import re
import subprocess
import sys

import pytest
import requests
import yaml

from tests.local_stack import PASSWORD, ROOT, LocalStack, output_of
from tests.own_postgres import run_sql
from tests.test_repository import files

FENCE = re.compile(r"^```sh.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`|^ {4}(\S.*)$", re.MULTILINE)
MANAGE_COMMAND = re.compile(r"^(?:\d\S+ \S+ \S+ \S+ \S+ )?scripts/manage (?!user\|task)(.+)$")
IN_A_CONTAINER = re.compile(r"^docker compose (?:exec|run --rm)(?: --no-deps)?(?: -T)? (\w+) python manage\.py (\w+)")


def pages():
    """Return the documentation without the decisions, which may be outdated."""
    return [page for page in files(".md") if "adr" not in page.parts and page.name != "CHANGELOG.md"]


def documented_commands():
    """Return every documented command line, without comments."""
    for page in pages():
        text = re.sub(r"^```\w*.*$", "", page.read_text(), flags=re.MULTILINE)
        for inline, indented in CODE.findall(text):
            yield (inline or indented).partition("  #")[0].strip()
        for fence in FENCE.findall(page.read_text()):
            yield from fence.splitlines()


CHANGE_PASSWORD = "user changepassword admin"  # would end sessions that other tests use
LINES = sorted(
    {found[1] for line in documented_commands() if (found := MANAGE_COMMAND.match(line))} - {CHANGE_PASSWORD}
)


def manage(stack, line, **options):
    """Run a command line without the stack's settings in the environment."""
    command = [sys.executable, stack.root / "scripts" / "manage", *line.split()]
    here = {"PATH": os.environ["PATH"], "TMSERVICE_ENV_FILE": os.devnull, "TMSERVICE_STATE_DIR": str(stack.folder)}
    return output_of(command, env=here | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}, **options)


def test_documented_commands_are_found():
    assert {"task replay_deliveries --dry-run", "task check_due_tasks", "user migrate"} <= set(LINES)


@pytest.mark.parametrize("line", LINES)
def test_a_documented_command_works_on_a_running_stack(stack, line):
    done = manage(stack, line)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_lost_password_is_replaced(stack):
    made = manage(stack, "user createsuperuser --noinput --username=locked-out --email=locked-out@example.com")
    done = manage(stack, CHANGE_PASSWORD.replace("admin", "locked-out"), input="another wet umbrella\n" * 2)

    assert (made.returncode, done.returncode) == (0, 0), made.stderr + done.stderr
    credentials = {"username": "locked-out", "password": "another wet umbrella"}
    assert requests.post(f"{stack.url}/token/", json=credentials, timeout=30).status_code == 200


def test_container_commands_name_a_service_and_a_command():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    lines = [found.groups() for line in documented_commands() if (found := IN_A_CONTAINER.match(line))]

    commands = {path.stem for path in files(".py") if path.parent.name == "commands"}
    assert lines
    assert [line for line in lines if line[0] not in services or line[1] not in commands] == []


def test_input_output_and_exit_status_are_passed_through(stack):
    done = manage(stack, "user shell", input="import sys; print(6 * 7); sys.exit(3)")

    assert (done.stdout.splitlines()[-1], done.returncode) == ("42", 3), done.stderr


def test_a_terminal_is_passed_through(stack):
    ours, theirs = pty.openpty()
    try:
        code = "import sys; print(sys.stdin.isatty() and sys.stderr.isatty())"
        command = [sys.executable, stack.root / "scripts" / "manage", "task", "shell", "-v0", "-c", code]
        done = subprocess.run(
            command, env=stack.environment(), stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.stdout == "True\n"


def test_a_command_runs_with_the_settings_of_the_service(stack):
    uid = stack.programs()["task-service"]["uid"] or os.geteuid()
    code = "import os; print(os.getuid(), os.environ.get('OWNER_DATABASE_URL'))"

    done = manage(stack, "task shell -v0", input=code)

    assert done.stdout.split() == [str(uid), "None"]


@pytest.mark.slow
def test_migrations_run_as_the_owner_and_an_admin_is_created(own_stack):
    own_stack.start()
    back = manage(own_stack, "task migrate tasks 0003")
    again = manage(own_stack, "task migrate")

    assert (back.returncode, again.returncode) == (0, 0), back.stderr + again.stderr
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'task_service'"
    assert run_sql(own_stack.owner_url(), owners) == [("task_service_owner",)]

    admins = "from accounts.models import User; User.objects.all().update(is_active=False)"
    assert manage(own_stack, "user shell -v0", input=admins).returncode == 0
    made = manage(own_stack, "user ensure_admin")
    assert made.stderr.endswith("ADMIN_USERNAME belongs to an account that is not an active admin.\n")

    own_stack.stop()
    assert manage(own_stack, "user help").returncode == 0
    refused = manage(own_stack, "user showmigrations")
    assert refused.returncode == 1
    assert refused.stderr.startswith("scripts/manage: The database does not answer (scripts/run starts the stack): ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    {
        "users migrate": "There is no service 'users': use user or task.",
        "user migrate": "No stack was started in {folder} yet; scripts/run starts one.",
    }.items(),
)
def test_an_impossible_command_is_refused(line, sentence):
    never_started = LocalStack()
    try:
        done = manage(never_started, line)
    finally:
        never_started.remove()

    assert (done.returncode, done.stderr) == (1, f"scripts/manage: {sentence}\n".format(folder=never_started.folder))
