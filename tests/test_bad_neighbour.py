"""The user service is stopped, slow or lies: tasks are read as ever, and nothing is assigned on its word."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psutil
import pytest

from tests.bad_neighbour import MANNERS, BadNeighbour, honest
from tests.local_stack import LocalStack, eventually

READING_SECONDS = 1.0
names = (f"zoe{number}" for number in count())


@pytest.fixture(scope="module")
def neighbour():
    return BadNeighbour()


@pytest.fixture(scope="module")
def street(neighbour):
    """A stack whose task service knows the user service by the neighbour alone."""
    stack = LocalStack()
    stack.start(USER_SERVICE_URL=neighbour.url)
    neighbour.true_url = f"http://{address_of(stack, 'user-service')}"
    yield stack
    stack.remove()
    neighbour.close()


def address_of(stack, program):
    programs = json.loads((stack.folder / "programs.json").read_text())
    return next(each["listen"] for each in programs if each["name"] == program)


@pytest.fixture(scope="module")
def admin(street):
    """The admin, whom the task service knows by now."""
    token = street.admin_token()
    eventually(lambda: street.call("GET", "/task/tasks/", token=token).status_code == 200, seconds=5)
    return token


@pytest.fixture
def known_id(street, admin):
    """A user whom the task service knows, with a task in hand."""
    user_id = street.register(next(names))
    eventually(lambda: assigning(street, admin, user_id).status_code == 201, seconds=5)
    return user_id


def assigning(stack, token, user_id):
    return stack.call("POST", "/task/tasks/", token=token, json={"title": "Sweep", "assigned_to": user_id})


def reads(stack, token):
    """Read for a while and return what came of it: the status codes, and the longest that one took, in seconds."""
    codes, longest, until = set(), 0.0, time.monotonic() + READING_SECONDS
    while time.monotonic() < until:
        began = time.monotonic()
        codes.add(stack.call("GET", "/task/tasks/?page_size=5", token=token).status_code)
        longest = max(longest, time.monotonic() - began)
    return codes, longest


def count_of(stack, token):
    return stack.call("GET", "/task/tasks/summary/", token=token).json()["total"]


@pytest.mark.parametrize("manner", MANNERS)
def test_a_faulty_user_service_blocks_assignment_but_not_reads(street, neighbour, admin, known_id, manner):
    neighbour.manner = MANNERS[manner]
    stranger = street.register(next(names))
    before = count_of(street, admin)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reads, street, admin)
        began = time.monotonic()
        refused = assigning(street, admin, stranger)
        took = time.monotonic() - began
        codes, longest = reading.result()
    assigned = assigning(street, admin, known_id)
    neighbour.manner = honest

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert took < 2.5
    assert codes == {200}
    assert longest < 1
    assert assigned.status_code == 201
    assert count_of(street, admin) == before + 1
    eventually(lambda: assigning(street, admin, stranger).status_code == 201, seconds=5)


def test_a_stopped_user_service_blocks_assignment_but_not_reads(street, neighbour, admin, known_id):
    stopped = processes_of(street, "user-service")
    for process in stopped:
        process.suspend()
    try:
        codes, longest = reads(street, admin)
        refused = assigning(street, admin, 10**9)
        assigned = assigning(street, admin, known_id)
    finally:
        for process in stopped:
            process.resume()

    assert (codes, refused.status_code, assigned.status_code) == ({200}, 503, 201)
    assert longest < 1
    newcomer = eventually_registered(street)
    eventually(lambda: assigning(street, admin, newcomer).status_code == 201, seconds=5)


def processes_of(stack, program):
    leader = psutil.Process(json.loads((stack.folder / "run" / f"{program}.json").read_text())["group"])
    return [leader, *leader.children(recursive=True)]


def eventually_registered(stack):
    eventually(stack.is_healthy, seconds=5)
    return stack.register(next(names))
