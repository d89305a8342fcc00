"""Rate limits on a running stack: exact over all workers and replicas, whatever headers callers forge."""

import json
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from itertools import count

import pytest

from chassis.testing.limiting import read_limit, read_retry_after
from stack import programs
from stack import settings as stack_settings
from stack.ports import free_ports
from stack.state import StateFolder
from tests.local_stack import PASSWORD, LocalStack, environment, eventually

# Per hour, so that no window ends during a test on a slow machine.
LIMITS = {"THROTTLE_ADMIN": "10/hour", "THROTTLE_USER": "10/hour", "THROTTLE_ANON": "5/hour", "THROTTLE_SIGNUP": "off"}
WORKERS = "4"
SERVICES = {"user-service": "/user/me/", "task-service": "/task/tasks/"}
names = (f"lena{number}" for number in count())
addresses = (f"127.9.{high}.{low}" for high in count() for low in range(1, 255))  # one per client


@dataclass(frozen=True)
class Response:
    status_code: int
    headers: HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)


@dataclass(frozen=True)
class LimitedCaller:
    """A caller with an address and an optional token."""

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
            return Response(answer.status, answer.headers, answer.read())


@dataclass(frozen=True)
class CallerKind:
    role: str
    scope: str
    limit: int
    status: int  # of requests within the limit


KINDS = [CallerKind("", "anon", 5, 401), CallerKind("user", "user", 10, 200), CallerKind("admin", "admin", 10, 200)]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.scope)
each_service = pytest.mark.parametrize("service", SERVICES)


def stranger():
    return LimitedCaller(next(addresses))


def signed_in(port, username, password):
    """Sign in from a new address."""
    answer = stranger().call(port, "/token/", "POST", {"username": username, "password": password})
    assert answer.status_code == 200, answer.body
    return LimitedCaller(next(addresses), answer.json()["access"])


@pytest.fixture(scope="module")
def limited():
    stack = LocalStack()
    stack.start(**LIMITS, WEB_CONCURRENCY=WORKERS, MAX_REQUESTS_PER_CLIENT="64")
    yield stack
    stack.remove()


@pytest.fixture(scope="module")
def admin(limited):
    return signed_in(limited.port, "admin", limited.admin_password)


@pytest.fixture
def caller(limited, admin):
    """Return a function that creates a caller of a kind with unused limits (except the sign-in)."""

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
    """Return headers with a different forged identity for each number."""
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
    """Call `number` times, cycling through the ports."""
    return [person.call(ports[index % len(ports)], path, **claims(index)) for index in range(number)]


def at_once(number, person, path, *ports):
    with ThreadPoolExecutor(number) as pool:
        calls = [pool.submit(person.call, ports[index % len(ports)], path, **claims(index)) for index in range(number)]
        return [call.result() for call in calls]


def states(answers):
    """Return the scopes and remaining counts in the responses."""
    limits = [read_limit(answer) for answer in answers]
    return {limit.scope for limit in limits}, [limit.left for limit in limits]


@contextmanager
def replica(stack, service, **changed):
    """Run another gunicorn of a service on the same database; yield its port."""
    program = programs.read(stack.state, service)
    (port,) = free_ports(1)
    argv = [f"127.0.0.1:{port}" if word == "fd://0" else word for word in program.argv]
    variables = environment() | {"WEB_CONCURRENCY": "2"} | program.environment | changed
    with (stack.folder / "log" / f"{service}-replica.log").open("a") as log:
        process = subprocess.Popen(argv, cwd=program.folder, env=variables, stdout=log, stderr=log)
    try:
        eventually(lambda: is_up(port, service))
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
def test_of_sixty_sequential_requests_exactly_the_limit_passes(limited, caller, kind, service):
    person = caller(kind)

    answers = in_a_row(60, person, SERVICES[service], limited.port)

    assert [answer.status_code for answer in answers] == [kind.status] * kind.limit + [429] * (60 - kind.limit)
    assert states(answers) == ({kind.scope}, [*reversed(range(kind.limit)), *[0] * (60 - kind.limit)])


@each_service
@each_kind
def test_of_fifty_concurrent_requests_exactly_the_limit_passes(limited, caller, kind, service):
    person = caller(kind)

    answers = at_once(50, person, SERVICES[service], limited.port)

    assert Counter(answer.status_code for answer in answers) == {kind.status: kind.limit, 429: 50 - kind.limit}
    scopes, left = states(answers)
    assert scopes == {kind.scope}
    assert sorted(left, reverse=True)[: kind.limit] == list(reversed(range(kind.limit)))


def test_a_429_passes_the_gateway_with_retry_after(limited, caller):
    person = caller(KINDS[1])
    in_a_row(10, person, "/task/tasks/", limited.port)

    refused = person.call(limited.port, "/task/tasks/")

    wait = read_retry_after(refused)
    assert 0 < wait <= 3600
    assert refused.headers.get_all("Retry-After") == [str(wait)]
    assert refused.headers.get_all("RateLimit-Policy") == ['"user";q=10;w=3600']
    assert refused.headers.get_all("RateLimit") == [f'"user";r=0;t={wait}']


def test_each_service_counts_separately(limited, caller):
    person = caller(KINDS[1])
    in_a_row(11, person, "/user/me/", limited.port)

    assert person.call(limited.port, "/user/me/").status_code == 429
    assert person.call(limited.port, "/task/tasks/").status_code == 200


def test_an_exhausted_caller_does_not_affect_others(limited, caller):
    somebody, nobody = caller(KINDS[1]), stranger()
    for path in SERVICES.values():
        at_once(20, somebody, path, limited.port)
        at_once(20, nobody, path, limited.port)

    others = [caller(KINDS[1]), caller(KINDS[2]), stranger()]

    assert [each.call(limited.port, "/task/tasks/").status_code for each in others] == [200, 200, 401]
    assert [each.call(limited.port, "/user/me/").status_code for each in (somebody, nobody)] == [429, 429]


@each_service
def test_replicas_share_one_count(limited, caller, service):
    path = SERVICES[service]
    somebody, another, nobody = caller(KINDS[1]), caller(KINDS[1]), stranger()
    assert in_a_row(4, another, path, limited.port)[-1].status_code == 200

    with replica(limited, service) as second:
        ports = (limited.port, second)
        alternating = [answer.status_code for answer in in_a_row(30, somebody, path, *ports)]
        crowded = Counter(answer.status_code for answer in at_once(50, another, path, *ports))
        unknown = Counter(answer.status_code for answer in at_once(50, nobody, path, *ports))

    assert alternating == [200] * 10 + [429] * 20
    assert crowded == {200: 6, 429: 44}  # four were counted before the replica started
    assert unknown == {401: 5, 429: 45}


def test_the_old_name_of_the_signup_limit_reaches_the_services(monkeypatch, tmp_path):
    monkeypatch.setenv("THROTTLE_NEWCOMERS", "7/min")
    monkeypatch.delenv("THROTTLE_SIGNUP", raising=False)
    state = StateFolder(tmp_path)
    state.lifted_limits.touch()  # --demo does not raise limits that the user has set
    for_service = stack_settings.full_environment("user_service", stack_settings.limits(state))
    monkeypatch.setenv("THROTTLE_SIGNUP", "8/min")
    for_service_later = stack_settings.full_environment("user_service", stack_settings.limits(state))

    assert (for_service.get("THROTTLE_SIGNUP"), for_service["THROTTLE_NEWCOMERS"]) == (None, "7/min")
    assert for_service_later["THROTTLE_SIGNUP"] == "8/min"
