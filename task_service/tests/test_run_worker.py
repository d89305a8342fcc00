import signal
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from config import worker
from directory.models import Feed, User
from tasks.models import IdempotencyRecord
from tests.conftest import set_feed_age, wait_until
from tests.deliveries import run, start

# A turn of a job closes old connections, even inside a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


def create_record(key, *, hours_ago):
    created_at = timezone.now() - timedelta(hours=hours_ago)
    IdempotencyRecord.objects.create(caller_id=101, method="POST", path="/task/tasks/", key=key, created_at=created_at)


def test_once_reads_the_feed_and_deletes_expired_records(alice, bob, user_service):
    create_record("old", hours_ago=24)
    create_record("new", hours_ago=23)
    user_service.page_size = 1
    user_service.change(alice, username="alicia")
    user_service.change(bob, is_active=False)
    set_feed_age(seconds_ago=3)

    call_command("run_worker", once=True)

    assert user_service.pulls == [1000, 1001]
    known = set(User.objects.values_list("username", "is_active"))
    assert known == {("ada", True), ("alicia", True), ("bob", False)}
    assert IdempotencyRecord.objects.get().key == "new"


def test_the_worker_loads_no_views(user_service):
    """They would take a fifth of its memory."""
    code = """if True:
        import sys
        from django.core.management import execute_from_command_line
        execute_from_command_line(["manage.py", "run_worker", "--once"])
        print(sorted(sys.modules.keys() & {"config.urls", "config.worker", "rest_framework.generics", "tasks.views"}))
    """

    status, output, errors = run("-c", code, USER_SERVICE_URL=user_service.url)

    assert (status, output.splitlines()[-1:]) == (0, ["['config.worker']"]), errors


def test_an_unavailable_user_service_fails_no_job(user_service):
    """A failed job would be delayed by up to a minute, and so would the end of rights."""
    create_record("old", hours_ago=25)
    user_service.close()
    set_feed_age(seconds_ago=3)

    call_command("run_worker", once=True)

    assert Feed.objects.get().position == 1000
    assert not IdempotencyRecord.objects.exists()


def test_the_jobs_have_their_intervals():
    assert {(job.name, job.every_seconds) for job in worker.jobs()} >= {("directory", 1.5), ("cleaning", 600)}


def test_the_worker_recovers_from_an_outage_and_stops_at_once(alice, user_service):
    user_service.reactions = [lambda call: call.answer(b"", status=500)]
    user_service.change(alice, username="alicia")
    set_feed_age(seconds_ago=3)
    with start("manage.py", "run_worker", USER_SERVICE_URL=user_service.url) as process:
        try:
            wait_until(lambda: User.objects.filter(username="alicia").exists() or process.poll() is not None)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=60)
        finally:
            process.kill()

    assert user_service.pulls[:2] == [1000, 1000]
    assert process.returncode == 0
    assert "did not finish in time" not in log
    assert "answered 500" in log
    assert "Traceback" not in log
