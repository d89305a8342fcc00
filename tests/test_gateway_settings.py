"""The gateway's settings: their Nginx values, and the errors for invalid ones."""

import os
from pathlib import Path

import pytest

from stack import nginx
from stack.console import StackError
from stack.ports import has_ipv6
from stack.state import StateFolder
from tests.local_stack import ROOT, output_of
from tests.raw_http import Gateway

SERVICES = {"USER_SERVICE_URL": "http://users:8000", "TASK_SERVICE_URL": "http://tasks:8000"}
SENTENCES = {
    "USER_SERVICE_URL": "USER_SERVICE_URL must be http://HOST:PORT or https://HOST, without a path.",
    "TASK_SERVICE_URL": "TASK_SERVICE_URL must be http://HOST:PORT or https://HOST, without a path.",
    "ALLOWED_HOSTS": "ALLOWED_HOSTS must be a comma-separated list of host names.",
    "TRUSTED_PROXIES": "TRUSTED_PROXIES must be a comma-separated list of IP addresses or networks such as 10.0.0.0/8.",
    "CORS_ALLOWED_ORIGINS": (
        "CORS_ALLOWED_ORIGINS must be a comma-separated list of origins such as https://app.example.com."
    ),
    "RESOLVER": "RESOLVER must be a comma-separated list of IP addresses of name servers, each with an optional port.",
    "GATEWAY_LISTEN": "GATEWAY_LISTEN must be ADDRESS:PORT, such as 0.0.0.0:8080.",
    "GATEWAY_SECRET": "GATEWAY_SECRET must have at least 32 characters, only letters, digits and . _ ~ + / = -.",
    "MAX_REQUESTS_PER_CLIENT": "MAX_REQUESTS_PER_CLIENT must be a whole number from 1 to 64.",
    "PORT": "PORT must be a whole number from 1 to 65535.",
    "ACCESS_LOG": "ACCESS_LOG must be off or the path of a file, with only letters, digits and . _ / + - in it.",
}
REFUSED = {
    "USER_SERVICE_URL": ["users:8000", "ftp://users", "http://", "http://a b", "http://a/b", "http://a:0", "//a"],
    "TASK_SERVICE_URL": ["http://u:p@h", "http://a:65536", "http://-a", "http://a..b", "https://[::1", "http://::1"],
    "ALLOWED_HOSTS": ["*.example.com", "a_b!", "~.*", "a/b", "[::1", "[x]", ",", "..a", "$host"],
    "TRUSTED_PROXIES": ["*", "localhost", "10.0.0", "10.0.0.256", "10.0.0.1.2", "10.0.0.0/33", "::/129", "10.0.0.0/"],
    "CORS_ALLOWED_ORIGINS": ["*", "null", "app.example.com", "https://a.test/", "https://*.a.test", "https://"],
    "RESOLVER": ["dns", "1.2.3", "1.2.3.4:x", "[::1", "::1:::2"],
    "GATEWAY_LISTEN": [",", "0.0.0.0:8080,8081", "8080", "localhost", "0.0.0.0:0", ":80", "unix:/x:1"],
    "PORT": ["0", "65536", "80a", "-1", "008080"],
    "GATEWAY_SECRET": ["short", "x" * 31, "\u00e9" * 32, "a b" * 11],
    "MAX_REQUESTS_PER_CLIENT": ["0", "65", "08", "-1", "8.0", "x"],
    "ACCESS_LOG": ["a b", "$host", "a'b"],
}
INJECTIONS = [
    "{good};return 200",
    "{good} {{",
    "{good}\n}}",
    "{good}'",
    '{good}"',
    "{good}$host",
    "{good}#",
    "{good}\\",
]
GOOD = {
    "USER_SERVICE_URL": "http://users:8000",
    "TASK_SERVICE_URL": "https://tasks.example.com",
    "ALLOWED_HOSTS": "tasks.example.com",
    "TRUSTED_PROXIES": "10.0.0.0/8",
    "CORS_ALLOWED_ORIGINS": "https://app.example.com",
    "RESOLVER": "10.0.0.2:53",
    "GATEWAY_LISTEN": "0.0.0.0:8080",
    "PORT": "8080",
    "GATEWAY_SECRET": "bJ2mQ9xTz7LrVn4KpWd8YcHs3GfEuA6RoXi5+/=",
    "MAX_REQUESTS_PER_CLIENT": "8",
    "ACCESS_LOG": "/dev/stdout",
}
CASES = [(name, value) for name, values in REFUSED.items() for value in values]
CASES += [(name, injection.format(good=good)) for name, good in GOOD.items() for injection in INJECTIONS]


