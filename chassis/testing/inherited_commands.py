"""Every command that Django and the installed packages bring, run once: it works, or says in one sentence why not."""

from pathlib import Path

from django.apps import apps
from django.core import management
from django.core.management import CommandError, call_command, find_commands

# What depends on programs of the machine: it works, or names what is missing.
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
    """Return {command: arguments} that fit a service with this app; what is written goes to this folder."""
    (folder / "app").mkdir()
    (folder / "project").mkdir()
    return {
        "check": [],
        "compilemessages": [],
        "createcachetable": [],
        "dbshell": ["--", "--command=SELECT 1"],
        "diffsettings": [],
        "dumpdata": [],
        "flush": ["--noinput"],
        "generate_swagger": [str(folder / "swagger.yaml")],
        "generateschema": [],
        "inspectdb": [],
        "loaddata": ["sample.json"],
        "makemessages": ["--locale=de"],
        "makemigrations": ["--check", "--dry-run"],
        "migrate": ["--plan"],
        "optimizemigration": [app, "0001", "--check"],
        "runserver": ["nowhere"],
        "sendtestemail": ["alice@example.com"],
        "shell": ["--command=pass"],
        "showmigrations": [],
        "sqlflush": [],
        "sqlmigrate": [app, "0001"],
        "sqlsequencereset": [app],
        "squashmigrations": [app, "nothing"],
        "startapp": ["sample", str(folder / "app")],
        "startproject": ["sample", str(folder / "project")],
        "test": [],
        "testserver": ["sample.json"],
    }


def inherited():
    """Return the names of all commands that do not come from this repository, or stand in for such a one."""
    packages = [Path(config.path) for config in apps.get_app_configs() if "site-packages" in Path(config.path).parts]
    folders = [management.__path__[0], *(str(package / "management") for package in packages)]
    return {name for folder in folders for name in find_commands(folder)}


def unexpected(commands):
    """Run each command; return {command: what it said} of those that neither work nor are refused as they should be."""
    said = {name: run(name, arguments) for name, arguments in commands.items()}
    return {name: sentence for name, sentence in said.items() if not is_expected(name, sentence)}


def run(name, arguments):
    """Return "" if the command works, or else what it says. Any other exception is a traceback for whoever runs it."""
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
