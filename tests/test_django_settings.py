"""Each Django setting is used, and the settings pass Django's deployment checks."""

import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.conf import global_settings

from stack.check import SETTINGS
from tests.local_stack import ROOT, output_of

SERVICES = ("user_service", "task_service")
READERS = ("rest_framework", "rest_framework_simplejwt", "corsheaders", "drf_yasg", "whitenoise")
NAMES = "import json, config.settings as s; print(json.dumps([name for name in vars(s) if name.isupper()]))"
JWT_NAMES = "import json, config.settings as s; print(json.dumps(list(s.SIMPLE_JWT)))"
USED_SIMPLE_JWT_MODULES = ("tokens.py", "views.py")  # its authentication and shared backend are not in use


def python(service, *arguments):
    return output_of([sys.executable, *arguments], cwd=ROOT / service, env=os.environ | SETTINGS)


def package(name):
    return Path(find_spec(name).origin).parent


def read_text_of(*folders, but=()):
    files = (file for folder in folders for file in folder.rglob("*.py"))
    return "\n".join(file.read_text() for file in files if "tests" not in file.parts and file not in but)


@pytest.mark.parametrize("service", SERVICES)
def test_djangos_deployment_checks_find_nothing(service):
    done = python(service, "manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_read(service):
    names = set(json.loads(python(service, "-c", NAMES).stdout)) - {"ROOT"}  # a path, for the settings themselves
    own = ROOT / service / "config" / "settings.py"
    text = read_text_of(ROOT / "chassis", ROOT / service, *map(package, READERS), but=[own])

    unread = [name for name in names if not hasattr(global_settings, name) and not re.search(rf"\b{name}\b", text)]

    assert unread == []


def test_every_setting_of_simplejwt_is_read():
    text = "".join((package("rest_framework_simplejwt") / name).read_text() for name in USED_SIMPLE_JWT_MODULES)

    names = json.loads(python("user_service", "-c", JWT_NAMES).stdout)

    assert names
    assert [name for name in names if f"api_settings.{name}" not in text] == []
