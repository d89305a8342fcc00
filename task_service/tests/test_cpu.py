"""An anonymous request takes at most 50 ms of CPU, and one with a token at most half a second."""

import pytest

from chassis.size_limits import BODY_LIMIT_BYTES
from chassis.testing import cpu
from tasks.serializers import TaskSerializer

pytestmark = pytest.mark.django_db

MAX_SIGNED_IN_SECONDS = 0.5


@pytest.fixture
def meter():
    return cpu.Meter()


def test_anonymous_bodies_are_not_read():
    assert cpu.open_routes() == {}


def test_headers_and_queries_take_little_cpu(meter):
    assert list(cpu.too_expensive_heads(meter)) == []


@pytest.mark.parametrize(("method", "path"), [("POST", "/task/tasks/"), ("PATCH", "/task/tasks/{}/")])
def test_a_body_of_one_megabyte_takes_little_cpu(meter, ada, create_task, method, path):
    fields = [name for name, field in TaskSerializer().fields.items() if not field.read_only]
    headers = {"Authorization": f"Bearer {ada.token}"}
    path = path.format(create_task().pk)

    expensive = [
        (name, seconds)
        for name, body in cpu.bodies(fields, BODY_LIMIT_BYTES)
        if (seconds := meter.expensive(method, path, body, limit=MAX_SIGNED_IN_SECONDS, headers=headers))
    ]

    assert expensive == []
