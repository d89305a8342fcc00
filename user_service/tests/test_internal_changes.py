"""The feed of changed accounts, which the task service reads. Which callers may: docs/permissions.md."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import F

from accounts import internal
from accounts.models import Change, LastAdmin, User
from chassis.auth.tokens import issue_service_token
from chassis.testing.threads import in_own_connection, start_together, wait_for_lock_waiter
from tests.conftest import NEW_PASSWORD, PASSWORD, Client, allow_truncation, login_status

pytestmark = pytest.mark.django_db

URL = "/internal/users/changes/"
WRITERS, ACCOUNTS_EACH = 8, 15
ZERO = {"epoch": 0, "min_valid_epoch": 0, "least_epoch": 0}
NEW_ROLE = {"epoch": 1, "min_valid_epoch": 0, "least_epoch": 0}
REVOKED = {"epoch": 1, "min_valid_epoch": 1, "least_epoch": 1}


@pytest.fixture
def feed(client):
    """Requests a page of the feed as the task service."""
    client.set_tokens(issue_service_token("task_service"))

    def get(after=0):
        answer = client.get(URL, {"after": after})
        assert answer.status_code == 200
        return answer.json()

    return get


@pytest.fixture
def person_in_feed(person):
    """Creates accounts that are in the feed; those of `person` are not."""

    def make(username, **fields):
        user = person(username, **fields)
        Change.objects.record(user.pk)
        return user

    return make


@pytest.fixture
def alice(person_in_feed):
    return person_in_feed("Alice")


@pytest.fixture
def ada(person_in_feed, alice):
    return person_in_feed("Ada", role="admin")


@pytest.fixture
def callers(client_of, alice, ada):
    """Alice's client and an admin's."""
    return client_of(alice), client_of(ada)


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(internal, "MAX_CHANGES", 3)


def ids(page):
    return [row["id"] for row in page["results"]]


def usernames(page):
    return [row["user"]["username"] for row in page["results"]]


def walk(feed, after=0):
    pages = [feed(after)]
    while pages[-1]["more"]:
        pages.append(feed(pages[-1]["next_after"]))
        assert len(pages) < 100
    return pages


def test_the_feed_lists_changed_accounts(client, feed, person_in_feed):
    alice, ivan = person_in_feed("Alice"), person_in_feed("Ivan", is_active=False, role="admin")

    page = feed()

    first, second = (row["position"] for row in page["results"])
    users = [
        {"id": alice.pk, "username": "Alice", "email": "alice@example.com", "role": "user", "is_active": True, **ZERO},
        {"id": ivan.pk, "username": "Ivan", "email": "ivan@example.com", "role": "admin", "is_active": False, **ZERO},
    ]
    rows = [
        {"position": first, "id": alice.pk, "user": users[0]},
        {"position": second, "id": ivan.pk, "user": users[1]},
    ]
    assert page == {"results": rows, "next_after": second, "more": False}
    assert 0 < first < second
    assert client.get(URL).json() == page  # without a position it starts at the beginning


def test_at_the_end_next_after_is_unchanged(feed, alice):
    end = feed()["next_after"]

    for after in (end, end + 1000, 2**63 - 1):
        assert feed(after) == {"results": [], "next_after": after, "more": False}


# Changes in the feed


def by_owner(method, path, **body):
    return lambda own, admin, path_of_alice: getattr(own, method)(path, body)


def by_admin(**change):
    return lambda own, admin, path_of_alice: admin.patch(path_of_alice, change)


def by_last_admin(**change):
    """A change of the admin's own account."""
    return lambda own, admin, path_of_alice: admin.patch(f"/user/users/{User.objects.get(role='admin').pk}/", change)


@pytest.mark.parametrize(
    ("act", "shows"),
    [
        (by_admin(username="Alicia"), {"username": "Alicia", **ZERO}),
        (by_admin(email="alicia@example.com"), {"email": "alicia@example.com", **ZERO}),
        (by_admin(role="admin"), {"role": "admin", **NEW_ROLE}),
        (by_admin(role="admin", email="a@b.example"), {"role": "admin", "email": "a@b.example", **NEW_ROLE}),
        (by_admin(is_active=False), {"is_active": False, **REVOKED}),
        (by_admin(is_active=False, role="admin"), {"is_active": False, "role": "admin", **REVOKED}),
        (by_owner("patch", "/user/me/", username="ALICE", current_password=PASSWORD), {"username": "ALICE", **ZERO}),
        (by_owner("post", "/user/me/password/", current_password=PASSWORD, new_password=NEW_PASSWORD), REVOKED),
        (by_owner("post", "/token/logout-all/"), REVOKED),
    ],
    ids=["name", "address", "role", "role, address", "status", "status, role", "own name", "password", "logout-all"],
)
def test_a_change_moves_the_account_to_the_end(callers, feed, alice, act, shows):
    before = feed()

    answer = act(*callers, f"/user/users/{alice.pk}/")

    after = feed(before["next_after"])
    assert answer.status_code in (200, 204)
    assert ids(after) == [alice.pk]
    assert after["results"][0]["user"] | shows == after["results"][0]["user"]
    assert after["next_after"] > before["next_after"]
    assert ids(feed()).count(alice.pk) == 1


