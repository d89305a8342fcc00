"""No anonymous request costs more than 50 ms of CPU, apart from one password hash, which is cheap in these tests."""

import pytest

from chassis.testing import cpu

pytestmark = pytest.mark.django_db


@pytest.fixture
def meter():
    return cpu.Meter()


def test_every_anonymous_route_with_a_body_is_measured():
    assert cpu.open_routes().keys() >= {
        *("/user/register/", "/user/password-reset/", "/user/password-reset/confirm/"),
        *("/token/", "/token/refresh/", "/token/verify/", "/token/logout/"),
    }


def test_anonymous_bodies_take_little_cpu(meter, ada):
    assert list(cpu.too_expensive_bodies(meter)) == []


def test_headers_and_queries_take_little_cpu(meter):
    assert list(cpu.too_expensive_heads(meter)) == []


@pytest.mark.parametrize("path", ["/token/", "/user/register/"])
def test_a_login_of_450_000_combining_marks_is_refused_unread(meter, path):
    text = "a" + "\u0300" * 225_000 + "\u0316" * 225_000
    body = f'{{"username": "{text}", "email": "{text}", "password": "x"}}'.encode()

    assert meter.expensive("POST", path, body) is None
