"""Limits on a stack as it really runs: exact over all workers and replicas, whatever callers claim to be."""

import json
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from itertools import count

import pytest

from chassis.testing.limiting import read_limit, read_limits, read_retry_after
from stack import programs
from stack import settings as stack_settings
from stack.ports import free_ports
from stack.state import State
from tests.local_stack import PASSWORD, LocalStack, environment, eventually

LIMITS = {
    "THROTTLE_ADMIN": "10/min",
    "THROTTLE_USER": "10/min",
    "THROTTLE_ANON": "5/min",
    "THROTTLE_SIGNUP": "60/min",
}
WORKERS = "4"
SERVICES = {"user-service": "/user/me/", "task-service": "/task/tasks/"}
names = (f"lena{number}" for number in count())
addresses = (f"127.9.{high}.{low}" for high in count() for low in range(1, 255))  # each of a client of its own


@dataclass(frozen=True)
class Answer:
    status_code: int
    headers: HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class Person:
    """Somebody with an address, and with a token or without."""

    address: str
    token: str = ""

    def call(self, port, path, method="GET", body=None, **headers):
        headers |= {"Host": "localhost", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body)
        with closing(HTTPConnection("127.0.0.1", port, timeout=30, source_address=(self.address, 0))) as connection:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())


@dataclass(frozen=True)
class Kind:
    role: str
    scope: str
    let_in: int  # so many requests
    status: int  # with this status


KINDS = [Kind("", "anon", 5, 401), Kind("user", "user", 10, 200), Kind("admin", "admin", 10, 200)]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.scope)
each_service = pytest.mark.parametrize("service", SERVICES)


def stranger():
    return Person(next(addresses))


def signed_in(port, username, password):
    """Sign somebody in, from an address that nobody has used."""
    answer = stranger().call(port, "/token/", "POST", {"username": username, "password": password})
    assert answer.status_code == 200, answer.body
    return Person(next(addresses), answer.json()["access"])


@pytest.fixture(scope="module")
def limited():
    stack = LocalStack()
    stack.start(**LIMITS, WEB_CONCURRENCY=WORKERS, MAX_REQUESTS_PER_CLIENT="64")
    yield stack
    stack.remove()


@pytest.fixture(scope="module")
def admin(limited):
    return signed_in(limited.port, "admin", (limited.folder / "admin-password").read_text().strip())


@pytest.fixture
def caller(limited, admin):
    """Makes somebody of a kind, of whom nothing was counted yet in either service but for their sign-in."""

    def make(kind):
        if not kind.role:
            return stranger()
        name = next(names)
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, "role": kind.role}
        author = admin if kind.role == "admin" else stranger()
        assert author.call(limited.port, "/user/register/", "POST", body).status_code == 201
        return signed_in(limited.port, name, PASSWORD)

    return make


def claims(number):
    """Return headers in which a caller claims to be somebody else each time."""
    address = f"203.0.{number}.7"
    return {
        "X-Forwarded-For": f"{address}, 127.0.0.1",
        "X-Real-IP": address,
        "Forwarded": f"for={address}",
        "X-Client-IP": address,
        "True-Client-IP": address,
        "CF-Connecting-IP": address,
        "X-Forwarded-Host": address,
        "X-Gateway-Client": address,
        "X-Gateway-Secret": "",
        "X-User-Id": str(number),
        "Via": address,
        "User-Agent": f"browser {number}",
        "Cookie": f"session={number}",
    }


def in_a_row(number, person, path, *ports):
    """Call so many times, each time the next port."""
    return [person.call(ports[index % len(ports)], path, **claims(index)) for index in range(number)]


def at_once(number, person, path, *ports):
    with ThreadPoolExecutor(number) as pool:
        calls = [pool.submit(person.call, ports[index % len(ports)], path, **claims(index)) for index in range(number)]
        return [call.result() for call in calls]


def states(answers):
    """Return the scopes that were told, and what was left each time."""
    limits = [read_limit(answer) for answer in answers]
    return {limit.scope for limit in limits}, [limit.left for limit in limits]