def test_new_accounts_are_at_the_end(feed, person_in_feed, monkeypatch):
    person_in_feed("Alice")
    before = feed()["next_after"]
    monkeypatch.setenv("ADMIN_PASSWORD", NEW_PASSWORD)

    call_command("ensure_admin")
    Client().post("/user/register/", {"username": "Zoe", "email": "zoe@example.com", "password": NEW_PASSWORD})

    admin, zoe = [row["user"] for row in feed(before)["results"]]
    assert admin | {"username": "admin", "role": "admin", "is_active": True, **ZERO} == admin
    assert zoe | {"username": "Zoe", "email": "", "role": "user", "is_active": True, **ZERO} == zoe


def test_a_deleted_account_is_a_tombstone_at_the_end(callers, feed, alice, ada):
    before = feed()["next_after"]

    callers[1].delete(f"/user/users/{alice.pk}/")

    page = feed(before)
    assert page["results"] == [{"position": page["next_after"], "id": alice.pk, "user": None}]
    assert ids(feed()) == [ada.pk, alice.pk]


def test_a_tombstone_is_never_mistaken_for_a_new_account(feed, alice):
    old_id = alice.pk
    alice.remove()

    again = User.objects.register(username="Alice", email="alice@example.com", password=NEW_PASSWORD)

    assert [(row["id"], row["user"] is None) for row in feed()["results"]] == [(old_id, True), (again.pk, False)]
    assert again.pk != old_id


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (by_admin(), 200),
        (by_admin(username="Alice", email="alice@example.com", role="user", is_active=True), 200),
        (by_owner("patch", "/user/me/", username="Alice"), 200),
        (by_owner("get", "/user/me/"), 200),
        (by_owner("patch", "/user/me/", username="Ada", current_password=PASSWORD), 409),
        (by_last_admin(role="user"), 409),
        (by_last_admin(is_active=False), 409),
    ],
)
def test_an_empty_or_refused_change_is_not_in_the_feed(callers, feed, alice, act, status):
    before = feed()

    answer = act(*callers, f"/user/users/{alice.pk}/")

    assert (answer.status_code, feed()) == (status, before)


def test_signing_in_and_out_is_not_in_the_feed(callers, feed, password):
    before, (own, _) = feed(), callers

    assert [login_status(own, "Alice", tried) for tried in (password, "a wrong guess")] == [200, 401]
    own.post("/token/refresh/", {"refresh": own.refresh_token})
    own.post("/token/logout/", {"refresh": own.refresh_token})

    assert feed() == before


def test_a_rollback_is_not_in_the_feed(feed, alice):
    before = feed()

    with transaction.atomic():
        alice.change(username="Alicia")
        transaction.set_rollback(True)

    assert feed() == before


# Pages


@pytest.mark.parametrize(("number", "sizes"), [(0, [0]), (2, [2]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])])
def test_pages_contain_each_account_exactly_once(feed, person_in_feed, small_pages, number, sizes):
    people = [person_in_feed(f"Person{index}") for index in range(number)]

    pages = walk(feed)

    assert [len(page["results"]) for page in pages] == sizes
    assert [page["more"] for page in pages] == [True] * (len(sizes) - 1) + [False]
    assert [pk for page in pages for pk in ids(page)] == [user.pk for user in people]


def test_a_change_during_the_walk_appears_again(feed, person_in_feed, small_pages):
    people = [person_in_feed(f"Person{index}") for index in range(7)]
    first, removed = feed(), people[6].pk
    people[0].change(username="Known")
    people[5].change(username="Unknown")
    people[6].remove()

    rest = walk(feed, first["next_after"])

    seen = [(row["id"], row["user"] and row["user"]["username"]) for page in rest for row in page["results"]]
    unchanged = [(people[index].pk, f"Person{index}") for index in (3, 4)]
    assert seen == [*unchanged, (people[0].pk, "Known"), (people[5].pk, "Unknown"), (removed, None)]


def test_a_page_has_fifty_changes_and_costs_two_statements(feed, django_assert_num_queries):
    people = User.objects.bulk_create(User(username_key=f"p{number}", email_key=f"p{number}") for number in range(51))
    Change.objects.bulk_create(Change(user_id=user.pk) for user in people)

    with django_assert_num_queries(2):
        page = feed()

    assert ids(page) == [user.pk for user in people[:50]]
    assert None not in [row["user"] for row in page["results"]]
    assert ids(feed(page["next_after"])) == [people[50].pk]


