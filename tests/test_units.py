"""The units for systemd, and the blocks of docs/by-hand.md that install them."""

import re
import shutil
import subprocess
from configparser import RawConfigParser

import pytest

from tests.local_stack import ROOT
from tests.test_by_hand import PAGE

UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
ENABLED = [name for line in re.findall(r"systemctl enable --now (.+)$", PAGE, re.MULTILINE) for name in line.split()]


def unit(path):
    parser = RawConfigParser(strict=False)  # an option may occur several times
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser


def here(text, instance="task_service"):
    return text.replace("/srv/tmservice", str(ROOT)).replace("%i", instance)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_at_boot_as_an_unprivileged_user(path):
    service = unit(path)["Service"]
    programs = [word for word in here(service["ExecStart"]).split() if word.startswith(str(ROOT))]

    assert service["User"] == "tmservice"
    assert unit(path)["Install"]["WantedBy"] == "multi-user.target"
    assert programs
    for place in [*programs, here(service.get("WorkingDirectory", str(ROOT)))]:
        assert (ROOT / place).exists() or "/.venv/" in place, place


def test_the_docs_enable_every_unit():
    files = {f"{name.partition('@')[0]}@.service" if "@" in name else f"{name}.service" for name in ENABLED}

    assert files == {path.name for path in UNITS}
    assert {name.partition("@")[2] for name in ENABLED} == {"", "user_service", "task_service"}


def test_systemd_accepts_the_units(tmp_path):
    """Use a separate root, if systemd's programs are installed."""
    etc = tmp_path / "etc" / "systemd" / "system"
    etc.mkdir(parents=True)
    for path in UNITS:
        text = (
            here(path.read_text(), "%i").replace(f"{ROOT}/.venv/bin/", "/bin/").replace("/bin/gunicorn", "/bin/python")
        )
        (etc / path.name).write_text(text.replace("/bin/python", "/bin/sh"))
    instances = [f"{name}.service" for name in ENABLED]

    if shutil.which("systemd-analyze"):
        paths = [etc / re.sub("@.+(?=[.])", "@", name) for name in instances]
        done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True)
        assert (done.returncode, [line for line in done.stderr.splitlines() if "tmservice" in line]) == (0, [])
    if shutil.which("systemctl"):
        enabled = subprocess.run(
            ["systemctl", f"--root={tmp_path}", "enable", *instances], capture_output=True, text=True
        )
        assert enabled.returncode == 0, enabled.stderr
        assert {path.name for path in (etc / "multi-user.target.wants").iterdir()} == set(instances)
