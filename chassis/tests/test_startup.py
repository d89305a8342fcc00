import pytest

from chassis.ops.env import SettingError
from chassis.ops.startup import exit_on_setting_error


def test_a_setting_error_ends_the_program_in_one_sentence(capsys):
    with pytest.raises(SystemExit) as ending, exit_on_setting_error("task_service"):
        raise SettingError("JWT_SIGNING_KEY is not set; see .env.example.")

    assert ending.value.code == 78
    assert capsys.readouterr() == ("", "task_service: JWT_SIGNING_KEY is not set; see .env.example.\n")


def test_any_other_error_keeps_its_traceback(capsys):
    with pytest.raises(ZeroDivisionError), exit_on_setting_error("task_service"):
        raise ZeroDivisionError

    assert capsys.readouterr() == ("", "")
