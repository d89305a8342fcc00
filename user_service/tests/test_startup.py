import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.ops.env import SettingError
from chassis.testing.key_pairs import pair, public_pem

SERVICE = Path(__file__).resolve().parent.parent
LONG_ENOUGH = "fine-otherwise-0123456789-abcdefghijkl"


def starting(**environment):
    argv = [sys.executable, "manage.py", "check"]
    return subprocess.run(argv, cwd=SERVICE, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"JWT_SIGNING_KEY": LONG_ENOUGH, "USER_SECRET_KEY": LONG_ENOUGH}, "must not equal"),
        ({"JWT_PRIVATE_KEY": "nonsense"}, "JWT_PRIVATE_KEY is not in PEM format; generate one with: openssl genpkey"),
        ({"JWT_PUBLIC_KEYS": public_pem(pair().material)}, "JWT_PUBLIC_KEYS is set without JWT_PRIVATE_KEY"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS=* is for DEBUG only"),
        ({"DEBUG": "true", "ALLOWED_HOSTS": "tasks.example"}, "DEBUG must be off"),
        ({"REGISTRATION": "Open"}, "REGISTRATION must be one of open, invite, not 'Open'."),
    ],
)
def test_unsafe_settings_are_rejected(monkeypatch, environment, sentence):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingError, match=re.escape(sentence)):
        runpy.run_path(str(SERVICE / "config" / "settings.py"))


def test_a_rejected_setting_stops_the_start_with_one_sentence():
    done = starting(JWT_SIGNING_KEY="short")

    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert done.stderr.startswith("user_service: JWT_SIGNING_KEY is shorter than 32 bytes")
