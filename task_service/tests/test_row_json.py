"""The JSON that PostgreSQL writes has the bytes of the serializer."""

from datetime import UTC, date, datetime

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from directory.models import User
from tasks.models import Task
from tasks.row_json import row_json
from tasks.serializers import TaskSerializer
from tasks.views import ORDERINGS
from tests.conftest import TASKS

pytestmark = pytest.mark.django_db

CONTROLS = "".join(map(chr, range(1, 32)))
TEXT = some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
VALUES = some.fixed_dictionaries(
    {
        "title": some.text(some.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40),
        "description": TEXT,
        "status": some.sampled_from(Task.Status.values),
        "priority": some.sampled_from(Task.Priority.values),
        "due_date": some.none() | some.dates(date(2000, 1, 1), date(2100, 12, 31)),
        "assigned_to_id": some.sampled_from([None, 102, 999]),
        "created_at": some.datetimes(timezones=some.just(UTC)),
        "version": some.integers(1, 2**31 - 1),
    }
)
SETTINGS = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(values=VALUES, username=TEXT)
@example(
    values={"title": f'"\\/{CONTROLS}\x7f\u2028\ufeff\U0001f600', "created_at": datetime(2026, 1, 1, tzinfo=UTC)},
    username="",
)
def test_the_bytes_are_the_same(alice, values, username):
    User.objects.filter(pk=alice.id).update(username=username)
    pk = Task.objects.create(**{"created_by": 101, **values}).pk

    (text,) = Task.objects.filter(pk=pk).annotate(json=row_json()).values_list("json", flat=True)

    task = Task.objects.with_assignee().get(pk=pk)
    assert text.encode() == orjson.dumps(TaskSerializer(task).data)


@pytest.mark.parametrize("column", [*ORDERINGS, *(f"-{column}" for column in ORDERINGS), "relevance"])
@pytest.mark.parametrize("caller", ["ada", "alice"])
def test_the_compiled_first_page_is_that_of_the_queryset(request, ada, alice, create_task, caller, column):
    for number in range(7):
        due_date = date(2030, 1, 1 + number % 3) if number % 3 else None
        create_task(title=f"{number}", priority=1 + number % 4, due_date=due_date, assigned_to=102 + number % 2)
    person = request.getfixturevalue(caller)
    every_status = ",".join(Task.Status.values)

    for size in (2, 3, 7, 100):
        first = person.get(f"{TASKS}?ordering={column}&page_size={size}").json()
        same = person.get(f"{TASKS}?ordering={column}&page_size={size}&status={every_status}").json()

        assert first["results"] == same["results"]
        assert bool(first["next"]) == bool(same["next"])
        if first["next"]:
            assert person.get(first["next"]).json()["results"] == person.get(same["next"]).json()["results"]
