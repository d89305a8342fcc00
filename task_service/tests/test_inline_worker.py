"""RUN_WORKER=inline: gunicorn runs the jobs of the worker."""

import signal

import pytest

from tests.conftest import wait_until
from tests.deliveries import change, log_entries, run, start, states

pytestmark = pytest.mark.django_db(transaction=True)

GUNICORN = ["-m", "gunicorn", "--name", "task_service", "-c", "python:chassis.ops.web_server"]
GUNICORN += ["--bind", "127.0.0.1:0", "config.wsgi"]


def test_gunicorn_sends_notifications_and_stops_at_once(ada, create_task, notification_log):
    task = create_task(due_date="2001-01-01")
    change(task, by=ada, status="in_progress")
    environment = {"RUN_WORKER": "inline", "NOTIFICATION_LOG": str(notification_log), "LOG_LEVEL": "ERROR"}
    with start(*GUNICORN, **environment) as web:
        try:
            wait_until(lambda: states() == ["sent", "sent"] or web.poll() is not None)
            web.send_signal(signal.SIGTERM)
            _, said = web.communicate(timeout=60)
        finally:
            web.kill()

    assert [line["event"] for line in log_entries()] == ["task_status_changed", "task_overdue"]
    assert notification_log.stat().st_mode & 0o077 == 0  # it is about tasks: readable by this user only
    assert web.returncode == 0
    assert "did not finish in time" not in said
    assert "Traceback" not in said


def test_an_invalid_value_prevents_the_start():
    sentence = "task_service: RUN_WORKER must be one of separate, inline, not 'sometimes'.\n"

    assert run(*GUNICORN, RUN_WORKER="sometimes", LOG_LEVEL="ERROR") == (78, "", sentence)
