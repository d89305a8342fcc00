import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db.models import F
from django.utils import timezone

from accounts.models import Attempt, Session, attempt

pytestmark = pytest.mark.django_db

URL = "/token/"


@pytest.fixture
def sign_in(client, password):
    def post(username="Alice", password=password):
        return client.post(URL, {"username": username, "password": password}, headers={"X-Request-ID": "the-same"})

    return post


@pytest.fixture
def guess(sign_in):
    def guesses(number, username="Alice"):
        return [sign_in(username, f"guess {index}").status_code for index in range(number)]

    return guesses


@pytest.fixture
def clock(monkeypatch):
    """The clock of the limit; moves only on request."""
    clock = SimpleNamespace(at=timezone.now())
    clock.now = lambda: clock.at
    clock.advance = lambda **time: setattr(clock, "at", clock.at + timedelta(**time))
    monkeypatch.setattr(attempt, "timezone", clock)
    return clock


def retry_after(answer):
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    return int(answer.headers["Retry-After"])


def test_ten_failures_block_the_next_sign_in(sign_in, guess, alice):
    assert guess(10) == [401] * 10

    answer = sign_in()

    assert 58 <= retry_after(answer) <= 60
    assert not Session.objects.exists()


def test_nine_failures_are_free(sign_in, guess, alice):
    assert guess(9) == [401] * 9

    assert sign_in().status_code == 200


def test_nothing_is_hashed_while_the_account_waits(sign_in, guess, alice, hash_computations):
    guess(10)
    guess(10, "nobody")
    hash_computations.clear()

    assert [sign_in(name).status_code for name in ("Alice", "nobody")] == [429, 429]
    assert (guess(3), guess(3, "nobody")) == ([429] * 3, [429] * 3)
    assert hash_computations == []


def test_the_wait_ends_on_the_second(sign_in, guess, alice, clock):
    guess(10)

    waits = [retry_after(sign_in())]
    clock.advance(seconds=0.5)
    waits.append(retry_after(sign_in()))
    clock.advance(seconds=58.5)
    waits.append(retry_after(sign_in()))
    clock.advance(seconds=0.999)
    waits.append(retry_after(sign_in()))
    clock.advance(seconds=0.001)

    assert waits == [60, 60, 1, 1]
    assert sign_in().status_code == 200


def test_attempts_during_the_wait_do_not_extend_it(sign_in, guess, alice, clock):
    guess(10)
    for _ in range(59):
        clock.advance(seconds=1)
        assert guess(1) == [429]

    clock.advance(seconds=1)

    assert sign_in().status_code == 200


@pytest.mark.parametrize("name", ["Alice", "nobody", "nobody@example.com"])
def test_each_wait_is_twice_the_last_up_to_15_minutes(sign_in, guess, alice, clock, name):
    guess(10, name)

    waits = [retry_after(sign_in(name))]
    for _ in range(7):
        clock.advance(seconds=waits[-1])
        assert guess(1, name) == [401]
        waits.append(retry_after(sign_in(name)))

    assert waits == [60, 120, 240, 480, 900, 900, 900, 900]


def test_the_wait_never_exceeds_15_minutes(sign_in, guess, alice, clock):
    guess(10)
    Attempt.objects.update(failures=2_000_000_000)
    clock.advance(minutes=15)

    assert guess(1) == [401]
    assert retry_after(sign_in()) == 900


def test_a_success_after_the_wait_resets_the_count(sign_in, guess, alice, clock):
    guess(10)
    clock.advance(seconds=60)
    guess(1)
    clock.advance(seconds=120)
    assert sign_in().status_code == 200

    assert guess(10) == [401] * 10
    assert retry_after(sign_in()) == 60


def test_correct_sign_ins_are_unlimited(sign_in, alice):
    assert [sign_in().status_code for _ in range(25)] == [200] * 25


def test_a_correct_password_does_not_count_as_a_failure(sign_in, guess, alice):
    seen = [(guess(9), sign_in().status_code) for _ in range(3)]

    assert seen == [([401] * 9, 200)] * 3


def test_all_spellings_of_an_identifier_share_a_count(sign_in, guess, alice):
    names = ["Alice", "ALICE", "alice", "aLICE", "\uff21lice"]

    assert [guess(2, name) for name in names] == [[401, 401]] * 5
    assert [sign_in(name).status_code for name in (*names, "aLiCe")] == [429] * 6


@pytest.mark.parametrize("other", ["alice@example.com", "nobody", "nobody@example.com"])
def test_username_and_email_do_not_reveal_each_other(sign_in, guess, alice, other):
    guess(10, "Alice")

    assert guess(10, other) == [401] * 10
    assert sign_in(other).status_code == 429


def test_an_unknown_name_is_counted_too(sign_in, guess):
    assert [guess(5, name) for name in ("Nobody", "NOBODY")] == [[401] * 5] * 2

    assert sign_in("nobody").status_code == 429
    assert sign_in("nobody2").status_code == 401


def test_a_blocked_response_does_not_reveal_accounts(sign_in, guess, alice, ivan, clock):
    seen = set()
    for name in ("Alice", "Ivan", "Nobody", "alice@example.com", "nobody@example.com"):
        Attempt.objects.all().delete()
        guess(10, name)
        answer = sign_in(name)
        seen.add((answer.status_code, answer.content, tuple(sorted(answer.headers.items()))))

    ((status, content, headers),) = seen
    assert status == 429
    assert dict(headers)["Retry-After"] == "60"
    assert b"Alice" not in content


