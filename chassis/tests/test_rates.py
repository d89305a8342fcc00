"""Settings of the limits: defaults, off, and errors."""

import pytest

from chassis.models import Window
from chassis.ops.env import SettingError
from chassis.ops.settings import rest_framework
from chassis.testing.forge import claims, signed
from chassis.testing.limiting import read_limits, set_limits

SCOPES = {"admin": "10/min", "user": "10/min", "anon": "5/min", "signup": "60/min"}


@pytest.mark.django_db
def test_a_limit_that_is_off_counts_nothing_and_adds_no_headers(client, settings):
    set_limits(settings, user=None, anon="1/min")
    signed_in = {"Authorization": f"Bearer {signed(claims())}"}

    answers = [client.get("/echo/", headers=signed_in) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {200}
    assert [read_limits(answer) for answer in answers] == [[]] * 20
    assert not Window.objects.exists()


def test_with_all_limits_off_no_query_is_made(client, settings):
    """This test has no database."""
    set_limits(settings, **dict.fromkeys(SCOPES))

    assert [client.get("/echo/").status_code for _ in range(20)] == [200] * 20


@pytest.fixture
def rates_of(monkeypatch):
    """Reads the rates from an environment, like a service at start."""

    def read(**environment):
        for scope in [*SCOPES, "newcomers"]:
            monkeypatch.delenv(f"THROTTLE_{scope.upper()}", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return rest_framework(authentication="x")["DEFAULT_THROTTLE_RATES"]

    return read


def test_the_limits_have_defaults(rates_of):
    assert rates_of() == rates_of(THROTTLE_ANON="") == SCOPES


def test_the_old_name_of_the_sign_up_limit_is_still_read(rates_of, caplog):
    assert rates_of(THROTTLE_NEWCOMERS="7/min") == SCOPES | {"signup": "7/min"}
    assert [record.getMessage() for record in caplog.records] == [
        "THROTTLE_NEWCOMERS is now called THROTTLE_SIGNUP; the next version will not read the old name."
    ]


def test_the_new_name_overrides_the_old_one(rates_of, caplog):
    assert rates_of(THROTTLE_NEWCOMERS="7/min", THROTTLE_SIGNUP="8/min") == SCOPES | {"signup": "8/min"}
    assert caplog.records == []


def test_an_error_names_the_setting_that_was_set(rates_of):
    with pytest.raises(SettingError, match=r"^THROTTLE_NEWCOMERS must be a rate"):
        rates_of(THROTTLE_NEWCOMERS="7/week")


@pytest.mark.parametrize("scope", SCOPES)
def test_each_limit_can_be_set_or_turned_off(rates_of, scope):
    name = f"THROTTLE_{scope.upper()}"

    assert rates_of(**{name: "600/hour"}) == SCOPES | {scope: "600/hour"}
    assert rates_of(**{name: "off"}) == SCOPES | {scope: None}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    "value",
    [
        *("0/min", "10", "10/week", "-1/min", "1.5/min", "01/min", "10/", "/min", "10 / min", "10/min ", "10/MIN"),
        *("Off", "none", "0", "10/min\n", "10/month", "12345678/min", "\u0661/min", "10/60"),
    ],
)
def test_an_invalid_rate_is_rejected_in_one_sentence(rates_of, scope, value):
    name = f"THROTTLE_{scope.upper()}"

    with pytest.raises(SettingError) as caught:
        rates_of(**{name: value})

    assert str(caught.value) == f"{name} must be a rate such as 10/min (or /sec, /hour, /day), or off, not {value!r}."
