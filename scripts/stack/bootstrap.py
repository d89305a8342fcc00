"""Creates the virtual environment and continues inside it. Uses only the standard library."""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import NoReturn

from stack.console import StackError, step

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
# requirements/test.txt includes requirements/local.txt.
INCLUDED = {"local": ("local",), "test": ("test", "local")}


def require_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python gets this message
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")


def run_in_venv(requirements: str, module: str) -> NoReturn:
    """Install requirements/<requirements>.txt if needed, then exec `module` with the same arguments."""
    require_python()
    try:
        with redirect_stdout(sys.stderr):  # standard output is for the command: a backup, settings for .env
            python = install(requirements)
    except StackError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    os.execv(python, [str(python), "-m", module, *sys.argv[1:]])


def install(requirements: str, *, venv: Path = VENV, interpreter: str = sys.executable) -> Path:
    """Install requirements/<requirements>.txt if needed; return the Python of the environment."""
    python = venv / "bin" / "python"
    with install_lock():
        if is_installed(requirements, venv):
            add_checkout(venv)
            return python
        if not starts(python):
            with step(f"Creating the virtual environment {venv.relative_to(ROOT)}"):
                create_venv(venv, interpreter)
        source = ROOT / "requirements" / f"{requirements}.txt"
        with step(f"Installing {source.read_text().count('==')} packages into {venv.relative_to(ROOT)} (once)"):
            command = [*installer(python), "--require-hashes", "-r", str(source)]
            run_quietly(command, message="Installing the packages failed")
        for name in INCLUDED.get(requirements, [requirements]):
            stamp(name, venv).write_text(digest(name))
        add_checkout(venv)
    return python


def add_checkout(venv: Path) -> None:
    """Let the environment find chassis, deploy and stack in this checkout, as an editable installation would."""
    (packages,) = venv.glob("lib/python3.*/site-packages")
    file, text = packages / "tmservice.pth", f"{ROOT / 'scripts'}\n{ROOT}\n"
    if not file.is_file() or file.read_text() != text:
        file.write_text(text)


@contextmanager
def install_lock() -> Iterator[None]:
    """Make a second run of the same checkout wait until the first has installed."""
    folder = os.open(ROOT / "requirements", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def is_installed(name: str, venv: Path) -> bool:
    found = stamp(name, venv)
    return found.is_file() and found.read_text() == digest(name) and (venv / "bin" / "python").exists()


def stamp(name: str, venv: Path) -> Path:
    return venv / f"installed-{name}"


def digest(name: str) -> str:
    return hashlib.sha256((ROOT / "requirements" / f"{name}.txt").read_bytes()).hexdigest()


def starts(python: Path) -> bool:
    return python.exists() and subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


def create_venv(venv: Path, interpreter: str) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    without_pip = ["--without-pip"] if shutil.which("uv") else []
    if not without_pip and importlib.util.find_spec("ensurepip") is None:
        raise StackError("This Python cannot create virtual environments: install python3-venv, or put uv on PATH.")
    command = [interpreter, "-m", "venv", *without_pip, str(venv)]
    run_quietly(command, message="Creating the virtual environment failed")


def installer(python: Path) -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]


def run_quietly(command: list[str], *, message: str, environment: dict[str, str] | None = None) -> None:
    """Run a command; raise StackError with its output if it fails."""
    program = shutil.which(command[0], path=(environment or os.environ).get("PATH")) or command[0]
    done = subprocess.run(
        [program, *command[1:]], check=False, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise StackError(f"{message}:\n{done.stderr.strip() or done.stdout.strip()}")