@contextmanager
def replica(stack, service, **changed):
    """Run one more gunicorn of a service, on the same database; give its port."""
    program = programs.read(State(stack.folder), service)
    (port,) = free_ports(1)
    argv = [f"127.0.0.1:{port}" if word == "fd://0" else word for word in program.argv]
    variables = environment() | {"WEB_CONCURRENCY": "2"} | program.environment | changed
    with (stack.folder / "log" / f"{service}-replica.log").open("a") as log:
        process = subprocess.Popen(argv, cwd=program.folder, env=variables, stdout=log, stderr=log)
    try:
        eventually(lambda: is_up(port, service), seconds=30)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def is_up(port, service):
    with suppress(ConnectionRefusedError):
        return stranger().call(port, f"/{service.removesuffix('-service')}/health/ready/").status_code == 200
    return False


@each_service
@each_kind
def test_of_sixty_in_a_row_exactly_the_limit_is_let_in(limited, caller, kind, service):
    person = caller(kind)

    answers = in_a_row(60, person, SERVICES[service], limited.port)

    assert [answer.status_code for answer in answers] == [kind.status] * kind.let_in + [429] * (60 - kind.let_in)
    assert states(answers) == ({kind.scope}, [*reversed(range(kind.let_in)), *[0] * (60 - kind.let_in)])


@each_service
@each_kind
def test_of_fifty_at_once_exactly_the_limit_is_let_in(limited, caller, kind, service):
    person = caller(kind)

    answers = at_once(50, person, SERVICES[service], limited.port)

    assert Counter(answer.status_code for answer in answers) == {kind.status: kind.let_in, 429: 50 - kind.let_in}
    scopes, left = states(answers)
    assert scopes == {kind.scope}
    assert sorted(left, reverse=True)[: kind.let_in] == list(reversed(range(kind.let_in)))


def test_a_refusal_says_when_to_come_back_and_goes_through_the_gateway_as_it_is(limited, caller):
    person = caller(KINDS[1])
    began = time.monotonic()
    in_a_row(10, person, "/task/tasks/", limited.port)

    refused = person.call(limited.port, "/task/tasks/")

    wait = read_retry_after(refused)
    assert 60 - (time.monotonic() - began) - 1 <= wait <= 60
    assert refused.headers.get_all("Retry-After") == [str(wait)]
    assert refused.headers.get_all("RateLimit-Policy") == ['"user";q=10;w=60']
    assert refused.headers.get_all("RateLimit") == [f'"user";r=0;t={wait}']


def test_each_service_has_a_count_of_its_own(limited, caller):
    person = caller(KINDS[1])
    in_a_row(11, person, "/user/me/", limited.port)

    assert person.call(limited.port, "/user/me/").status_code == 429
    assert person.call(limited.port, "/task/tasks/").status_code == 200


def test_one_who_is_used_up_leaves_all_others_alone(limited, caller):
    somebody, nobody = caller(KINDS[1]), stranger()
    for path in SERVICES.values():
        at_once(20, somebody, path, limited.port)
        at_once(20, nobody, path, limited.port)

    others = [caller(KINDS[1]), caller(KINDS[2]), stranger()]

    assert [each.call(limited.port, "/task/tasks/").status_code for each in others] == [200, 200, 401]
    assert [each.call(limited.port, "/user/me/").status_code for each in (somebody, nobody)] == [429, 429]


@each_service
def test_sixty_304s_in_a_row_are_twice_the_limit_in_work(limited, caller, service):
    person, path = caller(KINDS[1]), SERVICES[service]
    tag = person.call(limited.port, path, **{"Accept-Encoding": "gzip"}).headers["ETag"]

    answers = [person.call(limited.port, path, **{"If-None-Match": tag}) for _ in range(60)]

    assert [answer.status_code for answer in answers] == [304] * 19 + [429] * 41
    assert states(answers) == ({"user"}, [9] * 10 + [*reversed(range(9))] + [0] * 41)


@each_service
def test_of_forty_304s_at_once_no_more_are_served_than_twice_the_limit(limited, caller, service):
    person, path = caller(KINDS[1]), SERVICES[service]
    tag = person.call(limited.port, path).headers["ETag"]

    def unchanged():
        return person.call(limited.port, path, **{"If-None-Match": tag}).status_code

    with ThreadPoolExecutor(40) as pool:
        statuses = [each.result() for each in [pool.submit(unchanged) for _ in range(40)]]
    statuses += [unchanged() for _ in range(20)]

    assert Counter(statuses) == {304: 19, 429: 41}


@each_service
def test_sixty_304s_for_any_tag_are_counted(limited, caller, service):
    person = caller(KINDS[1])

    answers = [person.call(limited.port, SERVICES[service], **{"If-None-Match": "*"}) for _ in range(60)]

    assert [answer.status_code for answer in answers] == [304] * 10 + [429] * 50


