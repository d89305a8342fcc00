import random
import threading
import time

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from accounts import internal
from accounts.models import Change, LastAdmin, NameTaken, User
from chassis.auth.tokens import issue_service_token
from tests.conftest import allow_truncation

pytestmark = pytest.mark.django_db

URL = "/internal/users/changes/"
WRITERS, ACCOUNTS_EACH = 8, 25


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
def person_in_feed(password_hash, person):
    """Creates accounts that are in the feed; those of `person` are not."""

    def make(username, **fields):
        user = person(username, **fields)
        Change.objects.record(user.pk)
        return user

    return make


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(internal, "MAX_CHANGES", 3)


def ids(page):
    return [row["id"] for row in page["results"]]


def last(page):
    return page["results"][-1]


def walk(feed, after=0):
    pages = [feed(after)]
    while pages[-1]["more"]:
        pages.append(feed(pages[-1]["next_after"]))
        assert len(pages) < 100
    return pages


def test_the_feed_lists_changed_accounts(feed, person_in_feed):
    alice, ivan = person_in_feed("Alice"), person_in_feed("Ivan", is_active=False, role="admin")

    page = feed()

    assert page.keys() == {"results", "next_after", "more"}
    assert [row["user"] for row in page["results"]] == [
        {
            "id": alice.pk,
            "username": "Alice",
            "email": "alice@example.com",
            "role": "user",
            "is_active": True,
            "epoch": 0,
            "least_epoch": 0,
        },
        {
            "id": ivan.pk,
            "username": "Ivan",
            "email": "ivan@example.com",
            "role": "admin",
            "is_active": False,
            "epoch": 0,
            "least_epoch": 0,
        },
    ]
    assert [row.keys() for row in page["results"]] == [{"position", "id", "user"}] * 2
    assert ids(page) == [alice.pk, ivan.pk]
    assert page["next_after"] == last(page)["position"] > page["results"][0]["position"] > 0
    assert page["more"] is False


def test_without_a_position_the_feed_starts_at_the_beginning(client, feed, person_in_feed):
    person_in_feed("Alice")

    assert client.get(URL).json() == feed(0)


def test_at_the_end_next_after_is_unchanged(feed, person_in_feed):
    person_in_feed("Alice")
    end = feed()["next_after"]

    assert feed(end) == {"results": [], "next_after": end, "more": False}
    assert feed(end + 1000) == {"results": [], "next_after": end + 1000, "more": False}
    assert feed(2**63 - 1)["next_after"] == 2**63 - 1


def test_without_accounts_the_feed_is_empty(feed, db):
    assert feed() == {"results": [], "next_after": 0, "more": False}


def register(client_of, client, alice):
    body = {"username": "Zoe", "email": "zoe@example.com", "password": "nine orange lanterns"}
    return client.post("/user/register/", body).json()["id"]


def ensure_admin(client_of, client, alice):
    User.objects.filter(role="admin").delete()
    call_command("ensure_admin")
    return User.objects.get(role="admin").pk


def by_admin(**change):
    def patch(client_of, client, alice):
        admin = client_of(User.objects.get(username="Ada"))
        assert admin.patch(f"/user/users/{alice.pk}/", change).status_code == 200
        return alice.pk

    return patch


def by_owner(method, path, body=None):
    def call(client_of, client, alice):
        assert getattr(client_of(alice), method)(path, body).status_code in (200, 204)
        return alice.pk

    return call


@pytest.mark.parametrize(
    ("act", "shows"),
    [
        (register, {"username": "Zoe", "email": "", "role": "user", "is_active": True, "epoch": 0}),
        (ensure_admin, {"username": "admin", "role": "admin", "is_active": True, "epoch": 0}),
        (by_admin(username="Alicia"), {"username": "Alicia", "epoch": 0}),
        (by_admin(email="alicia@example.com"), {"email": "alicia@example.com", "epoch": 0}),
        (by_admin(role="admin"), {"role": "admin", "epoch": 1}),
        (by_admin(is_active=False), {"is_active": False, "epoch": 1}),
        (
            by_owner("patch", "/user/me/", {"username": "ALICE", "current_password": "seven green bicycles"}),
            {"username": "ALICE", "epoch": 0},
        ),
        (
            by_owner(
                "post",
                "/user/me/password/",
                {"current_password": "seven green bicycles", "new_password": "nine orange lanterns"},
            ),
            {"username": "Alice", "epoch": 1},
        ),
        (by_owner("post", "/token/logout-all/"), {"username": "Alice", "epoch": 1}),
    ],
    ids=["register", "ensure_admin", "name", "address", "role", "deactivation", "own name", "password", "logout-all"],
)
def test_a_change_moves_the_account_to_the_end(client_of, feed, person_in_feed, monkeypatch, act, shows):
    monkeypatch.setenv("ADMIN_PASSWORD", "nine orange lanterns")
    alice, *_ = person_in_feed("Alice"), person_in_feed("Ada", role="admin"), person_in_feed("Bob")
    before = feed()

    changed = act(client_of, type(client_of(alice))(), alice)

    after = feed(before["next_after"])
    assert ids(after) == [changed]
    assert after["results"][0]["user"] | shows == after["results"][0]["user"]
    assert after["next_after"] > before["next_after"]
    assert ids(feed()).count(changed) == 1


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_deleted_account_is_a_tombstone_at_the_end(client_of, feed, person_in_feed, by_itself):
    alice, ada = person_in_feed("Alice"), person_in_feed("Ada", role="admin")
    before = feed()["next_after"]

    if by_itself:
        client_of(ada).delete(f"/user/users/{alice.pk}/")
    else:
        client_of(ada).delete("/user/users/", {"id": alice.pk})

    page = feed(before)
    assert page["results"] == [{"position": page["next_after"], "id": alice.pk, "user": None}]
    assert ids(feed()) == [ada.pk, alice.pk]


