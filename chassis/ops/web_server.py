"""Configuration of gunicorn: gunicorn --name SERVICE -c python:chassis.ops.web_server config.wsgi.

Anything here can be changed from the environment by GUNICORN_CMD_ARGS; the address comes from --bind or PORT. What runs
is named by the command line (config.wsgi) and by Django's settings.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
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
    errors.ExpectationFailed: (417, "expectation_failed", "What Expect asks for is not supported."),
}
MALFORMED = (400, "bad_request", "The request is malformed.")
INTERNAL_ERROR = (500, "server_error", "Internal error; it is logged under the request_id.")
OUT_OF_MEMORY = (503, "service_unavailable", "The service is short of memory at the moment; try again shortly.")
# gunicorn's errors that are none of the client's.
SERVER_ERRORS = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)


class JSONLogger(Logger):
    """Writes gunicorn's own lines in the form of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        level = cfg.loglevel.upper()
        with exit_on_setting_error(cfg.proc_name):
            dictConfig(logs.logging_for(cfg.proc_name, level if level in logs.LEVELS else cfg.loglevel))


class Worker(SyncWorker):
    """Answers what never reaches Django as all other errors are answered; gunicorn would send a page of HTML."""

    def run(self) -> None:
        super().run()
        self.drain()

    def drain(self) -> None:
        """Answer what is in the queue of connections before the last worker closes it, which resets them.

        Their requests may have been sent already, and the gateway may not repeat each of them.
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
        if req is None:  # nothing was understood: it must not be logged under the id of the request before
            request_id.current.set(uuid4().hex)
        if isinstance(exc, errors.ParseException) and not isinstance(exc, SERVER_ERRORS):
            # Not its text, in which a token may stand.
            self.log.warning("refused what %s sent: %s", addr[0] if addr else "somebody", type(exc).__name__)
            error = PARSE_ERRORS.get(type(exc), MALFORMED)
        else:
            self.log.error("%s %s failed", getattr(req, "method", "-"), getattr(req, "path", "-"), exc_info=exc)
            error = OUT_OF_MEMORY if isinstance(exc, MemoryError) else INTERNAL_ERROR
        try:
            util.write_nonblock(client, problem(*error, instance=getattr(req, "path", "")))
        except OSError:
            self.log.debug("nobody waits for the answer any more")


def problem(status: int, code: str, detail: str, *, instance: str) -> bytes:
    """Return a whole HTTP answer."""
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
# Two synchronous workers on two cores served twice the requests that four threads in each did.
worker_class = Worker
timeout = 30
graceful_timeout = 20  # with DRAIN_SECONDS less than stopwaitsecs (programs.py) and stop_grace_period (compose)
# More than Nginx lets through, to which it adds headers, and blanks in them: one limit of each kind is enough.
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
    """Give up on a database that is silent, and with RUN_WORKER=inline run the background jobs beside the requests."""
    from chassis import database  # needs Django's settings, which are there only now

    database.limit_waits(seconds=STATEMENT_SECONDS)
    if settings.RUN_WORKER == "inline":
        job_threads.append(Thread(target=run_jobs_until, args=[stop], name="jobs"))
        job_threads[0].start()


def run_jobs_until(stop: Event) -> None:
    from chassis.worker import jobs  # needs Django's settings, which are there only now

    jobs.run_jobs(jobs.all_jobs(), stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Wait for the jobs here, not at interpreter shutdown: from 3.12 on Python starts no thread any more then."""
    stop.set()
    for thread in job_threads:
        thread.join()  # run_jobs gives up before gunicorn does


def on_starting(server: Any) -> None:
    """Load the whole service before gunicorn listens: refused connections send the gateway to another replica.

    Unusable settings are refused here, or each worker would fail in its own traceback.
    """
    env.hide_privileged()
    make_metrics_folder(server)
    try:
        with exit_on_setting_error(server.cfg.proc_name):
            server.app.wsgi()  # the workers are forked from this process and have it too
    except SystemExit:
        on_exit(server)
        raise
    get_resolver().url_patterns  # noqa: B018 - Django would load them with the first request


# Where the workers' metrics come together: a folder for each master, which lives no longer than that and its workers.
# In memory where possible, as a full disk under a file that is mapped into memory ends the process with SIGBUS.
METRICS_ROOT = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())  # noqa: S108 - made by mkdtemp
METRICS_PREFIX = "tmservice-metrics-"


def make_metrics_folder(server: Any) -> None:
    for leftover in METRICS_ROOT.glob(f"{METRICS_PREFIX}*"):
        remove_if_abandoned(leftover)
    new = Path(tempfile.mkdtemp(prefix="tmservice-new-", dir=METRICS_ROOT))
    os.chown(new, server.cfg.uid, server.cfg.gid)
    # Held, by the workers too, until the last of them has ended, however it ends; not found before that.
    fcntl.flock(os.open(new, os.O_RDONLY), fcntl.LOCK_EX)
    server.metrics_folder = new.rename(new.with_name(new.name.replace("tmservice-new-", METRICS_PREFIX)))
    # prometheus_client looks at this when it is imported.
    os.environ.update(PROMETHEUS_MULTIPROC_DIR=str(server.metrics_folder))


def when_ready(server: Any) -> None:
    if settings.MIGRATE_ON_START:
        prepare()
    env.forget_privileged()  # before the workers are forked


def prepare() -> None:
    """Migrate before anything is served; who asks meanwhile waits."""
    command = [sys.executable, "-m", "django", "prepare"]
    if subprocess.run(command, pass_fds=env.hidden_files(), check=False).returncode:
        sys.exit(1)


def remove_if_abandoned(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # somebody else's, or gone meanwhile
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:  # its master or a worker lives
        return
    finally:
        os.close(descriptor)


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that is dead. What it has counted stays counted."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    shutil.rmtree(server.metrics_folder, ignore_errors=True)
