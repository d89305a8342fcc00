from datetime import timedelta

import pytest
from django.db.models import F

from accounts.models import Attempt, User

pytestmark = pytest.mark.django_db

URL = "/user/me/password/"
NEW = "nine orange lanterns"


def signs_in(client, password, username="Alice"):
    return client.post("/token/", {"username": username, "password": password}).status_code


@pytest.fixture
def change(password):
    def post(client, current=password, new=NEW):
        return client.post(URL, {"current_password": current, "new_password": new})

    return post


def test_the_new_password_replaces_the_old_one(client_of, client, change, alice, password):
    answer = change(client_of(alice))

    assert (answer.status_code, answer.content) == (204, b"")
    assert signs_in(client, NEW) == 200
    assert signs_in(client, password) == 401


@pytest.mark.parametrize("new", ["  nine orange lanterns  ", "\tnine orange lanterns\n", "\u2003nine orange lanterns"])
def test_the_new_password_is_stored_exactly_as_sent(client_of, client, change, alice, password, new):
    assert change(client_of(alice), new=new).status_code == 204

    assert signs_in(client, new) == 200
    assert signs_in(client, new.strip()) == 401
    assert signs_in(client, password) == 401
    assert change(client_of(alice), current=new.strip(), new=password).status_code == 400
    assert change(client_of(alice), current=new, new=password).status_code == 204


@pytest.mark.parametrize(
    "current", ["eight green bicycles", "Seven green bicycles", " seven green bicycles", "x" * 256]
)
def test_a_wrong_current_password_is_refused(client_of, client, change, alice, password, current):
    other = client_of(alice)

    answer = change(client_of(alice), current=current)

    alice.refresh_from_db()
    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [
        ("current_password", "wrong_password")
    ]
    assert signs_in(client, password) == 200
    assert other.get("/user/me/").status_code == 200
    assert alice.epoch == 0


def test_ten_wrong_passwords_block_the_next_attempt(client_of, client, change, alice, password, hash_computations):
    guesser = client_of(alice)
    guesses = [change(guesser, current=f"guess {number}").status_code for number in range(10)]
    hash_computations.clear()

    answer = change(guesser)

    assert guesses == [400] * 10
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    assert 58 <= int(answer.headers["Retry-After"]) <= 60
    assert hash_computations == []
    assert signs_in(client, password) == 200


def test_failed_sign_ins_count_separately(client_of, client, change, alice):
    for number in range(10):
        signs_in(client, f"guess {number}")

    assert change(client_of(alice)).status_code == 204


def test_a_success_resets_the_count(client_of, change, alice, password):
    guesser = client_of(alice)
    for number in range(9):
        change(guesser, current=f"guess {number}")

    right = change(guesser, new=NEW).status_code
    again = [change(guesser, current=f"guess {number}").status_code for number in range(11)]

    assert right == 204
    assert again == [400] * 10 + [429]


def test_the_wait_ends(client_of, change, alice):
    guesser = client_of(alice)
    for number in range(10):
        change(guesser, current=f"guess {number}")
    Attempt.objects.update(blocked_until=F("blocked_until") - timedelta(seconds=61))

    assert change(guesser).status_code == 204


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("short", "too short"),
        ("password123", "too common"),
        ("83926401758", "entirely numeric"),
        ("alice12", "too similar to the username"),
        ("alice@example.com", "too similar to the email"),
        ("x" * 1025, "at most 1024 bytes"),
        ("", "may not be blank"),
        (None, "may not be null"),
        (12345678901, "string"),
        (["nine orange lanterns"], "string"),
    ],
)
def test_a_weak_new_password_is_refused(client_of, client, change, alice, password, hash_computations, new, reason):
    other = client_of(alice)

    answer = change(client_of(alice), new=new)

    alice.refresh_from_db()
    errors = answer.json()["errors"]
    assert answer.status_code == 400
    assert {error["field"] for error in errors} == {"new_password"}
    assert reason in " ".join(error["detail"] for error in errors)
    assert (alice.epoch, hash_computations) == (0, [])
    assert other.get("/user/me/").status_code == 200
    assert signs_in(client, password) == 200


def test_a_password_of_the_maximum_length_is_accepted(client_of, client, change, alice):
    longest = "nine orange lanterns" * 12 + "0123456789abcdef"

    assert (len(longest), change(client_of(alice), new=longest).status_code) == (256, 204)
    assert signs_in(client, longest) == 200


