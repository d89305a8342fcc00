"""What scripts/test runs, and what it leaves to --all."""

import subprocess
import sys

import pytest

from tests.local_stack import ROOT, environment

A_THOROUGH_TEST = "test_where_no_chromium_can_be_had_it_is_said"


@pytest.mark.parametrize(("options", "total"), [(["--all"], "1 passed, 0 failed"), ([], "0 passed, 0 failed")])
def test_thorough_tests_are_run_by_all_alone(options, total):
    command = [sys.executable, ROOT / "scripts" / "test", *options, "tests", "-k", A_THOROUGH_TEST]

    done = subprocess.run(command, env=environment(), capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == f"total: {total}", done.stdout + done.stderr
