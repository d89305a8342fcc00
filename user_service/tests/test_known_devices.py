"""A stranger's failed sign-ins do not lock the owner out of a device that has signed in before."""

import pytest

from accounts import jobs
from accounts.models import Attempt, Mail, PasswordToken, Session

pytestmark = pytest.mark.django_db

HOME, ELSEWHERE, STRANGER = "203.0.113.7", "198.51.100.9", "192.0.2.66"
NAMES = ["Alice", "alice@example.com"]


@pytest.fixture(autouse=True)
def _stopped_clock(clock):
    """A wait of a minute ends only when a test says so."""


@pytest.fixture
def sign_in(client, password):
    def post(username="Alice", password=password, *, address=HOME, user_agent="Firefox/143.0"):
        body = {"username": username, "password": password}
        return client.post("/token/", body, headers={"User-Agent": user_agent}, REMOTE_ADDR=address).status_code

    return post


@pytest.fixture
def guess(sign_in):
    def guesses(number, username="Alice", **origin):
        return [sign_in(username, f"guess {index}", **origin) for index in range(number)]

    return guesses


@pytest.fixture
def by_stranger(guess):
    """Eleven guesses from elsewhere, which block the identifier for every new device."""
    return lambda name="Alice": guess(11, name, address=STRANGER, user_agent="curl/8.0")


@pytest.mark.parametrize("name", NAMES)
def test_strangers_do_not_lock_out_a_known_device(sign_in, by_stranger, alice, name):
    assert sign_in("Alice") == 200

    assert by_stranger(name) == [401] * 10 + [429]

    assert sign_in(name) == 200
    assert sign_in(name, address=STRANGER, user_agent="curl/8.0") == 429


@pytest.mark.parametrize("origin", [{"address": ELSEWHERE}, {"user_agent": "Chrome/150"}])
def test_a_new_device_waits(sign_in, by_stranger, alice, origin):
    sign_in()
    by_stranger()

    assert sign_in(**origin) == 429


def test_a_device_may_move_within_its_ipv6_network(sign_in, by_stranger, alice):
    sign_in(address="2001:db8:1:2::1")
    by_stranger()

    assert sign_in(address="2001:db8:1:2:ffff::9") == 200
    assert sign_in(address="2001:db8:1:3::1") == 429


def test_a_known_device_has_its_own_ten_guesses(sign_in, guess, alice):
    sign_in()

    assert guess(11) == [401] * 10 + [429]
    assert sign_in() == 429
    assert sign_in(address=ELSEWHERE) == 200


def test_a_success_resets_the_count_of_a_known_device(sign_in, guess, alice):
    sign_in()
    guess(9)

    assert sign_in() == 200
    assert guess(10) == [401] * 10


def test_a_success_gives_a_stranger_no_more_guesses(sign_in, guess, alice):
    """Neither from a known device nor from a new one."""
    guess(9, address=STRANGER)
    assert [sign_in(), sign_in(), sign_in(address=ELSEWHERE)] == [200] * 3

    assert guess(2, address=STRANGER) == [401, 429]


def test_failures_of_the_owner_expire(sign_in, guess, alice, clock):
    """A success does not make earlier failures look recent."""
    for number in range(12):
        assert guess(1, address=f"192.0.2.{number}") == [401]
        assert sign_in(address=f"192.0.2.{number}") == 200
        clock.advance(hours=25)


def test_a_device_is_known_for_one_account_only(sign_in, guess, alice, bob):
    sign_in("Alice")
    guess(10, "Bob", address=STRANGER)

    assert sign_in("Bob") == 429


def test_a_failed_sign_in_makes_no_device_known(guess, alice):
    guess(1)

    assert not Attempt.objects.filter(key__startswith="device").exists()


@pytest.mark.parametrize(("days", "status"), [(89, 200), (90, 429)])
@pytest.mark.parametrize("cleaned", [True, False])
def test_a_device_is_known_for_ninety_days(sign_in, by_stranger, alice, clock, days, status, cleaned):
    sign_in()
    clock.advance(days=days)
    if cleaned:
        jobs.clean()
    by_stranger()

    assert sign_in() == status


def test_rows_of_unknown_identifiers_are_deleted_after_a_day(guess, sign_in, alice, clock):
    sign_in()
    guess(1, "nobody")
    clock.advance(days=1, seconds=1)

    jobs.clean()

    assert {key.partition(" ")[0] for key in Attempt.objects.values_list("key", flat=True)} == {"device"}


def test_a_reset_lets_a_new_device_in(sign_in, by_stranger, client, alice):
    by_stranger()
    token = PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)
    client.post("/user/password-reset/confirm/", {"token": token, "new_password": "nine red balloons"})

    assert sign_in(password="nine red balloons", address=ELSEWHERE) == 200


def test_a_sign_in_costs_at_most_thirteen_statements(sign_in, guess, alice, django_assert_max_num_queries):
    with django_assert_max_num_queries(13):
        assert sign_in() == 200
    guess(1)

    with django_assert_max_num_queries(13):
        assert sign_in() == 200


@pytest.mark.django_db(transaction=True)
def test_only_ten_of_fifty_parallel_guesses_are_checked(sign_in, guess, at_once, alice, hash_computations):
    sign_in()
    hash_computations.clear()

    answers = at_once(*(lambda index=index: sign_in("Alice", f"guess {index}") for index in range(50)))

    assert sorted(answers) == [401] * 10 + [429] * 40
    assert len(hash_computations) == 10


@pytest.mark.django_db(transaction=True)
def test_parallel_sign_ins_by_name_and_email_do_not_deadlock(sign_in, at_once, alice):
    for _ in range(3):
        assert at_once(*(lambda name=name: sign_in(name) for name in NAMES * 6)) == [200] * 12

    assert Session.objects.count() == 36
