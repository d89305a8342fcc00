import pytest

from accounts.models import Attempt, Session
from tests.conftest import statuses

pytestmark = pytest.mark.django_db
COMMITTING = pytest.mark.django_db(transaction=True)

URL = "/token/"


@pytest.fixture(autouse=True)
def _stopped_clock(clock):
    """A wait of a minute ends only when a test says so."""


@pytest.fixture
def sign_in(client, password):
    def post(username="Alice", password=password):
        return client.post(URL, {"username": username, "password": password}, headers={"X-Request-ID": "the-same"})

    return post


@pytest.fixture
def guess(sign_in):
    def guesses(number, username="Alice"):
        return statuses(sign_in(username, f"guess {index}") for index in range(number))

    return guesses


def retry_after(answer):
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    return int(answer.headers["Retry-After"])


def test_ten_failures_block_the_next_sign_in(sign_in, guess, alice):
    assert guess(10) == [401] * 10

    assert retry_after(sign_in()) == 60
    assert not Session.objects.exists()


def test_the_wait_ends_on_the_second(sign_in, guess, alice, clock):
    guess(10)

    waits = [retry_after(sign_in())]
    for seconds in (0.5, 58.5, 0.999):
        clock.advance(seconds=seconds)
        waits.append(retry_after(sign_in()))
    clock.advance(seconds=0.001)

    assert waits == [60, 60, 1, 1]  # tries during the wait do not extend it
    assert sign_in().status_code == 200


@pytest.mark.parametrize("name", ["Alice", "nobody"])
def test_each_wait_is_twice_the_last_up_to_15_minutes(sign_in, guess, alice, clock, name):
    guess(10, name)

    waits = [retry_after(sign_in(name))]
    for _ in range(6):
        clock.advance(seconds=waits[-1])
        assert guess(1, name) == [401]
        waits.append(retry_after(sign_in(name)))

    assert waits == [60, 120, 240, 480, 900, 900, 900]


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


def test_a_correct_password_does_not_count_as_a_failure(sign_in, guess, alice):
    seen = [(guess(9), sign_in().status_code) for _ in range(3)]

    assert seen == [([401] * 9, 200)] * 3


def test_all_spellings_of_an_identifier_share_a_count(sign_in, guess, alice):
    names = ["Alice", "ALICE", "alice", "aLICE", "\uff21lice"]

    assert [guess(2, name) for name in names] == [[401, 401]] * 5
    assert statuses(sign_in(name) for name in (*names, "aLiCe")) == [429] * 6


@pytest.mark.parametrize("other", ["alice@example.com", "nobody", "nobody@example.com"])
def test_username_and_email_do_not_reveal_each_other(sign_in, guess, alice, other):
    guess(10, "Alice")

    assert guess(10, other) == [401] * 10
    assert sign_in(other).status_code == 429


def test_responses_do_not_reveal_accounts(sign_in, alice, ivan, hash_computations):
    courses = set()
    for name in ("Alice", "Ivan", "Nobody", "alice@example.com", "nobody@example.com"):
        course = []
        for index in range(12):
            hash_computations.clear()
            answer = sign_in(name, f"guess {index}")
            headers = tuple(sorted(answer.headers.items()))
            course.append((answer.status_code, len(hash_computations), answer.content, headers))
        courses.add(tuple(course))

    (course,) = courses
    assert [step[:2] for step in course] == [(401, 1)] * 10 + [(429, 0)] * 2


def test_a_deactivated_account_waits_like_any_other(sign_in, ivan):
    """Its correct password counts as a failure too."""
    assert statuses(sign_in("Ivan") for _ in range(10)) == [401] * 10

    assert retry_after(sign_in("Ivan")) == 60


def test_failures_expire_after_a_day(sign_in, guess, alice, clock):
    guess(10)
    clock.advance(seconds=60)
    guess(1)
    clock.advance(days=1, microseconds=1)

    assert guess(10) == [401] * 10
    assert retry_after(sign_in()) == 60


def test_the_day_starts_at_the_last_failure(sign_in, guess, alice, clock):
    for _ in range(10):
        assert guess(1) == [401]
        clock.advance(days=1)

    assert guess(1) == [401]
    assert retry_after(sign_in()) == 120


def test_a_reactivated_account_signs_in(sign_in, ivan):
    ivan.change(is_active=True)

    assert sign_in("Ivan").status_code == 200


def test_a_live_session_of_a_blocked_account_continues(client_of, client, guess, alice):
    """Anyone who knows a username can block it, which must not end its sessions."""
    victim = client_of(alice)
    guess(11)

    renewed = client.post("/token/refresh/", {"refresh": victim.refresh_token})

    assert statuses([renewed, victim.get("/user/me/")]) == [200, 200]


def test_an_invalid_body_is_not_counted(client, sign_in, alice):
    for _ in range(5):
        assert client.post(URL, {"username": "Alice"}).status_code == 400
        assert client.post(URL, {"username": "Alice", "password": ""}).status_code == 400

    assert sign_in().status_code == 200


@pytest.mark.parametrize("name", ["x" * 254, "\u0130\ufb03 \U0001f600", "' OR 1=1 --"])
def test_any_name_is_counted(guess, name):
    assert guess(11, name) == [401] * 10 + [429]


def test_a_username_cannot_collide_with_an_account_key(client_of, guess, alice, password):
    guess(10, f"user {alice.pk}")

    changed = client_of(alice).patch("/user/me/", {"username": "Alicia", "current_password": password})

    assert changed.status_code == 200


def test_attempted_usernames_are_not_stored(guess, db):
    """People type passwords into the username field by mistake."""
    guess(1, "my-secret-password")

    assert "my-secret" not in str(list(Attempt.objects.values()))


@COMMITTING
@pytest.mark.parametrize("name", ["Alice", "Nobody"])
def test_only_ten_of_fifty_parallel_guesses_are_checked(sign_in, at_once, alice, hash_computations, name):
    answers = at_once(*(lambda index=index: sign_in(name, f"guess {index}") for index in range(50)))

    assert sorted(statuses(answers)) == [401] * 10 + [429] * 40
    assert len(hash_computations) == 10
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 429)
    assert Attempt.objects.get().failures == 10


@COMMITTING
def test_after_the_wait_one_of_eight_parallel_guesses_is_checked(
    sign_in, guess, at_once, alice, clock, hash_computations
):
    guess(10)
    clock.advance(seconds=60)
    hash_computations.clear()

    answers = at_once(*(lambda index=index: sign_in(password=f"guess {index}") for index in range(8)))

    assert sorted(statuses(answers)) == [401] + [429] * 7
    assert len(hash_computations) == 1


@COMMITTING
def test_parallel_correct_sign_ins_all_succeed(sign_in, at_once, alice):
    for _ in range(2):
        assert statuses(at_once(*[sign_in] * 8)) == [200] * 8

    assert Session.objects.count() == 16
    assert set(Attempt.objects.values_list("failures", flat=True)) == {0}


@COMMITTING
def test_parallel_guesses_count_separately_per_account(sign_in, at_once, alice, bob):
    names = ["Alice", "Bob"] * 12

    answers = at_once(*(lambda name=name: sign_in(name, "guess") for name in names))

    assert sorted(statuses(answers[0::2])) == sorted(statuses(answers[1::2])) == [401] * 10 + [429] * 2
