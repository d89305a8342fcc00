"""What scripts/test runs, and what it leaves to --all."""

import re
import subprocess
import sys
from argparse import Namespace

import pytest

from stack import other_python
from stack import test as scripts_test
from tests.local_stack import ROOT, environment

A_THOROUGH_TEST = "test_where_no_chromium_can_be_had_it_is_said"


@pytest.mark.parametrize(("options", "total"), [(["--all"], "1 passed, 0 failed"), ([], "0 passed, 0 failed")])
def test_thorough_tests_are_run_by_all_alone(options, total):
    command = [sys.executable, ROOT / "scripts" / "test", *options, "tests", "-k", A_THOROUGH_TEST]

    done = subprocess.run(command, env=environment(), capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == f"total: {total}", done.stdout + done.stderr


def run(*arguments):
    command = [sys.executable, ROOT / "scripts" / "test", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def test_a_python_that_is_not_there_is_named_in_one_sentence():
    done = run("--python", "3.99", "chassis")

    assert done.returncode == 1
    assert done.stderr.startswith("scripts/test: There is no Python 3.99 on PATH or of pyenv; install it")


def test_another_python_is_not_for_the_tests_of_the_scripts():
    assert "--python goes with neither --all" in run("--python", "3.13", "tests").stderr


def test_the_images_run_the_python_that_all_tests_too():
    for service in ("user_service", "task_service"):
        assert re.search(rf"FROM python:{other_python.OF_IMAGES}\b", (ROOT / service / "Dockerfile").read_text())


@pytest.fixture
def pythons(tmp_path, monkeypatch):
    """A machine on which python3.13 is a shim of pyenv's that does not start, and pyenv has the versions given."""
    shims = tmp_path / "shims"
    write(shims / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    monkeypatch.setenv("PATH", f"{shims}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    def add(version):
        return write(tmp_path / "versions" / version / "bin" / "python", f"echo {version.rpartition('.')[0]}")

    return add


def write(path, script):
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_version_of_pyenv_is_found_though_it_is_switched_off(pythons):
    pythons("3.12.1")
    expected = pythons("3.13.0")

    assert other_python.find("3.13") == expected
    assert other_python.find(expected) == expected


def test_where_the_images_python_is_missing_all_says_so(pythons, monkeypatch):
    monkeypatch.setattr(sys, "version", "3.11.7 (main)")
    everything = Namespace(all=True, python=None, k=None, packages=[])

    assert other_python.find("3.13") is None
    assert scripts_test.extent(everything) == "everything but Python 3.13, which is not on this machine"
    pythons("3.13.0")
    assert scripts_test.extent(everything) == "everything"
