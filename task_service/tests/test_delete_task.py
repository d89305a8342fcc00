import pytest

from tasks.models import Task
from tests.conftest import task_url

pytestmark = pytest.mark.django_db


def test_it_works(ada, alice, create_task, user_service):
    task, other = create_task(assigned_to=alice.id), create_task()
    user_service.close()

    answer = ada.delete(task_url(task))

    assert (answer.status_code, answer.content) == (204, b"")
    assert ada.get(task_url(task)).status_code == ada.delete(task_url(task)).status_code == 404
    assert list(Task.objects.all()) == [other]