def test_a_tombstone_is_never_mistaken_for_a_new_account(client_of, feed, person_in_feed):
    alice = person_in_feed("Alice")
    old_id = alice.pk
    alice.remove()

    again = User.objects.register(username="Alice", email="alice@example.com", password="nine orange lanterns")

    assert [(row["id"], row["user"] is None) for row in feed()["results"]] == [(old_id, True), (again.pk, False)]
    assert again.pk != old_id


@pytest.mark.parametrize(
    "act",
    [
        by_admin(),
        by_admin(username="Alice", email="alice@example.com", role="user", is_active=True),
        by_owner("patch", "/user/me/", {}),
        by_owner("patch", "/user/me/", {"username": "Alice"}),
        by_owner("get", "/user/me/"),
    ],
)
def test_an_empty_change_is_not_in_the_feed(client_of, client, feed, person_in_feed, act):
    alice, _ = person_in_feed("Alice"), person_in_feed("Ada", role="admin")
    before = feed()

    act(client_of, type(client)(), alice)

    assert feed() == before


def test_signing_in_and_out_is_not_in_the_feed(feed, person_in_feed, password, client_of):
    alice = person_in_feed("Alice")
    before, client = feed(), client_of(alice)

    client.post("/token/", {"username": "Alice", "password": password})
    client.post("/token/refresh/", {"refresh": client.refresh_token})
    client.post("/token/logout/", {"refresh": client.refresh_token})

    assert feed() == before


def test_a_refused_change_is_not_in_the_feed(client_of, feed, person_in_feed):
    alice, ada, _ = person_in_feed("Alice"), person_in_feed("Ada", role="admin"), person_in_feed("Bob")
    before = feed()

    statuses = [
        client_of(alice)
        .patch("/user/me/", {"username": "Bob", "current_password": "seven green bicycles"})
        .status_code,
        client_of(ada).patch(f"/user/users/{ada.pk}/", {"role": "user"}).status_code,
        client_of(ada).delete(f"/user/users/{ada.pk}/").status_code,
    ]

    assert statuses == [409, 409, 409]
    assert feed() == before


def test_a_rollback_is_not_in_the_feed(feed, person_in_feed):
    alice = person_in_feed("Alice")
    before = feed()

    with transaction.atomic():
        alice.change(username="Alicia")
        transaction.set_rollback(True)

    assert feed() == before


def test_an_account_appears_once_with_current_values(feed, person_in_feed):
    alice, bob = person_in_feed("Alice"), person_in_feed("Bob")
    for number in range(5):
        alice.change(username=f"Alice{number}")
        bob.change(username=f"Bob{number}")

    assert [row["user"]["username"] for row in feed()["results"]] == ["Alice4", "Bob4"]


@pytest.mark.parametrize(("number", "sizes"), [(0, [0]), (2, [2]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])])
def test_pages_contain_each_account_exactly_once(feed, person_in_feed, small_pages, number, sizes):
    people = [person_in_feed(f"Person{index}") for index in range(number)]

    pages = walk(feed)

    assert [len(page["results"]) for page in pages] == sizes
    assert [page["more"] for page in pages] == [True] * (len(sizes) - 1) + [False]
    assert [pk for page in pages for pk in ids(page)] == [user.pk for user in people]


def test_a_change_during_the_walk_appears_again(feed, person_in_feed, small_pages):
    people = [person_in_feed(f"Person{index}") for index in range(7)]
    first = feed()
    people[0].change(username="Known")
    people[5].change(username="Unknown")
    people[6].remove()

    rest = walk(feed, first["next_after"])

    seen = [(row["id"], row["user"] and row["user"]["username"]) for page in rest for row in page["results"]]
    assert seen == [
        (people[3].pk, "Person3"),
        (people[4].pk, "Person4"),
        (people[0].pk, "Known"),
        (people[5].pk, "Unknown"),
        (seen[-1][0], None),
    ]


def test_a_page_has_fifty_changes(feed):
    Change.objects.bulk_create(Change(user_id=number) for number in range(1, 52))

    page = feed()

    assert (len(page["results"]), page["more"]) == (50, True)
    assert ids(feed(page["next_after"])) == [51]


