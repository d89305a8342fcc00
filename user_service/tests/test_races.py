"""Races that fail once in many rounds."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection

from accounts import authentication, tokens
from accounts.models import Session, User
from chassis.testing.forge import read_claims
from chassis.testing.threads import connect
from tests.conftest import statuses

pytestmark = pytest.mark.django_db(transaction=True)


def in_rounds(few, many):
    return pytest.mark.parametrize("rounds", [few, pytest.param(many, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def _long_grace_period(monkeypatch):
    """However slow the machine is."""
    for module in (authentication, tokens):
        monkeypatch.setattr(module, "GRACE_PERIOD", timedelta(hours=1))


@pytest.fixture
def in_parallel():
    """Runs up to eight calls at the same moment, in persistent threads with persistent connections."""
    with ThreadPoolExecutor(8) as pool:

        def run_all(*calls):
            barrier = Barrier(len(calls))

            def run(call):
                connect()
                barrier.wait(timeout=30)
                return call()

            return [each.result() for each in [pool.submit(run, call) for call in calls]]

        yield run_all
        run_all(*[lambda: connection.close()] * 8)


@in_rounds(50, 1000)
def test_eight_parallel_refreshes_get_the_same_pair(client, client_of, in_parallel, alice, rounds):
    holder = client_of(alice)
    session, token = Session.objects.get(), holder.refresh_token

    for _ in range(rounds):
        answers = in_parallel(*[lambda token=token: client.post("/token/refresh/", {"refresh": token})] * 8)

        assert statuses(answers) == [200] * 8
        assert len({answer.content for answer in answers}) == 1
        before, token = token, answers[0].json()["refresh"]
        session.refresh_from_db()
        assert (session.previous_jti, session.current_jti) == (read_claims(before)["jti"], read_claims(token)["jti"])

    holder.set_tokens(**answers[0].json())
    assert holder.get("/user/me/").status_code == 200
    assert Session.objects.get() == session


def test_eight_refreshes_that_wait_for_each_other_get_the_same_pair(client, client_of, at_once, alice):
    holder = client_of(alice)

    answers = at_once(
        *[lambda: client.post("/token/refresh/", {"refresh": holder.refresh_token})] * 8,
        queued_at=Session.objects.get(),
    )

    assert statuses(answers) == [200] * 8
    assert len({answer.content for answer in answers}) == 1


@in_rounds(50, 1000)
def test_one_of_two_admins_who_demote_each_other_stays(client_of, in_parallel, ada, grace, rounds):
    admins = User.objects.filter(pk__in=(ada.pk, grace.pk))
    clients = {user: client_of(user) for user in (ada, grace)}

    def demoting(by, other):
        return lambda: clients[by].patch(f"/user/users/{other.pk}/", {"role": "user"}).status_code

    for _ in range(rounds):
        done, refused = sorted(in_parallel(demoting(ada, grace), demoting(grace, ada)))

        assert (done, refused in (403, 404, 409)) == (200, True)  # 404: a demoted admin sees no other account
        assert User.objects.active_admins().count() == 1
        admins.update(role="admin")


@in_rounds(10, 100)
def test_one_of_eight_parallel_registrations_wins(client, in_parallel, db, rounds):
    def register(round_, name):
        account = {"username": f"{name}{round_}", "email": f"{name}{round_}@example.com"}
        return client.post("/user/register/", {**account, "password": "nine orange lanterns"}).status_code

    for round_ in range(rounds):
        calls = [lambda name=name, round_=round_: register(round_, name) for name in ("Dora", "DORA") * 4]

        assert sorted(in_parallel(*calls)) == [201] + [409] * 7
        assert User.objects.count() == round_ + 1
