"""Runs tests under another installed Python, in a separate environment."""

import os
import shutil
import subprocess
from pathlib import Path

from stack import bootstrap
from stack.bootstrap import VENV
from stack.console import StackError

IMAGE_PYTHON = "3.13"  # the version in the service images
VERSION = "import sys; print('.'.join(map(str, sys.version_info[:2])))"


def environment(wanted: str) -> Path:
    """Return the Python of an environment with all test packages. `wanted` is a version or a path."""
    interpreter = find(wanted)
    if interpreter is None:
        raise StackError(
            f"Python {wanted} is neither on PATH nor installed by pyenv; install it, or give --python its path."
        )
    return bootstrap.install("test", venv=VENV / f"python-{version(interpreter)}", interpreter=interpreter)


def find(wanted: str) -> str | None:
    """Return an interpreter that starts: pyenv has shims for inactive versions, too."""
    if "/" in wanted:
        return wanted if version(wanted) else None
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [shutil.which(f"python{wanted}"), *map(str, pyenv.glob(f"versions/{wanted}*/bin/python"))]
    return next((candidate for candidate in candidates if candidate and version(candidate) == wanted), None)


def version(interpreter: str) -> str:
    """Return its version, such as 3.13, or "" if it does not start."""
    try:
        done = subprocess.run([interpreter, "-c", VERSION], check=False, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()
