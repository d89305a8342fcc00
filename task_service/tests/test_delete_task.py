import pytest

from tasks.models import Task

pytestmark = pytest.mark.django_db


def test_it_works(ada, create_task):
    task, other = create_task(), create_task()

    answer = ada.delete(f"/task/tasks/{task.pk}/")

    assert (answer.status_code, answer.content) == (204, b"")
    assert ada.get(f"/task/tasks/{task.pk}/").status_code == 404
    assert list(Task.objects.all()) == [other]


def test_deletion_works_without_the_user_service(ada, alice, create_task, user_service):
    task = create_task(assigned_to=alice.id)
    user_service.close()

    assert ada.delete(f"/task/tasks/{task.pk}/").status_code == 204


def test_a_deleted_task_is_404(ada, create_task):
    task = create_task()
    ada.delete(f"/task/tasks/{task.pk}/")

    assert ada.delete(f"/task/tasks/{task.pk}/").status_code == 404


def test_an_assignee_cannot_delete(alice, create_task):
    task = create_task(assigned_to=alice.id)

    assert alice.delete(f"/task/tasks/{task.pk}/").status_code == 403
    assert Task.objects.filter(pk=task.pk).exists()


def test_query_parameters_are_400(ada, create_task):
    task = create_task()

    assert ada.delete(f"/task/tasks/{task.pk}/?force=true").status_code == 400
    assert Task.objects.filter(pk=task.pk).exists()


@pytest.mark.parametrize("method", ["delete", "put", "patch"])
def test_the_list_cannot_be_replaced_or_deleted(ada, create_task, method):
    create_task()

    assert getattr(ada, method)("/task/tasks/").status_code == 405
    assert Task.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_parallel_deletions_are_204_or_404(ada, create_task, at_once):
    for _ in range(10):
        task = create_task()

        answers = at_once(*[(ada.delete, f"/task/tasks/{task.pk}/")] * 3)

        assert {answer.status_code for answer in answers} <= {204, 404}
        assert not Task.objects.exists()