@pytest.mark.parametrize(
    "after", ["", "-1", "1.0", "1e3", " 1", "1\n", "+1", "\u0661", str(2**63), "9" * 5000, "\0", ["1", "2"]]
)
def test_an_invalid_position_is_refused(client, feed, after):
    answer = client.get(URL, {"after": after})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "after")


def test_another_parameter_is_refused(client, feed):
    assert client.get(URL, {"since": 1}).json()["errors"][0]["field"] == "since"


@pytest.mark.django_db(transaction=True)
def test_accounts_older_than_the_feed_are_in_it(feed):
    def migrate(name):
        executor = MigrationExecutor(connection)
        leaves = [node for node in executor.loader.graph.leaf_nodes() if node[0] == "accounts"]
        executor.migrate([("accounts", name)] if name else leaves)
        return MigrationExecutor(connection).loader.project_state([("accounts", name)] if name else leaves).apps

    try:
        old = migrate("0001_initial").get_model("accounts", "User")
        for name in ("dora", "eve", "frank"):
            old.objects.create(username=name, username_key=name, email=f"{name}@example.com", email_key=f"{name}@e")
    finally:
        migrate(None)
        allow_truncation()

    page = feed()
    assert usernames(page) == ["dora", "eve", "frank"]
    assert {row["user"]["epoch"] for row in page["results"]} == {0}
    User.objects.get(username="dora").change(email="dora@elsewhere.example")
    assert usernames(feed(page["next_after"])) == ["dora"]


# In parallel


@pytest.mark.django_db(transaction=True)
def test_a_late_commit_is_not_missed(feed, person_in_feed):
    """Bob's change waits for Alice's, so that no reader sees it while hers is hidden."""
    alice, bob = person_in_feed("Alice"), person_in_feed("Bob")
    start = feed()["next_after"]

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            alice.change(username="Alicia")
            (bobs_change,) = start_together(pool, [partial(bob.change, username="Bobby")])
            wait_for_lock_waiter()
            (meanwhile,) = in_own_connection(lambda: feed(start))
        bobs_change.result()

    assert meanwhile["results"] == []
    assert usernames(feed(start)) == ["Alicia", "Bobby"]


@pytest.mark.django_db(transaction=True)
def test_no_change_commits_below_a_position_already_read(feed, person, at_once):
    """Each account changes once, so that no later change hides a missed one."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    people = [[person(f"P{writer}-{number}") for number in range(ACCOUNTS_EACH)] for writer in range(WRITERS)]
    committed, seen, writing = [], [], list(range(WRITERS))

    def write(writer):
        chance = random.Random(seed * WRITERS + writer)
        for user in people[writer]:
            rename = partial(user.change, email=f"new-{user.email}")
            change = chance.choice([user.sign_out_everywhere, user.remove, rename])
            user_id, commits = user.pk, chance.random() < 0.85
            with transaction.atomic():
                time.sleep(chance.uniform(0, 0.003))
                change()
                position = Change.objects.get(user_id=user_id).position
                time.sleep(chance.uniform(0, 0.006))
                transaction.set_rollback(not commits)
            if commits:
                committed.append((position, user_id))
        writing.remove(writer)

    def poll():
        after, ended = 0, False
        while True:
            page = feed(after)
            assert page["next_after"] >= after
            seen.extend((row["position"], row["id"]) for row in page["results"])
            after = page["next_after"]
            if ended:
                return
            ended = not writing

    at_once(poll, *(partial(write, writer) for writer in range(WRITERS)))

    assert len(committed) > WRITERS * ACCOUNTS_EACH / 2
    assert seen == sorted(committed)


@pytest.mark.django_db(transaction=True)
def test_parallel_changes_of_all_kinds_do_not_deadlock(feed, at_once, person):
    """All are in the feed, and an admin is left."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    people = [person(f"P{number}", role=role) for number, role in enumerate(["admin", "user"] * 4)]

    def work(number):
        chance = random.Random(seed * 10 + number)
        for step in range(20):
            user = User.objects.get(pk=chance.choice(people).pk)
            act = chance.choice(
                [
                    partial(user.change, role=chance.choice(["admin", "user"])),
                    partial(user.change, is_active=chance.random() < 0.5),
                    *(partial(user.change, email=f"{user.pk}-{number}-{step}@example.com"), user.sign_out_everywhere),
                ]
            )
            with suppress(LastAdmin):
                act()

    at_once(*(partial(work, number) for number in range(8)))

    rows = {row["id"]: row["user"] for page in walk(feed) for row in page["results"]}
    fields = ["id", "username", "email", "role", "is_active", "epoch", "min_valid_epoch"]
    stored = User.objects.filter(pk__in=rows).values(*fields, least_epoch=F("min_valid_epoch"))
    assert rows == {row["id"]: row for row in stored}
    assert User.objects.active_admins().exists()
