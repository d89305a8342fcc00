import pytest

from chassis.ops import env

KNOWN = ("log", "email")


@pytest.fixture
def setting(monkeypatch):
    def put(value):
        monkeypatch.setenv("SETTING", value)

    return put


@pytest.mark.parametrize(
    ("value", "chosen"),
    [
        ("log", ["log"]),
        ("email,log", ["email", "log"]),
        (" log , email, ", ["log", "email"]),
        ("log,email,log", ["log", "email"]),
        ("", ["log"]),
    ],
)
def test_several_choices_are_read_in_order_without_repeats(setting, value, chosen):
    setting(value)

    assert env.choices("SETTING", "log", known=KNOWN) == chosen


@pytest.mark.parametrize("value", ["pigeon", "log,pigeon", "LOG", "log email", "log;email", ",", " "])
def test_unknown_or_no_choices_are_rejected_with_the_known_ones(setting, value):
    setting(value)

    sentence = "^SETTING must be one or more of log, email, separated by commas[.]$"
    with pytest.raises(env.SettingError, match=sentence):
        env.choices("SETTING", "log", known=KNOWN)


@pytest.mark.parametrize(("value", "chosen"), [("email", "email"), ("", "log")])
def test_one_choice_is_read(setting, value, chosen):
    setting(value)

    assert env.choice("SETTING", "log", known=KNOWN) == chosen


@pytest.mark.parametrize("value", ["pigeon", "EMAIL", " log", "log,email", ","])
def test_an_unknown_choice_is_rejected_with_the_known_ones(setting, value):
    setting(value)

    with pytest.raises(env.SettingError, match=f"^SETTING must be one of log, email, not '{value}'[.]$"):
        env.choice("SETTING", "log", known=KNOWN)
