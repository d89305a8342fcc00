"""Configuration of gunicorn: gunicorn --name SERVICE -c python:chassis.ops.web_server config.wsgi.

GUNICORN_CMD_ARGS in the environment overrides any setting; the address comes from --bind or PORT.
"""

import fcntl
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from logging.config import dictConfig
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.urls import get_resolver
from gunicorn import util
from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.sync import SyncWorker

from chassis import refused_writes, request_id
from chassis.ops import env, logs
from chassis.ops.startup import exit_on_setting_error
from chassis.time_limits import STATEMENT_SECONDS

DRAIN_SECONDS = 5
PARSE_ERRORS = {
    errors.LimitRequestLine: (414, "uri_too_long", "The address is longer than 8 kB."),
    errors.LimitRequestHeaders: (431, "headers_too_large", "A header is longer than 8 kB, or there are too many."),
    errors.UnsupportedTransferCoding: (501, "not_implemented", "This Transfer-Encoding is not supported."),
    errors.ExpectationFailed: (417, "expectation_failed", "This Expect header is not supported."),
}
MALFORMED = (400, "bad_request", "The request is malformed.")
INTERNAL_ERROR = (500, "server_error", "Internal error; it is logged under the request_id.")
OUT_OF_MEMORY = (503, "service_unavailable", "The service is short of memory at the moment; try again shortly.")
# Parse errors that are not the client's fault.
SERVER_ERRORS = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


class JSONLogger(Logger):
    """Writes gunicorn's log lines in the format of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        level = cfg.loglevel.upper()
        with exit_on_setting_error(cfg.proc_name):
            dictConfig(logs.logging_for(cfg.proc_name, level if level in logs.LEVELS else cfg.loglevel))


class Worker(SyncWorker):
    """Renders errors outside Django as problems; gunicorn would send HTML."""

    wsgi: Any  # the application, set by gunicorn

    def run(self) -> None:
        super().run()
        self.drain()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi = beating(self.wsgi, self.notify)

    def drain(self) -> None:
        """Serve queued connections before the last worker closes the socket, which resets them.

        Their requests may have been sent already, and the gateway cannot retry all of them.
        """
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            self.notify()
            try:
                for listener in self.sockets:
                    self.accept(listener)
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        if req is None:  # not parsed: do not log it under the id of the previous request
            request_id.current.set(uuid4().hex)
        if isinstance(exc, errors.ParseException) and not isinstance(exc, SERVER_ERRORS):
            # Without its text, which may contain a token.
            self.log.warning("rejected a request from %s: %s", addr[0] if addr else "unknown", type(exc).__name__)
            error = PARSE_ERRORS.get(type(exc), MALFORMED)
        else:
            self.log.error("%s %s failed", getattr(req, "method", "-"), getattr(req, "path", "-"), exc_info=exc)
            error = OUT_OF_MEMORY if isinstance(exc, MemoryError) else INTERNAL_ERROR
        try:
            util.write_nonblock(client, problem(*error, instance=getattr(req, "path", "")))
        except OSError:
            self.log.debug("the client has closed the connection")


def beating(application: Any, beat: Callable[[], None]) -> Any:
    """Beat with every chunk of a stream: gunicorn kills a worker that does not for `timeout` seconds."""

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        response = application(environ, start_response)
        if getattr(response, "streaming", False):
            response.streaming_content = beat_with_each(response.streaming_content, beat)
        return response

    return serve


def beat_with_each(chunks: Iterable[bytes], beat: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        beat()
        yield chunk


def problem(status: int, code: str, detail: str, *, instance: str) -> bytes:
    """Return a complete HTTP response."""
    import orjson

    from chassis.api import problems  # needs Django's settings, which are there only now

    body = problems.body(status, code, detail, instance)
    content = orjson.dumps(body)
    head = [
        f"HTTP/1.1 {status} {body['title']}",
        f"Content-Type: {problems.CONTENT_TYPE}",
        f"Content-Length: {len(content)}",
        f"{request_id.HEADER}: {body['request_id']}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Connection: close",
        *(f"{name}: {value}" for name, value in problems.RETRY_AFTER.items() if status == OUT_OF_MEMORY[0]),
    ]
    return "\r\n".join([*head, "\r\n"]).encode() + content


with exit_on_setting_error("gunicorn"):
    env.load_dotenv()
    bind = f"0.0.0.0:{env.port('PORT', 0)}" if env.text("PORT", "") else "127.0.0.1:8000"
    workers = env.workers()
    loglevel = logs.level()
# On two cores, two synchronous workers had twice the throughput of two workers with four threads.
worker_class = Worker
timeout = 30
graceful_timeout = 20  # plus DRAIN_SECONDS: less than stopwaitsecs (programs.py) and stop_grace_period (Compose)
# Above the limits of Nginx, which adds headers, so that only its limits apply.
limit_request_line = 8190
limit_request_field_size = 8200
limit_request_fields = 200
forwarded_allow_ips = ""
control_socket_disable = True
logger_class = JSONLogger
errorlog = "-"
accesslog = None  # Nginx writes it

shared_memory = refused_writes.MEMORY  # made before the workers are forked
stop = Event()
job_threads: list[Thread] = []


def post_worker_init(worker: Any) -> None:
    """Limit waits for the database, and with RUN_WORKER=inline start the background jobs."""
    from chassis import database  # needs Django's settings, which are there only now

    database.limit_waits(seconds=STATEMENT_SECONDS)
    if settings.RUN_WORKER == "inline":
        job_threads.append(Thread(target=run_jobs_until, args=[stop], name="jobs"))
        job_threads[0].start()


def run_jobs_until(stop: Event) -> None:
    from chassis.worker import jobs  # needs Django's settings, which are there only now

    jobs.run_jobs(jobs.all_jobs(), stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Wait for the jobs here, not at interpreter shutdown, when Python 3.12 and newer cannot start threads."""
    stop.set()
    for thread in job_threads:
        thread.join()  # run_jobs stops before the timeout of gunicorn


