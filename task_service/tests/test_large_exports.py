"""Exports of more than one chunk run one at a time, and a broken one can be told from a whole one."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, connections
from django.test import RequestFactory

from tasks import export
from tests.conftest import TASKS, wait_until
from tests.deliveries import start

pytestmark = pytest.mark.django_db(transaction=True)

EXPORT = f"{TASKS}export.csv"
GUNICORN = ["-m", "gunicorn", "--name", "task_service", "-c", "python:chassis.ops.web_server"]
GUNICORN += ["--bind", "127.0.0.1:0", "config.wsgi"]
MANY = """
    INSERT INTO tasks_task (title, description, status, priority, created_by, created_at, updated_at, version)
    SELECT 'Task ' || n, repeat('x', 5000), 'todo', 2, 101, now(), now(), 1 FROM generate_series(1, 6000) AS n
"""  # 30 MB, more than the buffers of a connection


@pytest.fixture
def small_chunks(monkeypatch, create_task):
    """Five tasks in three chunks."""
    monkeypatch.setattr(export, "ROWS_PER_CHUNK", 2)
    for number in range(5):
        create_task(title=f"task {number}", status="completed" if number == 0 else "todo")


@pytest.fixture
def elsewhere():
    """Call functions in one other thread, with its own connection."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
        pool.submit(connections.close_all).result()


def begin(person, method="get"):
    """Return the response to an export, and its pieces after the first one."""
    environ = getattr(RequestFactory(), method)(EXPORT, headers={"Authorization": f"Bearer {person.token}"}).environ
    response = WSGIHandler()(environ, lambda status, headers: None)
    pieces = iter(response)
    assert next(pieces).count(b"\r\n") == 3
    return response, pieces


def lines(person, query=""):
    answer = person.get(f"{EXPORT}{query}")
    assert answer.status_code == 200
    return answer.getvalue().count(b"\r\n")


def read_to_the_end(response, pieces, monkeypatch):
    assert sum(piece.count(b"\r\n") for piece in pieces) == 3
    response.close()


def disconnect(response, pieces, monkeypatch):
    response.close()


def fail(response, pieces, monkeypatch):
    monkeypatch.delattr(export, "as_csv")
    with pytest.raises(NameError):
        next(pieces)
    response.close()


def exceed_the_time_limit(response, pieces, monkeypatch):
    monkeypatch.setattr(export, "time", SimpleNamespace(monotonic=lambda: float("inf")))
    with pytest.raises(export.ExportTooSlow):
        next(pieces)
    response.close()


def test_another_large_export_is_refused_meanwhile(ada, small_chunks, elsewhere):
    response, _ = elsewhere(begin, ada)

    refused = ada.get(EXPORT)

    assert (refused.status_code, refused["Content-Type"]) == (503, "application/problem+json")
    assert (refused["Retry-After"], refused.json()["code"]) == ("10", "service_unavailable")
    assert "Another large export" in refused.json()["detail"]
    assert lines(ada, "?status=completed") == 2
    assert ada.get(TASKS).status_code == 200
    elsewhere(response.close)


@pytest.mark.parametrize("end", [read_to_the_end, disconnect, fail, exceed_the_time_limit])
def test_the_next_large_export_starts_when_the_first_has_ended(ada, small_chunks, elsewhere, monkeypatch, end):
    started = elsewhere(begin, ada)
    assert ada.get(EXPORT).status_code == 503

    with monkeypatch.context() as changed:
        elsewhere(end, *started, changed)

    assert lines(ada) == 6


def test_head_reads_only_the_first_chunk(ada, small_chunks, elsewhere):
    response, pieces = elsewhere(begin, ada, "head")

    assert lines(ada) == 6
    assert list(pieces) == []
    elsewhere(response.close)


@contextmanager
def gunicorn(options=""):
    """Run the task service with two workers; yield its port and a function that kills the workers."""
    environment = {"GUNICORN_CMD_ARGS": options, "WEB_CONCURRENCY": "2", "THROTTLE_ADMIN": "100000/min"}
    with start(*GUNICORN, **environment) as web:
        workers = Path(f"/proc/{web.pid}/task/{web.pid}/children")
        try:
            line = next(line for line in web.stderr if "Listening at" in line)
            (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)", line)
            yield int(port), lambda: [os.kill(int(pid), signal.SIGKILL) for pid in workers.read_text().split()]
        finally:
            web.terminate()
            web.communicate(timeout=60)


def ask(port, person, path=EXPORT):
    """Return a response whose body is not read yet."""
    client = HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", path, headers={"Authorization": f"Bearer {person.token}"})
    return client.getresponse()


def status(*request):
    with closing(ask(*request)) as answer:
        return answer.status


@pytest.fixture
def many_tasks(ada):
    with connection.cursor() as cursor:
        cursor.execute(MANY)


def test_a_client_that_stops_reading_is_cut_off(ada, many_tasks):
    with gunicorn("--timeout 3") as (port, _):
        stalled = ask(port, ada)

        wait_until(lambda: status(port, ada) == 200)

        assert stalled.status == 200
        with pytest.raises(IncompleteRead):
            stalled.read()


def test_an_export_of_a_killed_worker_is_broken_and_ends(ada, many_tasks):
    with gunicorn() as (port, kill_workers):
        broken = ask(port, ada)
        assert [status(port, ada, path) for path in (EXPORT, f"{EXPORT}?due_date=2001-01-01", TASKS)] == [503, 200, 200]

        kill_workers()

        wait_until(lambda: status(port, ada) == 200)
        with pytest.raises(IncompleteRead):
            broken.read()
        assert len(re.findall(b"\r\n", whole(port, ada))) == 6001


def whole(port, person):
    """Return the export once no other one runs: the last one ends when its worker sees that the client has left."""
    answers = []
    wait_until(lambda: answers.append(ask(port, person)) or answers[-1].status == 200)
    return answers[-1].read()
