"""A real gunicorn with chassis.ops.web_server; each test has a master with two workers."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chassis.testing.gunicorn import Gunicorn, until

COUNT = (
    "http_server_request_duration_seconds_count"
    '{{http_request_method="GET",http_response_status_code="{status}",http_route="{route}"}}'
)
THINGS = COUNT.format(route="things/<int:number>/", status=200)
LOST = "tmservice_log_errors_total"
HOST = b"Host: localhost\r\n"
END = HOST + b"\r\n"
PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "instance", "request_id", "errors"}


@pytest.fixture
def start(tmp_path):
    """Start gunicorn; it is stopped after the test."""
    started = []

    def run(**options):
        started.append(Gunicorn(tmp_path, **options))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.end()


def reload(web, workers):
    web.process.send_signal(signal.SIGHUP)
    web.wait_for_message("Worker exiting", times=2)


def kill_workers(web, workers):
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    web.wait_for_message("Booting worker", times=4)


@pytest.mark.parametrize("replace_workers", [reload, kill_workers])
def test_any_worker_reports_the_counts_of_all_and_of_ended_ones(start, replace_workers):
    web = start()
    workers, counted = web.workers(), web.metric(THINGS)
    web.get("/raise-flag/")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: web.get(f"/things/{number}/"), range(200)))
    assert {status for status, _ in answers} == {200}
    assert {int(pid) for _, pid in answers} == workers
    assert [(web.metric(THINGS), web.metric("tmservice_flag")) for _ in range(20)] == [(counted + 200, 1)] * 20

    replace_workers(web, workers)

    assert [web.metric(THINGS) for _ in range(20)] == [counted + 200] * 20
    until(lambda: web.metric("tmservice_flag") == 0)  # a gauge is the maximum over live workers
    assert not web.workers() & workers


def test_the_metrics_folder_of_a_killed_master_is_removed_later(start):
    killed = start()
    left_behind, workers = Path(killed.get("/folder/")[1]), killed.workers()

    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # workers of a killed master keep running for a while
    killed.end(signal.SIGKILL)
    start().get("/folder/")
    assert left_behind.exists()

    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    start().get("/folder/")
    assert not left_behind.exists()


def test_a_service_listens_only_after_it_is_loaded(start, tmp_path):
    gate = tmp_path / "start"
    web = start(own_socket=True, START_GATE=str(gate))
    until(gate.with_suffix(".entered").exists)

    with pytest.raises(ConnectionRefusedError):
        web.get("/things/1/")

    gate.touch()
    web.wait_for_message("Listening at")
    assert web.get("/things/1/")[0] == 200


def test_sigterm_loses_no_queued_request(start, tmp_path):
    web = start(own_socket=True, WEB_CONCURRENCY="1")
    web.wait_for_message("Booting worker")
    gate = tmp_path / "answer"
    with ThreadPoolExecutor(2) as pool:
        answered = pool.submit(web.get, f"/wait/?gate={gate}")
        until(gate.with_suffix(".entered").exists)
        queued = pool.submit(web.raw, b"POST /body/ HTTP/1.1\r\nContent-Length: 2\r\n" + HOST + b"\r\nhi")
        until(lambda: queue_length(web.port) == 1)

        web.process.send_signal(signal.SIGTERM)
        web.wait_for_message("Handling signal: term")
        gate.touch()

        assert answered.result() == (200, "waited")
        status, _, body = queued.result()
        assert (status, b"2" in body) == (200, True)
    assert web.process.wait(20) == 0


def queue_length(port):
    """Return the number of connections to this port that no worker has accepted yet."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if (local.partition(":")[2], state) == (f"{port:04X}", "0A"):  # LISTEN
            return int(queues.partition(":")[2], 16)
    return 0