def test_similarity_is_checked_against_the_current_account(client_of, change, alice):
    client = client_of(alice)
    client.patch("/user/me/", {"username": "Wilhelmina", "current_password": "seven green bicycles"})

    answer = change(client, new="wilhelmina1")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "new_password")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "current_password"),
        ({"new_password": NEW}, "current_password"),
        ({"current_password": "seven green bicycles"}, "new_password"),
        ({"current_password": "", "new_password": NEW}, "current_password"),
        ({"current_password": None, "new_password": NEW}, "current_password"),
        ({"current_password": ["seven green bicycles"], "new_password": NEW}, "current_password"),
        ({"current_password": "x" * 257, "new_password": NEW}, "current_password"),
        ({"current_password": "seven green bicycles", "new_password": NEW, "id": 1}, "id"),
        ({"current_password": "seven green bicycles", "new_password": NEW, "username": "Bob"}, "username"),
    ],
)
def test_an_invalid_body_is_refused(client_of, client, alice, password, body, field):
    answer = client_of(alice).post(URL, body)

    assert answer.status_code == 400
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert signs_in(client, password) == 200


def test_it_ends_the_other_sessions_and_keeps_this_one(client_of, client, change, alice):
    here, there, elsewhere = client_of(alice), client_of(alice), client_of(alice)

    change(here)

    for ended in (there, elsewhere):
        assert ended.get("/user/me/").status_code == 401
        assert client.post("/token/refresh/", {"refresh": ended.refresh_token}).status_code == 401
    assert here.get("/user/me/").status_code == 200
    renewed = client.post("/token/refresh/", {"refresh": here.refresh_token})
    assert renewed.status_code == 200
    here.set_tokens(**renewed.json())
    assert here.get("/user/me/").status_code == 200


def test_a_change_increments_the_epoch(client_of, change, alice):
    change(client_of(alice))

    alice.refresh_from_db()
    assert alice.epoch == 1


def test_other_accounts_are_unaffected(client_of, client, change, alice, bob, password):
    other = client_of(bob)
    before = User.objects.filter(pk=bob.pk).values().get()

    change(client_of(alice))

    assert User.objects.filter(pk=bob.pk).values().get() == before
    assert other.get("/user/me/").status_code == 200
    assert signs_in(client, password, "Bob") == 200


def test_it_costs_one_check_and_one_hash(client_of, change, alice, hash_computations):
    change(client_of(alice))

    assert hash_computations == ["verify", "encode"]


def test_passwords_reach_neither_log_nor_response(client_of, change, alice, caplog):
    caplog.set_level("DEBUG")

    answer = change(client_of(alice), current="eight green bicycles")
    change(client_of(alice))

    for secret in ("eight green bicycles", "seven green bicycles", NEW):
        assert secret not in caplog.text
        assert secret not in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_one_of_two_parallel_changes_wins_and_keeps_its_session(client_of, client, at_once, change, alice):
    """Both send the current password; for the second request it is an old one."""
    kept = "seven green bicycles"
    for round_ in range(5):
        sessions, current = (client_of(alice), client_of(alice)), kept
        news = [f"nine orange lanterns {round_}{number}" for number in range(2)]

        statuses = at_once(
            *(
                lambda session=session, new=new, current=current: change(session, current=current, new=new).status_code
                for session, new in zip(sessions, news, strict=True)
            ),
            queued_at=alice,
        )

        done = [number for number, status in enumerate(statuses) if status == 204]
        assert len(done) == 1
        kept = news[done[0]]
        assert sessions[done[0]].get("/user/me/").status_code == 200
        assert signs_in(client, kept) == 200


@pytest.mark.django_db(transaction=True)
def test_a_racing_sign_in_with_the_old_password_is_ended(
    client_of, client, change, at_once, alice, password, monkeypatch
):
    """The sign-in has checked the old password but not opened its session when the change commits."""
    changer = client_of(alice)
    succeeded = Attempt.succeeded

    def succeeded_and_overtaken(self):
        monkeypatch.setattr(Attempt, "succeeded", succeeded)
        succeeded(self)
        assert at_once(lambda: change(changer).status_code) == [204]

    monkeypatch.setattr(Attempt, "succeeded", succeeded_and_overtaken)

    answer = client.post("/token/", {"username": "Alice", "password": password})

    assert signs_in(client, NEW) == 200
    if answer.status_code == 200:
        client.set_tokens(**answer.json())
        assert client.get("/user/me/").status_code == 401
        assert client.post("/token/refresh/", {"refresh": client.refresh_token}).status_code == 401
    else:
        assert answer.status_code == 401
