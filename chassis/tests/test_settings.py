"""Settings that both services share: keys, hosts, the database, PUBLIC_URL, RUN_WORKER and limits."""

import pytest

from chassis.ops import env, settings
from chassis.ops.env import SettingError

GOOD = "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5"
OTHER = "Zq8LwN3vRt6YbKs1MfXc9HgJd4PzUe7TnAi2"


@pytest.fixture
def environment(monkeypatch):
    """Sets variables; None removes one."""

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value or "")
            if value is None:
                monkeypatch.delenv(name)

    return put


def test_previous_signing_keys_are_read_too(environment):
    environment(JWT_SIGNING_KEY=GOOD, JWT_PREVIOUS_SIGNING_KEYS=OTHER)

    assert settings.signing_keys(secret_key="unrelated") == (GOOD, [OTHER])


@pytest.mark.parametrize("secret_key", [GOOD, OTHER])
def test_a_signing_key_equal_to_the_secret_key_is_rejected(environment, secret_key):
    environment(JWT_SIGNING_KEY=GOOD, JWT_PREVIOUS_SIGNING_KEYS=OTHER)

    sentence = "^JWT_SIGNING_KEY must not equal the SECRET_KEY of a service; make two different keys[.]$"
    with pytest.raises(SettingError, match=sentence):
        settings.signing_keys(secret_key=secret_key)


LOCAL = "localhost,127.0.0.1,[::1]"


@pytest.mark.parametrize(
    ("hosts", "debug", "allowed"),
    [
        *[(None, True, LOCAL), (None, False, LOCAL), (LOCAL, True, LOCAL), ("*", True, "*")],
        *[(hosts, False, hosts) for hosts in ("api.tm.test", "localhost,api.tm.test")],
    ],
)
def test_allowed_hosts_default_to_this_machine(environment, hosts, debug, allowed):
    environment(ALLOWED_HOSTS=hosts)

    assert env.allowed_hosts(debug=debug) == allowed.split(",")


@pytest.mark.parametrize(
    ("hosts", "debug", "sentence"),
    [
        ("*", False, "ALLOWED_HOSTS=* is for DEBUG only; list the host names of this service."),
        ("api.tm.test,*", False, "ALLOWED_HOSTS=* is for DEBUG only; list the host names of this service."),
        *(
            (hosts, True, "DEBUG must be off if ALLOWED_HOSTS contains a public host (api.tm.test).")
            for hosts in ("api.tm.test", "localhost,api.tm.test", "*,api.tm.test")
        ),
    ],
)
def test_a_wildcard_needs_debug_and_debug_only_local_hosts(environment, hosts, debug, sentence):
    environment(ALLOWED_HOSTS=hosts)

    with pytest.raises(SettingError) as caught:
        env.allowed_hosts(debug=debug)

    assert str(caught.value) == sentence


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_database_url_becomes_an_entry_with_conn_max_age(environment, scheme):
    environment(SETTING=f"{scheme}://task:p%40ss@db.test:5433/tasks?sslmode=require")

    entry = settings.database("SETTING")

    assert (entry["USER"], entry["PASSWORD"], entry["NAME"]) == ("task", "p@ss", "tasks")
    assert (entry["ENGINE"], entry["HOST"], entry["PORT"]) == ("chassis.postgresql", "db.test", 5433)
    assert (entry["CONN_MAX_AGE"], entry["CONN_HEALTH_CHECKS"]) == (60, True)
    assert entry["OPTIONS"] == {"connect_timeout": 3, "sslmode": "require"}  # nothing that a pooler would reject


@pytest.mark.parametrize(
    ("given", "used"),
    [
        *[("", ""), ("https://tm.test", "https://tm.test"), ("https://tm.test/", "https://tm.test")],
        *[(url, url) for url in ("http://10.0.0.1:8080", "http://[::1]:8080")],
    ],
)
def test_a_public_url_is_a_scheme_a_host_and_an_optional_port(environment, given, used):
    environment(PUBLIC_URL=given, GATEWAY_PORT="9090")

    assert (settings.public_url(), settings.local_url()) == (used, "http://localhost:9090")


