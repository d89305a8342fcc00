"""The user service is stopped, slow or wrong: reads still work, and no task is assigned to an unverified user.

A slow one never answers in time, so every response shows that nothing waited for it.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.faulty_user_service import BEHAVIORS, FaultyUserService, honest
from tests.local_stack import LocalStack, eventually

READS = 10
names = (f"zoe{number}" for number in count())


@pytest.fixture(scope="module")
def faulty_service():
    return FaultyUserService()


@pytest.fixture(scope="module")
def faulty_stack(faulty_service):
    """A stack whose task service calls the user service through the faulty proxy."""
    stack = LocalStack()
    stack.start(USER_SERVICE_URL=faulty_service.url)
    faulty_service.real_url = f"http://{stack.programs()['user-service']['listen']}"
    yield stack
    stack.remove()
    faulty_service.close()


@pytest.fixture(scope="module")
def admin(faulty_stack):
    """The token of an admin that the task service knows."""
    token = faulty_stack.admin_token()
    eventually(lambda: faulty_stack.call("GET", "/task/tasks/", token=token).status_code == 200)
    return token


@pytest.fixture
def known_id(faulty_stack, admin):
    """The ID of a user that the task service knows."""
    user_id = faulty_stack.register(next(names))
    eventually(lambda: assign_task(faulty_stack, admin, user_id).status_code == 201)
    return user_id


def assign_task(stack, token, user_id):
    return stack.call("POST", "/task/tasks/", token=token, json={"title": "Sweep", "assigned_to": user_id})


def reads(stack, token):
    return {stack.call("GET", "/task/tasks/?page_size=5", token=token).status_code for _ in range(READS)}


def count_tasks(stack, token):
    return stack.call("GET", "/task/tasks/summary/", token=token).json()["total"]


@pytest.mark.parametrize("behavior", BEHAVIORS)
def test_a_faulty_user_service_blocks_assignment_but_not_reads(faulty_stack, faulty_service, admin, known_id, behavior):
    faulty_service.behavior = BEHAVIORS[behavior]
    stranger = faulty_stack.register(next(names))
    before = count_tasks(faulty_stack, admin)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(reads, faulty_stack, admin)
        refused = assign_task(faulty_stack, admin, stranger)
        codes = reading.result()
    assigned = assign_task(faulty_stack, admin, known_id)
    faulty_service.behavior = honest

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert codes == {200}
    assert assigned.status_code == 201
    assert count_tasks(faulty_stack, admin) == before + 1
    eventually(lambda: assign_task(faulty_stack, admin, stranger).status_code == 201)


def test_a_stopped_user_service_blocks_assignment_but_not_reads(faulty_stack, faulty_service, admin, known_id):
    stopped = faulty_stack.program_processes("user-service")
    for process in stopped:
        process.suspend()
    try:
        codes = reads(faulty_stack, admin)
        refused = assign_task(faulty_stack, admin, 10**9)
        assigned = assign_task(faulty_stack, admin, known_id)
    finally:
        for process in stopped:
            process.resume()

    assert (codes, refused.status_code, assigned.status_code) == ({200}, 503, 201)
    newcomer = register_when_healthy(faulty_stack)
    eventually(lambda: assign_task(faulty_stack, admin, newcomer).status_code == 201)


def register_when_healthy(stack):
    eventually(stack.is_healthy)
    return stack.register(next(names))
