"""Makes the virtual environment and goes on inside it. Runs on a bare Python: the standard library only."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from stack.console import Refused, step

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# requirements/test.txt holds all that requirements/local.txt does.
INCLUDED = {"local": ("local",), "test": ("test", "local")}


def run_in_venv(requirements: str, module: str) -> NoReturn:
    """Install requirements/<requirements>.txt where that was not done yet, then become `module`, arguments and all."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells an older one
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    try:
        install(requirements)
    except Refused as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'scripts'}{os.pathsep}{ROOT}"}
    os.execve(PYTHON, [str(PYTHON), "-m", module, *sys.argv[1:]], environment)


def install(requirements: str) -> None:
    with only_one_at_a_time():
        if is_installed(requirements):
            return
        if not works(PYTHON):
            with step("Making the virtual environment .venv"):
                make_venv()
        source = ROOT / "requirements" / f"{requirements}.txt"
        with step(f"Installing {source.read_text().count('==')} packages into .venv, this once"):
            quietly([*installer(), "--require-hashes", "-r", str(source)], otherwise="The packages were not installed")
        for name in INCLUDED[requirements]:
            stamp(name).write_text(digest(name))


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Let a second run of the same checkout wait until the first has installed."""
    folder = os.open(ROOT / "requirements", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def is_installed(name: str) -> bool:
    return stamp(name).is_file() and stamp(name).read_text() == digest(name) and PYTHON.exists()


def stamp(name: str) -> Path:
    return VENV / f"installed-{name}"


def digest(name: str) -> str:
    return hashlib.sha256((ROOT / "requirements" / f"{name}.txt").read_bytes()).hexdigest()


def works(python: Path) -> bool:
    return python.exists() and subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def make_venv() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    without_pip = ["--without-pip"] if shutil.which("uv") else []
    if not without_pip and importlib.util.find_spec("ensurepip") is None:
        raise Refused("This Python cannot make virtual environments: install python3-venv, or put uv on PATH.")
    command = [sys.executable, "-m", "venv", *without_pip, str(VENV)]
    quietly(command, otherwise="The virtual environment was not made")


def installer() -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]
    return [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]


def quietly(command: list[str], *, otherwise: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Refused(f"{otherwise}:\n{done.stderr.strip() or done.stdout.strip()}")