def on_starting(server: Any) -> None:
    """Load the service before gunicorn listens: the gateway retries refused connections at another replica.

    Invalid settings are reported here, so that the workers do not fail with tracebacks.
    """
    env.hide_privileged()
    make_metrics_folder(server)
    try:
        with exit_on_setting_error(server.cfg.proc_name):
            server.app.wsgi()  # the forked workers share it
    except SystemExit:
        on_exit(server)
        raise
    get_resolver().url_patterns  # noqa: B018 - Django would load them for the first request
    gc.freeze()  # a collection would write to the pages that the forked workers share


# The folder in which the workers of a master share their metrics, deleted when they have ended. In memory if possible:
# with memory-mapped files on a full disk, processes die of SIGBUS.
METRICS_ROOT = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())  # noqa: S108 - made by mkdtemp
METRICS_PREFIX = "tmservice-metrics-"


def make_metrics_folder(server: Any) -> None:
    for leftover in METRICS_ROOT.glob(f"{METRICS_PREFIX}*"):
        remove_if_abandoned(leftover)
    new = Path(tempfile.mkdtemp(prefix="tmservice-new-", dir=METRICS_ROOT))
    os.chown(new, server.cfg.uid, server.cfg.gid)
    # The master and its workers hold the lock until the last of them ends. Taken before the rename, so that no other
    # master finds the folder unlocked.
    fcntl.flock(os.open(new, os.O_RDONLY), fcntl.LOCK_EX)
    server.metrics_folder = new.rename(new.with_name(new.name.replace("tmservice-new-", METRICS_PREFIX)))
    # prometheus_client reads this when it is imported.
    os.environ.update(PROMETHEUS_MULTIPROC_DIR=str(server.metrics_folder))


def when_ready(server: Any) -> None:
    if settings.MIGRATE_ON_START:
        prepare()
    env.forget_privileged()  # before the workers are forked


def prepare() -> None:
    """Migrate before serving; requests wait in the meantime."""
    command = [sys.executable, "-m", "django", "prepare"]
    if subprocess.run(command, pass_fds=env.hidden_files(), check=False).returncode:
        sys.exit(1)


def remove_if_abandoned(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # another user's, or already deleted
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:  # its master or a worker is running
        return
    finally:
        os.close(descriptor)


def child_exit(server: Any, worker: Any) -> None:
    """Remove the gauges of a dead worker; its counters remain."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    shutil.rmtree(server.metrics_folder, ignore_errors=True)
