"""A session ends SESSION_MAX_DAYS after its sign-in, however often it is refreshed."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Session
from chassis.testing.forge import read_claims

pytestmark = pytest.mark.django_db


@pytest.fixture
def refresh_at_age(client_of, client, alice):
    """Refreshes a session of this age; returns the session and when its tokens expire."""

    def refresh(**age):
        token = client_of(alice).refresh_token
        Session.objects.update(created_at=timezone.now() - timedelta(**age))
        pair = client.post("/token/refresh/", {"refresh": token}).json()
        return Session.objects.get(), [read_claims(pair[kind])["exp"] for kind in ("refresh", "access")]

    return refresh


def test_a_refresh_never_extends_past_the_maximum_age(refresh_at_age):
    session, (refresh_expiry, _) = refresh_at_age(days=28)

    assert session.expires_at == session.created_at + timedelta(days=30)
    assert refresh_expiry == int(session.expires_at.timestamp())


def test_no_token_outlives_the_session(refresh_at_age):
    session, expiries = refresh_at_age(days=29, hours=23, minutes=58)

    assert expiries == [int(session.expires_at.timestamp())] * 2


def test_a_refresh_extends_a_young_session(refresh_at_age):
    session, (refresh_expiry, _) = refresh_at_age(days=22)

    assert session.expires_at == session.rotated_at + timedelta(days=7)
    assert refresh_expiry == int(session.expires_at.timestamp())


def test_an_old_session_ends(client_of, client, alice):
    signed_in = client_of(alice)
    Session.objects.update(created_at=timezone.now() - timedelta(days=30))

    assert client.post("/token/refresh/", {"refresh": signed_in.refresh_token}).status_code == 401
    assert signed_in.get("/user/me/").status_code == 401


@pytest.mark.parametrize("days", [1, 365])
def test_the_setting_applies(client_of, alice, settings, days):
    settings.SESSION_MAX_DAYS = days

    client = client_of(alice)

    session = Session.objects.get()
    assert session.expires_at == session.created_at + timedelta(days=min(days, 7))
    assert read_claims(client.refresh_token)["exp"] == int(session.expires_at.timestamp())
