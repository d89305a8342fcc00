"""Configuration of gunicorn for both services: gunicorn -c python:chassis.web_server config.wsgi.

Anything here can be changed from the environment by GUNICORN_CMD_ARGS; the address comes from --bind or PORT.
"""

from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any

from chassis import env
from chassis.startup import refusing_in_one_sentence

SERVICE = Path.cwd().name

with refusing_in_one_sentence(SERVICE):
    bind = f"0.0.0.0:{env.port('PORT', 0)}" if env.text("PORT", "") else "127.0.0.1:8000"
    workers = env.workers()
    runs_jobs = env.choice("RUN_WORKER", "apart", known=("apart", "inline")) == "inline"
# Two synchronous workers on two cores served twice the requests that four threads in each did.
worker_class = "sync"
timeout = 30
graceful_timeout = 10
# Its pages for over-long requests are HTML: let what Nginx allows (8 kB a line) reach Django instead.
limit_request_line = 8190
forwarded_allow_ips = ""
control_socket_disable = True
errorlog = "-"
accesslog = None  # Nginx writes it

stop = Event()


def post_worker_init(worker: Any) -> None:
    """With RUN_WORKER=inline run the background jobs beside the requests, in threads of every worker process."""
    if runs_jobs:
        Thread(target=run_jobs_until, args=[stop], name="jobs").start()


def run_jobs_until(stop: Event) -> None:
    from chassis import jobs  # needs Django's settings, which are there only now

    jobs.run_jobs(jobs.jobs_of_this_service(), stop)


def worker_exit(server: Any, worker: Any) -> None:
    stop.set()


def on_starting(server: Any) -> None:
    """Refuse unusable settings before any worker is forked, or each of them would fail in its own traceback."""
    with refusing_in_one_sentence(SERVICE):
        import_module("config.settings")
