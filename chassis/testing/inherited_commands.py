"""Runs every command of Django and the installed packages: it works or fails with one sentence."""

from pathlib import Path

from django.apps import apps
from django.core import management
from django.core.management import CommandError, call_command, find_commands

# Depend on installed programs: they work, or name the missing one.
GETTEXT_AND_PSQL = ("compilemessages", "makemessages", "dbshell")
REFUSALS = {
    "generateschema": "write it with generate_swagger",
    "loaddata": "use the API, or scripts/restore",
    "runserver": '"nowhere" is not a valid port',
    "squashmigrations": "Cannot find a migration matching 'nothing'",
    "test": "run scripts/test",
    "testserver": "scripts/run --demo",
}


def table(app, folder):
    """Return {command: arguments} for a service with this app; output goes to this folder."""
    (folder / "app").mkdir()
    (folder / "project").mkdir()
    without_arguments = (
        *("check", "compilemessages", "createcachetable", "diffsettings", "dumpdata", "generateschema", "inspectdb"),
        *("showmigrations", "sqlflush", "test"),
    )
    return dict.fromkeys(without_arguments, ()) | {
        "dbshell": ["--", "--command=SELECT 1"],
        "flush": ["--noinput"],
        "generate_swagger": [str(folder / "swagger.yaml")],
        "loaddata": ["sample.json"],
        "makemessages": ["--locale=de"],
        "makemigrations": ["--check", "--dry-run"],
        "migrate": ["--plan"],
        "optimizemigration": [app, "0001", "--check"],
        "runserver": ["nowhere"],
        "sendtestemail": ["alice@example.com"],
        "shell": ["--command=pass"],
        "sqlmigrate": [app, "0001"],
        "sqlsequencereset": [app],
        "squashmigrations": [app, "nothing"],
        "startapp": ["sample", str(folder / "app")],
        "startproject": ["sample", str(folder / "project")],
        "testserver": ["sample.json"],
    }


def inherited():
    """Return the names of all commands of Django and of packages, even if we override them."""
    packages = [Path(config.path) for config in apps.get_app_configs() if "site-packages" in Path(config.path).parts]
    folders = [management.__path__[0], *(str(package / "management") for package in packages)]
    return {name for folder in folders for name in find_commands(folder)}


def unexpected(commands):
    """Run each command; return {command: output} of those with an unexpected result."""
    said = {name: run(name, arguments) for name, arguments in commands.items()}
    return {name: sentence for name, sentence in said.items() if not is_expected(name, sentence)}


def run(name, arguments):
    """Return "" if the command works, otherwise its error. Other exceptions would be tracebacks for the user."""
    try:
        call_command(name, *arguments)
    except CommandError as error:
        return str(error)
    return ""


def is_expected(name, sentence):
    is_one_line = "\n" not in sentence and sentence.endswith(".")
    if name in GETTEXT_AND_PSQL:
        return not sentence or is_one_line
    return is_one_line and REFUSALS[name] in sentence if name in REFUSALS else not sentence