def test_a_timed_out_request_is_logged_counted_and_answered(start):
    web = start(options="--timeout 3")

    status, headers, body = web.raw(b"GET /sleep/?access_token=eyJhbGciOi HTTP/1.1\r\nX-Request-ID: abc-1\r\n" + END)

    assert (status, headers["Content-Type"], headers["X-Request-ID"]) == (500, "application/problem+json", "abc-1")
    assert json.loads(body)["instance"] == "/sleep/"
    (failed,) = (line for line in web.lines() if line["message"] == "GET /sleep/ failed")
    assert (failed["request_id"], "SystemExit" in failed["exc_info"]) == ("abc-1", True)
    assert any(message.startswith("WORKER TIMEOUT") for message in web.messages())
    assert "eyJhbGciOi" not in web.log.read_text()
    assert web.metric(COUNT.format(route="sleep/", status=500)) == 1


def test_a_stream_may_take_longer_than_the_timeout(start):
    web = start(options="--timeout 3")

    status, text = web.get("/stream/6/")

    assert (status, text[-4:]) == (200, ".end")
    assert not any(message.startswith("WORKER TIMEOUT") for message in web.messages())


def test_every_log_line_is_a_json_object_until_the_end(start):
    web = start()
    web.get("/nowhere/")
    os.kill(web.workers().pop(), signal.SIGKILL)
    web.wait_for_message("SIGKILL")
    folder = Path(web.get("/folder/")[1])
    assert folder.stat().st_mode & 0o077 == 0

    assert web.end() == 0

    assert web.messages()[0].startswith("Starting gunicorn")
    assert web.messages()[-1].startswith("Shutting down")
    assert "Not Found: /nowhere/" in web.messages()
    assert {line["service"] for line in web.lines()} == {"sample_service"}
    assert len(set(web.messages())) == len(web.messages())  # no other handler repeats it
    assert not folder.exists()


def test_an_unknown_log_level_is_rejected_in_one_sentence(start):
    web = start(LOG_LEVEL="loud")

    assert web.process.wait(20) == 78
    assert web.log.read_text() == (
        "sample_service: LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'loud'.\n"
    )


@pytest.fixture(params=["full disk", "nobody reads"])
def broken_stderr(request):
    """A file that rejects writes."""
    if request.param == "full disk":
        number = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, number = os.pipe()
        os.close(reader)
    yield number
    os.close(number)


def test_requests_work_if_log_lines_cannot_be_written(start, broken_stderr):
    web = start(stderr=broken_stderr)
    web.workers()
    before = web.metric(LOST)

    refused = [web.get("/nowhere/")[0] for _ in range(10)]
    served = [web.get("/things/1/")[0] for _ in range(10)]

    assert (refused, served) == ([404] * 10, [200] * 10)
    assert web.metric(LOST) == before + 10


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET /?access_token=eyJhbGciOi a HTTP/1.1\r\n" + END, 400, "bad_request"),
        (b"GET / HTTP/9.9\r\n" + END, 400, "bad_request"),
        (b"G\xe9T / HTTP/1.1\r\n" + END, 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nBearer eyJhbGciOi\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + END, 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: magic\r\n" + END, 501, "not_implemented"),
        (b"GET / HTTP/1.1\r\nExpect: a miracle\r\n" + END, 417, "expectation_failed"),
        (b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\n" + END, 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 8300 + b"\r\n" + END, 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 250 + END, 431, "headers_too_large"),
        (b"GET /forge/ HTTP/1.1\r\n" + END, 500, "server_error"),
    ],
)
def test_an_error_before_django_is_a_problem(web, sent, status, code):
    web.get("/things/1/", **{"X-Request-ID": "abc-1"})
    said_before = len(web.lines())

    answered, headers, body = web.raw(sent)

    problem = json.loads(body)
    assert (answered, problem["status"], problem["code"]) == (status, status, code)
    assert problem.keys() == PROBLEM_KEYS
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Cache-Control"] == "no-store"
    (line,) = web.lines()[said_before:]
    assert line["request_id"] == problem["request_id"] == headers["X-Request-ID"]
    assert line["request_id"] not in ("", "abc-1", *(each["request_id"] for each in web.lines()[:said_before]))
    assert "eyJhbGciOi" not in web.log.read_text()


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """One gunicorn for all tests that do not change it."""
    with Gunicorn(tmp_path_factory.mktemp("web")) as running:
        running.workers()
        yield running


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /things/1/?" + b"x" * (8190 - 24) + b" HTTP/1.1\r\n" + HOST,
        b"GET /things/1/ HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8100) for n in range(4)) + HOST,
        b"GET /things/1/ HTTP/1.1\r\nX: " + b"x" * (8193 - 5) + b"\r\n" + HOST,
        b"GET /things/1/ HTTP/1.1\r\n" + b"X: x\r\n" * 150 + HOST,
    ],
    ids=["a line of 8190 bytes", "four headers of 8 kB", "the longest header", "many headers"],
)
def test_requests_within_the_limits_of_nginx_reach_django(web, sent):
    assert web.raw(sent + b"\r\n")[0] == 200


