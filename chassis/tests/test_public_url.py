"""PUBLIC_URL is used everywhere, or rejected."""

import pytest

from chassis.ops import settings
from chassis.ops.env import SettingError


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", ""),
        ("https://tasks.example.com", "https://tasks.example.com"),
        ("https://tasks.example.com/", "https://tasks.example.com"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_public_url_is_a_scheme_a_host_and_an_optional_port(monkeypatch, given, used):
    monkeypatch.setenv("PUBLIC_URL", given)
    monkeypatch.setenv("GATEWAY_PORT", "9090")

    assert (settings.public_url(), settings.local_url()) == (used, "http://localhost:9090")


@pytest.mark.parametrize(
    "given",
    [
        "https://example.com/tasks",
        "https://example.com/tasks/",
        "https://example.com?a=b",
        "https://example.com#top",
        "https://ada:secret@example.com",
        "https://example.com:",
        "https://example.com:http",
        "https://exam ple.com",
        "https://example.com\n",
        "ftp://example.com",
        "example.com",
        "//example.com",
    ],
)
def test_unexpected_parts_of_a_url_are_rejected(monkeypatch, given):
    monkeypatch.setenv("PUBLIC_URL", given)

    with pytest.raises(SettingError) as refused:
        settings.public_url()

    assert str(refused.value).startswith("PUBLIC_URL must ")
    assert "secret" not in str(refused.value)
