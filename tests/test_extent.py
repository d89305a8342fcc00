"""Which tests scripts/test runs with and without --all."""

import re
import sys
from argparse import Namespace

import pytest

from stack import other_python
from stack import test as scripts_test
from tests.local_stack import ROOT, environment, output_of

A_SLOW_TEST = "test_a_missing_chromium_is_reported"


@pytest.mark.parametrize(("options", "total"), [(["--all"], "1 passed, 0 failed"), ([], "0 passed, 0 failed")])
def test_slow_tests_run_only_with_all(options, total):
    done = run(*options, "tests", "-k", A_SLOW_TEST)

    assert done.stdout.splitlines()[-1] == f"total: {total}", done.stdout + done.stderr


def run(*arguments):
    return output_of([sys.executable, ROOT / "scripts" / "test", *arguments], env=environment())


def test_a_missing_python_is_named():
    done = run("--python", "3.99", "chassis")

    assert done.returncode == 1
    assert done.stderr.startswith("scripts/test: Python 3.99 is neither on PATH nor installed by pyenv; install it")


def test_another_python_does_not_run_the_script_tests():
    assert "--python cannot be combined with --all" in run("--python", "3.13", "tests").stderr


def test_under_the_second_python_each_test_runs_once():
    command = [sys.executable, "-m", "pytest", "-n0", "--collect-only", "-q", *scripts_test.FIRST_PARAMETERS]

    listed = output_of([*command, "tests/test_extent.py"], cwd=ROOT).stdout

    names = [line.partition("[")[0] for line in listed.splitlines() if "::" in line]
    assert len(names) == len(set(names)) > 5


def test_all_uses_the_python_of_the_images():
    for service in ("user_service", "task_service"):
        assert re.search(rf"FROM python:{other_python.IMAGE_PYTHON}\b", (ROOT / service / "Dockerfile").read_text())


@pytest.fixture
def pythons(tmp_path, monkeypatch):
    """A machine where python3.13 is an inactive pyenv shim, and pyenv has the given versions."""
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


def test_an_inactive_pyenv_version_is_found(pythons):
    pythons("3.12.1")
    expected = pythons("3.13.0")

    assert other_python.find("3.13") == expected
    assert other_python.find(expected) == expected


def test_all_reports_that_the_python_of_the_images_is_missing(pythons, monkeypatch):
    monkeypatch.setattr(sys, "version", "3.11.7 (main)")
    everything = Namespace(all=True, python=None, k=None, packages=[])

    assert other_python.find("3.13") is None
    assert scripts_test.extent(everything) == "everything but Python 3.13, which is not installed"
    pythons("3.13.0")
    assert scripts_test.extent(everything) == "everything"
