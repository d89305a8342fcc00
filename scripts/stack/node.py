"""Programs from npm that some tests use, installed once in the virtual environment's folder."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from stack import bootstrap
from stack.bootstrap import VENV
from stack.console import step

MIN_VERSION = 18  # of Node
MANIFEST = ("package.json", "package-lock.json")


def install(manifest: Path) -> Path:
    """Install the packages of the folder's package-lock.json once; return the folder with node_modules."""
    target = VENV / "npm" / manifest.name
    digest = hashlib.sha256(b"".join((manifest / name).read_bytes() for name in MANIFEST)).hexdigest()
    stamp = target / "installed"
    environment = node_environment()
    with bootstrap.install_lock():
        if stamp.is_file() and stamp.read_text() == digest:
            return target
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in MANIFEST:
            shutil.copy(manifest / name, target)
        with step(f"Installing {manifest.name} from npm (once)"):
            npm = ["npm", "ci", f"--prefix={target}", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            bootstrap.run_quietly(npm, message="Installing the packages failed", environment=environment)
        stamp.write_text(digest)
    return target


def node_environment() -> dict[str, str]:
    """Return an environment with `node` and `npm` on PATH: installed ones, or those of a PyPI wheel."""
    if machine_has_node():
        return dict(os.environ)
    python = bootstrap.install("node", venv=VENV / "node")
    return os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def machine_has_node() -> bool:
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        return False
    version = subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout
    return version.startswith("v") and int(version[1:].split(".")[0]) >= MIN_VERSION
