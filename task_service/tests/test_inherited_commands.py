import io

import pytest

from chassis.testing import inherited_commands

pytestmark = pytest.mark.django_db


@pytest.fixture
def commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    return inherited_commands.table("tasks", tmp_path)


def test_every_inherited_command_is_in_the_table(commands):
    assert inherited_commands.inherited() == commands.keys()


@pytest.mark.django_db(transaction=True)  # migrate closes the connection
def test_each_works_or_explains_its_refusal(commands):
    assert inherited_commands.unexpected(commands) == {}
