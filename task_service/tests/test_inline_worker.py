"""RUN_WORKER=inline: gunicorn runs the jobs of the worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deliveries import change, database_url, states

pytestmark = pytest.mark.django_db(transaction=True)

SERVICE = Path(__file__).resolve().parent.parent
GUNICORN = [sys.executable, "-m", "gunicorn", "--name", "task_service", "-c", "python:chassis.ops.web_server"]


def starting(**values):
    environment = os.environ | {"DATABASE_URL": database_url(), "LOG_LEVEL": "ERROR"} | values
    argv = [*GUNICORN, "--bind", "127.0.0.1:0", "config.wsgi"]
    return subprocess.Popen(argv, cwd=SERVICE, env=environment, stderr=subprocess.PIPE, text=True)


def test_gunicorn_sends_notifications_and_stops_at_once(ada, create_task, tmp_path):
    log = tmp_path / "notifications.log"
    task = create_task(due_date="2001-01-01")
    change(task, by=ada, status="in_progress")
    with starting(RUN_WORKER="inline", NOTIFICATION_LOG=str(log)) as web:
        try:
            deadline = time.monotonic() + 60
            while states() != ["sent", "sent"]:
                assert time.monotonic() < deadline
                assert web.poll() is None
                time.sleep(0.02)
            web.send_signal(signal.SIGTERM)
            _, said = web.communicate(timeout=60)
        finally:
            web.kill()

    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == [
        "task_status_changed",
        "task_overdue",
    ]
    assert log.stat().st_mode & 0o077 == 0  # it is about tasks: readable by this user only
    assert web.returncode == 0
    assert "did not finish in time" not in said
    assert "Traceback" not in said


def test_an_invalid_value_prevents_the_start():
    with starting(RUN_WORKER="sometimes") as web:
        _, said = web.communicate(timeout=20)

    assert said == "task_service: RUN_WORKER must be one of separate, inline, not 'sometimes'.\n"
    assert web.returncode == 78