@pytest.mark.parametrize(
    "given",
    [
        *(f"https://tm.test{rest}" for rest in ("/tasks", "/tasks/", "?a=b", "#top", ":", ":http", "\n")),
        *("https://ada:secret@tm.test", "https://t m.test", "ftp://tm.test", "tm.test", "//tm.test"),
    ],
)
def test_unexpected_parts_of_a_public_url_are_rejected(environment, given):
    environment(PUBLIC_URL=given)

    with pytest.raises(SettingError, match=r"^PUBLIC_URL must ") as refused:
        settings.public_url()

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("value", "used"), [("separate", "separate"), ("inline", "inline"), (None, "separate")])
def test_jobs_are_separate_by_default(environment, value, used):
    environment(RUN_WORKER=value)

    assert settings.run_worker() == used


def test_the_old_value_of_run_worker_is_read_with_a_warning(environment, caplog):
    environment(RUN_WORKER="apart")

    assert settings.run_worker() == "separate"
    assert caplog.messages == ["RUN_WORKER=apart is now called separate; the next version will not read the old value."]


def test_another_value_of_run_worker_is_rejected(environment):
    environment(RUN_WORKER="sometimes")

    with pytest.raises(SettingError, match=r"^RUN_WORKER must be one of separate, inline, not 'sometimes'\.$"):
        settings.run_worker()


SCOPES = {"admin": "10/min", "user": "10/min", "anon": "5/min", "signup": "60/min"}


@pytest.fixture
def read_rates(environment):
    """Reads the rates from these variables alone."""

    def read(**values):
        environment(**dict.fromkeys(f"THROTTLE_{scope.upper()}" for scope in [*SCOPES, "newcomers"]))
        environment(**values)
        return settings.rest_framework(authentication="x")["DEFAULT_THROTTLE_RATES"]

    return read


def test_the_limits_have_defaults(read_rates):
    assert read_rates() == read_rates(THROTTLE_ANON="") == SCOPES


@pytest.mark.parametrize("scope", SCOPES)
def test_each_limit_can_be_set_or_turned_off(read_rates, scope):
    name = f"THROTTLE_{scope.upper()}"

    assert read_rates(**{name: "600/hour"}) == SCOPES | {scope: "600/hour"}
    assert read_rates(**{name: "off"}) == SCOPES | {scope: None}


def test_the_old_name_of_the_sign_up_limit_is_still_read(read_rates, caplog):
    assert read_rates(THROTTLE_NEWCOMERS="7/min", THROTTLE_SIGNUP="8/min") == SCOPES | {"signup": "8/min"}
    assert caplog.messages == []

    assert read_rates(THROTTLE_NEWCOMERS="7/min") == SCOPES | {"signup": "7/min"}
    assert caplog.messages == [
        "THROTTLE_NEWCOMERS is now called THROTTLE_SIGNUP; the next version will not read the old name."
    ]


@pytest.mark.parametrize(
    "value",
    [
        *("0/min", "10", "10/week", "-1/min", "1.5/min", "01/min", "10/", "/min", "10 / min", "10/min ", "10/MIN"),
        *("Off", "none", "0", "10/min\n", "10/month", "12345678/min", "\u0661/min", "10/60"),
    ],
)
@pytest.mark.parametrize("name", ["THROTTLE_ANON", "THROTTLE_NEWCOMERS"])
def test_an_invalid_rate_is_rejected_in_one_sentence(read_rates, name, value):
    with pytest.raises(SettingError) as caught:
        read_rates(**{name: value})

    assert str(caught.value) == f"{name} must be a rate such as 10/min (or /sec, /hour, /day), or off, not {value!r}."
