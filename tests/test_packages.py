"""chassis and both services build as packages with all of their files."""

import subprocess
import sys
from zipfile import ZipFile

import pytest

from tests.local_stack import ROOT
from tests.test_fresh_checkout import tracked_files

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


@pytest.mark.parametrize("service", ["user_service", "task_service"])
def test_a_service_is_packaged_with_all_of_its_files(service, tmp_path):
    assert packaged(service, tmp_path) == sources(service)


def test_chassis_is_packaged_with_all_of_its_files(tmp_path):
    assert packaged("chassis", tmp_path) == {f"chassis/{name}" for name in sources("chassis")}
