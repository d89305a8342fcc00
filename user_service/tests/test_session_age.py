"""A session ends SESSION_MAX_DAYS after its sign-in, however often it is refreshed."""

from datetime import timedelta

import jwt
import pytest
from django.utils import timezone

from accounts.models import Session

pytestmark = pytest.mark.django_db


@pytest.fixture
def refresh(client):
    return lambda token: client.post("/token/refresh/", {"refresh": token})


@pytest.fixture
def aged(client_of, alice):
    """A client of a session of this age."""

    def make(**age):
        client = client_of(alice)
        Session.objects.update(created_at=timezone.now() - timedelta(**age))
        return client

    return make


def expiry(token):
    return jwt.decode(token, options={"verify_signature": False})["exp"]


def test_a_refresh_never_extends_past_the_maximum_age(aged, refresh):
    answer = refresh(aged(days=28).refresh_token)

    session = Session.objects.get()
    end = session.created_at + timedelta(days=30)
    assert answer.status_code == 200
    assert session.expires_at == end
    assert expiry(answer.json()["refresh"]) == int(end.timestamp())


def test_no_token_outlives_the_session(aged, refresh):
    answer = refresh(aged(days=29, hours=23, minutes=58).refresh_token)

    end = int(Session.objects.get().expires_at.timestamp())
    assert expiry(answer.json()["refresh"]) == expiry(answer.json()["access"]) == end


def test_a_refresh_extends_a_young_session(aged, refresh):
    answer = refresh(aged(days=22).refresh_token)

    session = Session.objects.get()
    assert session.expires_at == session.rotated_at + timedelta(days=7)
    assert expiry(answer.json()["refresh"]) == int(session.expires_at.timestamp())


def test_an_old_session_ends(aged, refresh):
    client = aged(days=30)

    assert refresh(client.refresh_token).status_code == 401
    assert client.get("/user/me/").status_code == 401


@pytest.mark.parametrize("days", [1, 365])
def test_the_setting_applies(client_of, alice, refresh, settings, days):
    settings.SESSION_MAX_DAYS = days

    client = client_of(alice)

    session = Session.objects.get()
    assert session.expires_at == session.created_at + timedelta(days=min(days, 7))
    assert expiry(client.refresh_token) == int(session.expires_at.timestamp())