def values(**changed):
    return nginx.settings(SERVICES | {"RESOLVER": "127.0.0.1"} | changed)


@pytest.mark.parametrize(("name", "value"), CASES)
def test_an_invalid_value_is_refused(name, value):
    with pytest.raises(StackError) as refused:
        values(**{name: value})

    assert str(refused.value) == SENTENCES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_a_missing_service_url_is_named(name):
    with pytest.raises(StackError) as refused:
        values(**{name: ""})

    assert str(refused.value) == f"{name} is not set; see .env.example."


def test_certificates_are_required_only_for_tls():
    missing = {"TLS_CA_FILE": "/nowhere/ca.pem"}

    with pytest.raises(StackError) as refused:
        values(TASK_SERVICE_URL="https://tasks.example.com", **missing)

    assert "TLS_CA_FILE cannot be read" in str(refused.value)
    assert values(**missing)["GATEWAY_TLS"] == ""
    with pytest.raises(StackError):
        values(TASK_SERVICE_URL="https://tasks.example.com", TLS_CA_FILE="/etc/passwd; x")


def test_exactly_the_template_variables_are_filled_in(tmp_path):
    rendered = nginx_reads(tmp_path, SERVICES | {"HOST": "no", "REQUEST_ID": "no"})

    assert "${" not in rendered
    assert "$request_id" in rendered


def test_each_setting_becomes_an_nginx_value(tmp_path):
    authority = ROOT / "tests" / "data" / "ca.pem"

    made = values(
        USER_SERVICE_URL="http://[::1]/",
        TASK_SERVICE_URL="https://tasks.example.com",
        ALLOWED_HOSTS="example.com, .example.org,[::1]",
        TRUSTED_PROXIES="10.0.0.0/8,2001:db8::/32, ::1",
        CORS_ALLOWED_ORIGINS="https://a.example.com,http://localhost:3000",
        RESOLVER="::1, 10.0.0.2:5353",
        ACCESS_LOG="off",
        PORT="9000",
        MAX_REQUESTS_PER_CLIENT="12",
        TLS_CA_FILE=str(authority),
    )

    assert (made["GATEWAY_USER_SCHEME"], made["GATEWAY_USER_ADDRESS"], made["GATEWAY_USER_HOST"]) == (
        *("http", "[::1]:80", "$host"),
    )
    assert (made["GATEWAY_TASK_SCHEME"], made["GATEWAY_TASK_ADDRESS"], made["GATEWAY_TASK_HOST"]) == (
        *("https", "tasks.example.com:443", "tasks.example.com"),
    )
    assert made["GATEWAY_SERVER_NAMES"].split() == ["example.com", ".example.org", "[::1]"]
    assert made["GATEWAY_REAL_IP"].splitlines()[:2] == [
        "set_real_ip_from 10.0.0.0/8;",
        "set_real_ip_from 2001:db8::/32;",
    ]
    assert made["GATEWAY_ORIGINS"].splitlines()[1] == '"http://localhost:3000" "http://localhost:3000";'
    assert made["GATEWAY_RESOLVERS"].split() == ["[::1]", "10.0.0.2:5353"]
    assert made["GATEWAY_LISTENS"].startswith("listen 0.0.0.0:9000; ")
    assert made["GATEWAY_ACCESS_LOG"] == "off"
    assert (made["GATEWAY_SHARE"], made["GATEWAY_SITE_SHARE"]) == ("12", "48")
    assert f"proxy_ssl_trusted_certificate {authority};" in made["GATEWAY_TLS"]
    nginx_reads(tmp_path, values(**{name: made[name] for name in made if name.isupper()}))