def test_responses_before_the_block_do_not_reveal_accounts(sign_in, alice, ivan, hash_computations, clock):
    courses = set()
    for name in ("Alice", "Ivan", "Nobody"):
        course = []
        for index in range(12):
            hash_computations.clear()
            answer = sign_in(name, f"guess {index}")
            course.append((answer.status_code, answer.content, len(hash_computations)))
        courses.add(tuple(course))

    (course,) = courses
    assert [(status, hashes) for status, _, hashes in course] == [(401, 1)] * 10 + [(429, 0)] * 2


def test_a_deactivated_account_waits_like_any_other(sign_in, ivan, clock):
    """Its correct password counts as a failure too."""
    assert [sign_in("Ivan").status_code for _ in range(10)] == [401] * 10

    assert retry_after(sign_in("Ivan")) == 60


def test_a_reactivated_account_signs_in(client_of, sign_in, ada, ivan):
    sign_in("Ivan")

    client_of(ada).patch(f"/user/users/{ivan.pk}/", {"is_active": True})

    assert sign_in("Ivan").status_code == 200


def test_failures_expire_after_a_day(sign_in, guess, alice, clock):
    guess(10)
    clock.advance(seconds=60)
    guess(1)
    clock.advance(days=1, seconds=1)

    assert guess(10) == [401] * 10
    assert retry_after(sign_in()) == 60


def test_failures_do_not_expire_within_a_day(sign_in, guess, alice, clock):
    guess(10)
    clock.advance(hours=23, minutes=59)

    assert guess(1) == [401]
    assert retry_after(sign_in()) == 120


def test_the_day_starts_at_the_last_failure(sign_in, guess, alice, clock):
    for _ in range(10):
        assert guess(1) == [401]
        clock.advance(hours=20)

    assert guess(1) == [401]
    assert retry_after(sign_in()) == 120


def test_other_accounts_are_not_affected(sign_in, guess, alice, bob):
    guess(10)
    guess(10, "Nobody")

    assert sign_in("Bob").status_code == 200
    assert guess(10, "Bob") == [401] * 10


def test_a_live_session_of_a_blocked_account_continues(client_of, client, guess, alice):
    """Anyone who knows a username can block it, which must not end its sessions."""
    victim = client_of(alice)
    guess(15)

    renewed = client.post("/token/refresh/", {"refresh": victim.refresh_token})

    assert victim.get("/user/me/").status_code == 200
    assert renewed.status_code == 200
    victim.set_tokens(**renewed.json())
    assert victim.get("/user/me/").status_code == 200


def test_an_invalid_body_is_not_counted(client, sign_in, alice):
    for _ in range(12):
        assert client.post(URL, {"username": "Alice"}).status_code == 400
        assert client.post(URL, {"username": "Alice", "password": ""}).status_code == 400

    assert sign_in().status_code == 200


@pytest.mark.parametrize("name", ["x" * 254, "\u0130\ufb03 \U0001f600", "' OR 1=1 --", "user 1"])
def test_any_name_is_counted(sign_in, guess, name):
    assert guess(11, name) == [401] * 10 + [429]


def test_a_username_cannot_collide_with_an_account_key(sign_in, guess, alice):
    guess(10, f"user {alice.pk}")

    assert sign_in().status_code == 200


def test_attempted_usernames_are_not_stored(guess, alice):
    """People type passwords into the username field by mistake."""
    guess(1, "my-secret-password")

    assert not re.search("my-secret", str(list(Attempt.objects.values())))


def test_it_costs_at_most_thirteen_statements(sign_in, alice, django_assert_max_num_queries):
    with django_assert_max_num_queries(13):
        assert sign_in().status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["Alice", "Nobody"])
def test_only_ten_of_fifty_parallel_guesses_are_checked(sign_in, at_once, alice, hash_computations, name):
    answers = at_once(*(lambda index=index: sign_in(name, f"guess {index}") for index in range(50)))

    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 40
    assert len(hash_computations) == 10
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 429)
    assert Attempt.objects.get().failures == 10


@pytest.mark.django_db(transaction=True)
def test_after_the_wait_one_of_eight_parallel_guesses_is_checked(sign_in, guess, at_once, alice, hash_computations):
    guess(10)
    Attempt.objects.update(blocked_until=F("blocked_until") - timedelta(seconds=61))
    hash_computations.clear()

    answers = at_once(*(lambda index=index: sign_in(password=f"guess {index}") for index in range(8)))

    assert sorted(answer.status_code for answer in answers) == [401] + [429] * 7
    assert len(hash_computations) == 1


@pytest.mark.django_db(transaction=True)
def test_parallel_correct_sign_ins_all_succeed(sign_in, at_once, alice):
    for _ in range(3):
        answers = at_once(*[sign_in] * 8)

        assert [answer.status_code for answer in answers] == [200] * 8
    assert Session.objects.count() == 24
    assert set(Attempt.objects.values_list("failures", flat=True)) == {0}


@pytest.mark.django_db(transaction=True)
def test_parallel_guesses_count_separately_per_account(sign_in, at_once, alice, bob):
    names = ["Alice", "Bob"] * 12

    answers = at_once(*(lambda name=name: sign_in(name, "guess") for name in names))

    seen = sorted((name, answer.status_code) for name, answer in zip(names, answers, strict=True))
    assert seen == sorted((name, status) for name in ("Alice", "Bob") for status in [401] * 10 + [429] * 2)
