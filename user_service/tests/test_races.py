"""Races that fail once in many rounds. RACE_ROUNDS=1000 runs more rounds than a normal test run."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import jwt
import pytest
from django.db import connection

from accounts.models import Session, User

pytestmark = pytest.mark.django_db(transaction=True)


def rounds(usual):
    return int(os.environ.get("RACE_ROUNDS", usual))


@pytest.fixture
def in_parallel():
    """Runs up to eight calls at the same moment, in persistent threads with persistent connections."""
    with ThreadPoolExecutor(8) as pool:

        def run_all(*calls):
            barrier = Barrier(len(calls))

            def run(call):
                connection.ensure_connection()
                barrier.wait(timeout=30)
                return call()

            return [each.result() for each in [pool.submit(run, call) for call in calls]]

        yield run_all
        run_all(*[lambda: connection.close()] * 8)


def jti(token):
    return jwt.decode(token, options={"verify_signature": False})["jti"]


def test_eight_parallel_refreshes_get_the_same_pair(client, client_of, in_parallel, alice):
    holder = client_of(alice)
    session, token = Session.objects.get(), holder.refresh_token

    for _ in range(rounds(150)):
        answers = in_parallel(*[lambda token=token: client.post("/token/refresh/", {"refresh": token})] * 8)

        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.content for answer in answers}) == 1
        successor = answers[0].json()["refresh"]
        session.refresh_from_db()
        assert (session.previous_jti, session.current_jti) == (jti(token), jti(successor))
        token = successor

    holder.set_tokens(**answers[0].json())
    assert holder.get("/user/me/").status_code == 200
    assert Session.objects.get() == session


def test_one_of_two_admins_who_demote_each_other_stays(client_of, in_parallel, ada, grace):
    admins = User.objects.filter(pk__in=(ada.pk, grace.pk))
    clients = {user: client_of(user) for user in (ada, grace)}

    def demoting(by, other):
        return lambda: clients[by].patch(f"/user/users/{other.pk}/", {"role": "user"}).status_code

    for _ in range(rounds(200)):
        statuses = in_parallel(demoting(ada, grace), demoting(grace, ada))

        done, refused = sorted(statuses)
        assert (done, refused in (403, 404, 409)) == (200, True)  # 404: a demoted admin sees no other account
        assert User.objects.active_admins().count() == 1
        admins.update(role="admin")


def test_one_of_eight_parallel_registrations_wins(client, in_parallel, db):
    for round_ in range(int(rounds(200) / 10)):
        bodies = [
            {
                "username": f"{'Dora' if number % 2 else 'DORA'}{round_}",
                "email": f"{'dora' if number % 2 else 'Dora'}{round_}@example.com",
                "password": "nine orange lanterns",
            }
            for number in range(8)
        ]

        statuses = in_parallel(*(lambda body=body: client.post("/user/register/", body).status_code for body in bodies))

        assert sorted(statuses) == [201] + [409] * 7
        assert User.objects.count() == round_ + 1