def nginx_reads(folder: Path, environment):
    state = StateFolder(folder)
    state.create()
    nginx.write_configuration(
        state,
        listen="127.0.0.1:8080",
        user_service=environment["USER_SERVICE_URL"],
        task_service=environment["TASK_SERVICE_URL"],
        environment=environment,
    )
    return (state.nginx / "conf.d" / "tmservice.conf").read_text()


def test_a_configuration_that_nginx_rejects_replaces_nothing(tmp_path):
    before = nginx_reads(tmp_path, SERVICES)

    with pytest.raises(StackError) as refused:
        nginx_reads(tmp_path, SERVICES | {"TRUSTED_PROXIES": "1:2:3"})

    assert str(refused.value).startswith("Nginx rejects the gateway's configuration: ")
    assert '"1:2:3"' in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (tmp_path / "nginx" / "conf.d" / "tmservice.conf").read_text() == before


def test_by_default_it_answers_only_to_local_names():
    made = nginx.settings(SERVICES)

    assert made["GATEWAY_SERVER_NAMES"].split() == ["localhost", "127.0.0.1", "[::1]"]
    assert made["GATEWAY_LISTENS"].split("; ")[0] == "listen 0.0.0.0:8080"
    assert ("listen [::1]:8080; " in made["GATEWAY_LISTENS"]) is has_ipv6()
    assert made["GATEWAY_ACCESS_LOG"] == "/dev/stdout json buffer=4k flush=200ms if=$is_logged"
    assert made["GATEWAY_REAL_IP"] == made["GATEWAY_ORIGINS"] == made["GATEWAY_VARY"] == made["GATEWAY_TLS"] == ""
    assert made["GATEWAY_RESOLVERS"]


def test_a_container_does_not_start_with_an_invalid_setting():
    """Also if the official image's entrypoint sources the file in a loop that reads a pipe."""
    script = (
        f"set -e; echo {ROOT}/gateway/settings.envsh | while read -r file; do . $file; echo rendered; done; echo up"
    )

    good, bad = (
        output_of(["/bin/sh", "-c", script], env={"PATH": os.environ["PATH"]} | SERVICES | changed)
        for changed in ({}, {"ALLOWED_HOSTS": "a;b"})
    )

    assert (good.returncode, good.stdout, good.stderr) == (0, "rendered\nup\n", "")
    assert (bad.returncode, bad.stdout, bad.stderr) == (1, "", f"{SENTENCES['ALLOWED_HOSTS']}\n")
    assert os.access(ROOT / "gateway" / "settings.envsh", os.X_OK)


@pytest.fixture(scope="module")
def gateway():
    hosts = {"ALLOWED_HOSTS": "tasks.example.com,.example.org"}
    with Gateway(user_service="127.0.0.1:1", task_service="127.0.0.1:1", settings=hosts) as running:
        yield running


HOSTS = {
    "tasks.example.com": 404,
    "TASKS.example.com:443": 404,
    "example.org": 404,
    "a.b.example.org": 404,
    "example.com": 421,
    "a.tasks.example.com": 421,
    "tasks.example.com.evil.com": 421,
    "notexample.org": 421,
    "localhost": 421,
    "10.0.0.1": 421,
    "_": 421,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_it_answers_only_to_its_hosts(gateway, host, status):
    problem = gateway.call("GET", "/", Host=host)

    assert (problem.status, problem.json()["status"]) == (status, status)


def test_the_liveness_check_works_under_any_host(gateway):
    answers = [gateway.call("GET", path, Host=host) for path in ("/health/live", "/health/live/") for host in HOSTS]

    assert {(it.status, it.body, it["Content-Type"]) for it in answers} == {
        (200, b'{"status":"ok"}', "application/json"),
    }


def test_scripts_run_refuses_an_invalid_gateway_setting(own_stack):
    refused = own_stack.run("--detach", TRUSTED_PROXIES="the proxy")

    assert (refused.returncode, refused.stderr) == (1, f"scripts/run: {SENTENCES['TRUSTED_PROXIES']}\n")
    assert own_stack.processes() == []