@pytest.mark.parametrize("path", ["greedy", "greedy-stream"])
def test_a_memory_error_is_503_with_retry_after(web, path):
    status, headers, body = web.raw(f"GET /{path}/ HTTP/1.1\r\n".encode() + END)

    assert (status, headers["Retry-After"]) == (503, "2")
    assert b'"code":"service_unavailable"' in body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((path, 200) for path in ("/things/1/", "/things/1/?q=%2f")),
        *((path, 404) for path in ("/things/%31/", "/things%2f1/", "/things%2F1/", "/%74hings/1/", "/things/1/%")),
        *((path, 404) for path in ("/things/1/%00", "http://localhost/things/%31/")),
    ],
)
def test_a_path_has_one_spelling(web, path, status):
    answered, _, body = web.raw(f"GET {path} HTTP/1.1\r\n".encode() + END)

    assert answered == status
    assert (b'"code":"not_found"' in body) == (status == 404)


A_SLOW_JOB = """
import os
import time
from pathlib import Path
from threading import Thread

from chassis.worker import jobs

jobs.common_jobs = list  # they need a database

def work():
    Path(f"began-{os.getpid()}").touch()
    time.sleep(1)  # long enough for the process to get the signal
    thread = Thread(target=Path(f"ended-{os.getpid()}").touch)
    thread.start()
    thread.join()

def service_jobs():
    return [jobs.Job("slow", work, every_seconds=60)]
"""


def test_an_inline_job_finishes_its_run_when_the_worker_stops(start):
    """From Python 3.12 on, a job that outlives the main thread cannot start threads, which a lookup needs."""
    web = start(files={"worker.py": A_SLOW_JOB}, RUN_WORKER="inline", LOG_LEVEL="ERROR")
    until(lambda: len(list(web.home.glob("began-*"))) == 2)

    status = web.end()

    assert (status, web.log.read_text()) == (0, "")
    assert len(list(web.home.glob("ended-*"))) == 2


REFUSED_WRITES = """
import os

from django.http import HttpResponse
from django.urls import path

from chassis import refused_writes

def refuse(request):
    refused_writes.record()
    return HttpResponse(os.getpid())

def age(request):
    return HttpResponse(f"{os.getpid()} {refused_writes.age_seconds() < 60}")

urlpatterns = [path("refuse/", refuse), path("age/", age)]
"""


def test_a_rejected_write_is_known_to_all_processes(start):
    web = start(files={"urls.py": REFUSED_WRITES})
    before = web.ask("/age/", 2)
    web.get("/refuse/")
    after = web.ask("/age/", 2)

    assert {answer.split()[1] for answer in before} == {"False"}
    assert {answer.split()[1] for answer in after} == {"True"}
    assert len({answer.split()[0] for answer in after}) == 2