def test_six_people_behind_one_address_refresh_whatever_junk_it_sends(limited, admin):
    port, shared = limited.port, stranger()
    junk = [shared.call(port, "/token/refresh/", "POST", {"refresh": "a.b.c"}).status_code for _ in range(6)]
    tokens = []
    for name in [next(names) for _ in range(6)]:
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        person = stranger()
        assert person.call(port, "/user/register/", "POST", body).status_code == 201
        credentials = {"username": name, "password": PASSWORD}
        tokens.append(person.call(port, "/token/", "POST", credentials).json()["refresh"])

    refreshed = [shared.call(port, "/token/refresh/", "POST", {"refresh": token}) for token in tokens]
    ended = [
        shared.call(port, "/token/logout/", "POST", {"refresh": each.json()["refresh"]}).status_code
        for each in refreshed
    ]

    assert junk == [401] * 5 + [429]
    assert [each.status_code for each in refreshed] == [200] * 6
    assert ended == [204] * 6


def test_sixty_empty_registrations_of_twelve_addresses_keep_nobody_out(limited, caller):
    for sender in [stranger() for _ in range(12)]:
        statuses = [sender.call(limited.port, "/user/register/", "POST", {}).status_code for _ in range(5)]
        assert statuses == [400] * 5

    assert caller(KINDS[1]).call(limited.port, "/user/me/").status_code == 200


def test_health_is_never_counted(limited):
    person = stranger()
    for path in ("/user/health/live/", "/task/health/ready/"):
        answers = at_once(20, person, path, limited.port)

        assert {answer.status_code for answer in answers} == {200}
        assert [read_limits(answer) for answer in answers] == [[]] * 20


@each_service
def test_replicas_have_one_count_together(limited, caller, service):
    path = SERVICES[service]
    somebody, another, nobody = caller(KINDS[1]), caller(KINDS[1]), stranger()
    assert in_a_row(4, another, path, limited.port)[-1].status_code == 200

    with replica(limited, service) as second:
        ports = (limited.port, second)
        alternating = [answer.status_code for answer in in_a_row(30, somebody, path, *ports)]
        crowded = Counter(answer.status_code for answer in at_once(50, another, path, *ports))
        unknown = Counter(answer.status_code for answer in at_once(50, nobody, path, *ports))

    assert alternating == [200] * 10 + [429] * 20
    assert crowded == {200: 6, 429: 44}  # four were counted before the replica was there
    assert unknown == {401: 5, 429: 45}


def test_who_waits_as_long_as_told_is_let_in(limited):
    person = stranger()
    with replica(limited, "task-service", THROTTLE_ANON="2/sec", WEB_CONCURRENCY="1") as port:
        answers = in_a_row(2, person, "/task/tasks/", port)
        refused = person.call(port, "/task/tasks/")
        time.sleep(read_retry_after(refused))
        afterwards = person.call(port, "/task/tasks/")

    assert [answer.status_code for answer in (*answers, refused, afterwards)] == [401, 401, 429, 401]
    assert read_limit(afterwards) == ("anon", 2, 1, 1, 1)


def test_the_old_name_of_the_sign_up_limit_reaches_the_services(monkeypatch, tmp_path):
    monkeypatch.setenv("THROTTLE_NEWCOMERS", "7/min")
    monkeypatch.delenv("THROTTLE_SIGNUP", raising=False)
    state = State(tmp_path)
    state.lifted_limits.touch()  # --demo does not lift what a person has set
    for_service = stack_settings.whole("user_service", stack_settings.limits(state))
    monkeypatch.setenv("THROTTLE_SIGNUP", "8/min")
    for_service_later = stack_settings.whole("user_service", stack_settings.limits(state))

    assert (for_service.get("THROTTLE_SIGNUP"), for_service["THROTTLE_NEWCOMERS"]) == (None, "7/min")
    assert for_service_later["THROTTLE_SIGNUP"] == "8/min"


def test_a_limit_that_is_none_refuses_the_start_in_one_sentence(own_stack):
    refused = own_stack.run("--detach", THROTTLE_USER="10/week")

    assert refused.returncode == 1
    assert (
        "THROTTLE_USER must be a rate such as 10/min (or /sec, /hour, /day), or off, not '10/week'." in refused.stderr
    )
    assert refused.stderr.count("\n") == 1
    assert own_stack.processes() == []
