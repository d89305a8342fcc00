"""Lints the SQL of migrations with squawk and .squawk.toml."""

import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

ROOT = Path(__file__).resolve().parents[2]
SQUAWK = shutil.which("squawk", path=Path(sys.executable).parent)


def complaints(sql):
    """Return the output of squawk for the SQL, or "" if it has no complaints."""
    done = subprocess.run([SQUAWK], cwd=ROOT, input=sql, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode else ""


def complaints_about_migrations(*, last_unchecked):
    """Return the complaints about each migration of our apps after the last unchecked one."""
    found = {}
    for app, name in MigrationLoader(connection).graph.nodes:
        if app in last_unchecked and int(name[:4]) > last_unchecked[app]:
            sql = StringIO()
            call_command("sqlmigrate", app, name, stdout=sql, no_color=True)
            found[f"{app}.{name}"] = complaints(sql.getvalue())
    return {name: text for name, text in found.items() if text}