def test_a_page_costs_two_statements(feed, person_in_feed, django_assert_num_queries):
    for index in range(20):
        person_in_feed(f"Person{index}")

    with django_assert_num_queries(2):
        assert len(feed()["results"]) == 20


def test_a_missing_token_is_refused(client):
    assert client.get(URL).status_code == 401


def test_the_token_of_a_user_or_admin_is_refused(client_of, ada):
    client = client_of(ada)
    by_access = client.get(URL)
    client.set_tokens(client.refresh_token)

    assert (by_access.status_code, client.get(URL).status_code) == (401, 401)


@pytest.mark.parametrize(
    "after", ["", "-1", "abc", "1.0", "1e3", " 1", "1\n", "+1", "\u0661", str(2**63), "9" * 5000, "\0"]
)
def test_an_invalid_position_is_refused(client, feed, after):
    answer = client.get(URL, {"after": after})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "after")


@pytest.mark.parametrize(("query", "field"), [("?after=1&after=2", "after"), ("?since=1", "since")])
def test_an_invalid_query_is_refused(client, feed, query, field):
    answer = client.get(URL + query)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_feed_is_read_only(client, feed, method):
    assert getattr(client, method)(URL).status_code == 405


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
    assert [row["user"]["username"] for row in page["results"]] == ["dora", "eve", "frank"]
    assert {row["user"]["epoch"] for row in page["results"]} == {0}
    User.objects.get(username="dora").change(email="dora@elsewhere.example")
    assert [row["user"]["username"] for row in feed(page["next_after"])["results"]] == ["dora"]


@pytest.mark.django_db(transaction=True)
def test_a_late_commit_is_not_missed(feed, person_in_feed, at_once):
    """Alice's change is uncommitted while Bob's is made, and a reader polls."""
    alice, bob = person_in_feed("Alice"), person_in_feed("Bob")
    alice_changed, bob_is_at_it, may_commit, done = (threading.Event() for _ in range(4))
    start = feed()["next_after"]
    seen = []

    def change_alice_slowly():
        with transaction.atomic():
            alice.change(username="Alicia")
            alice_changed.set()
            assert may_commit.wait(30)

    def change_bob():
        assert alice_changed.wait(30)
        bob_is_at_it.set()
        bob.change(username="Bobby")

    def poll():
        after = start
        assert bob_is_at_it.wait(30)
        begun = time.monotonic()
        while not done.is_set():
            page = feed(after)
            after = page["next_after"]
            seen.extend((row["position"], row["user"]["username"]) for row in page["results"])
            if time.monotonic() - begun > 0.15:  # enough time for Bob's change to commit if nothing blocks it
                may_commit.set()
            if len(seen) >= 2 or time.monotonic() - begun > 5:
                done.set()

    at_once(change_alice_slowly, change_bob, poll)

    assert sorted(name for _, name in seen) == ["Alicia", "Bobby"]
    assert seen == sorted(seen)


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
            change = chance.choice(
                [user.sign_out_everywhere, user.remove, lambda user=user: user.change(email=f"new-{user.email}")]
            )
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
                break
            ended = not writing

    at_once(poll, *(lambda writer=writer: write(writer) for writer in range(WRITERS)))

    assert len(committed) > WRITERS * ACCOUNTS_EACH / 2
    assert seen == sorted(committed)


@pytest.mark.django_db(transaction=True)
def test_parallel_changes_of_all_kinds_do_not_deadlock(feed, at_once, person, password_hash):
    """Changes, sign-outs, deactivations and deletes in parallel: no deadlock, and all are in the feed."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    for round_ in range(4):
        roles = ["admin", "user"] * 4
        people = [person(f"P{round_}-{number}", role=role) for number, role in enumerate(roles)]

        def work(number, people=people, round_=round_):
            chance = random.Random(seed * 100 + round_ * 10 + number)
            for step in range(8):
                user = User.objects.filter(pk=chance.choice(people).pk).first()
                acts = [
                    lambda user=user: user.change(role=chance.choice(["admin", "user"])),
                    lambda user=user: user.change(is_active=chance.random() < 0.5),
                    lambda user=user, step=step: user.change(email=f"{user.pk}-{number}-{step}@example.com"),
                    lambda user=user: user.sign_out_everywhere(),
                ]
                try:
                    if user:
                        chance.choice(acts)()
                except (LastAdmin, NameTaken):
                    pass

        at_once(*(lambda number=number, work=work: work(number) for number in range(8)))

    rows = {row["id"]: row["user"] for page in walk(feed) for row in page["results"]}
    assert rows == {
        user.pk: {
            "id": user.pk,
            "username": user.username,
            "email": user.email,
            "role": user.role,
            "is_active": user.is_active,
            "epoch": user.epoch,
            "least_epoch": user.least_epoch,
        }
        for user in User.objects.filter(pk__in=rows)
    }
    assert User.objects.active_admins().exists()
