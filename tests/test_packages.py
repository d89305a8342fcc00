"""chassis and both services build as packages with all of their files."""

import subprocess
import sys
from zipfile import ZipFile

import pytest

from tests.local_stack import ROOT, tracked_files

NOT_PACKAGED = {"pyproject.toml", "Dockerfile", "manage.py"}


def sources(folder):
    """Return the expected files of a package, relative to its folder."""
    names = {name.partition("/")[2] for name in tracked_files() if name.startswith(f"{folder}/")}
    return {name for name in names if not name.startswith(("testing/", "tests/")) and name not in NOT_PACKAGED}


def packaged(folder, target):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT / folder, check=True, capture_output=True)
    (wheel,) = target.iterdir()
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.mark.parametrize(("folder", "prefix"), [("chassis", "chassis/"), ("user_service", ""), ("task_service", "")])
def test_a_package_has_all_of_its_files(folder, prefix, tmp_path):
    assert packaged(folder, tmp_path) == {f"{prefix}{name}" for name in sources(folder)}
