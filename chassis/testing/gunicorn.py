"""Starts a real gunicorn with a small sample service."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection

TOKEN = "prometheus-may-read-this-0123456789"
FILES = {
    "__init__.py": "",
    "settings.py": f"""
from chassis.ops import logs
from chassis.tests.settings import *

SERVICE = "sample_service"
ROOT_URLCONF = "config.urls"
ALLOWED_HOSTS = ["localhost"]
METRICS_TOKEN = "{TOKEN}"
INSTALLED_APPS = [*INSTALLED_APPS, "config"]
WORKER_JOBS = "config.worker.service_jobs"
RUN_WORKER = common.run_worker()
LOGGING = logs.logging_for(SERVICE, level=logs.level())
""",
    "urls.py": """
import os
import time
from pathlib import Path

from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from chassis.ops import health, metrics

flag = {"is_up": False}
metrics.ProcessGauge("tmservice_flag", "Whether the flag is up.", lambda: float(flag["is_up"]))

def pid(request, number):
    return HttpResponse(os.getpid())

def raise_flag(request):
    flag["is_up"] = True
    return HttpResponse(os.getpid())

def forge(request):
    answer = HttpResponse()
    answer.headers["X"] = "a"
    answer.headers._store["x"] = ("X", chr(10))
    return answer

def wait(request):
    gate = Path(request.GET["gate"])
    gate.with_suffix(".entered").touch()
    while not gate.exists():
        time.sleep(0.01)
    return HttpResponse("waited")

def stream(request, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        yield "."
    yield "end"

urlpatterns = [
    path("things/<int:number>/", pid),
    path("body/", lambda request: HttpResponse(len(request.body))),
    path("raise-flag/", raise_flag),
    path("sleep/", lambda request: time.sleep(30)),
    path("stream/<int:seconds>/", lambda *given, **route: StreamingHttpResponse(stream(*given, **route))),
    path("forge/", forge),
    path("wait/", wait),
    path("folder/", lambda request: HttpResponse(os.environ["PROMETHEUS_MULTIPROC_DIR"])),
    path("greedy/", lambda request: HttpResponse(bytearray(2**50))),
    path("greedy-stream/", lambda request: StreamingHttpResponse(bytearray(2**50) for _ in [1])),
    *metrics.urls(checks=[]),
]
handler404 = "chassis.api.problems.not_found"
handler500 = "chassis.api.problems.server_error"
""",
    "wsgi.py": """
import os
import time
from pathlib import Path

from chassis.ops import wsgi

gate = Path(os.environ.get("START_GATE", os.devnull))
if not gate.exists():
    gate.with_suffix(".entered").touch()
while not gate.exists():
    time.sleep(0.01)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = wsgi.application()
""",
}


class Gunicorn:
    """A master with two workers. Its output is in `log`, unless `stderr` is given.

    It inherits a listening socket, or opens its own.
    """

    def __init__(self, folder, *, stderr=None, options="", own_socket=False, files=(), **environment):
        self.home = folder / "sample_service"
        for name, text in {**FILES, **dict(files)}.items():
            file = self.home / "config" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.log = folder / "stderr.log"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        number = self.listener.fileno()
        bind = f"127.0.0.1:{self.port}" if own_socket else f"fd://{number}"
        if own_socket:
            self.listener.close()
        argv = ["-m", "gunicorn", "--name", "sample_service", "-c", "python:chassis.ops.web_server"]
        argv += ["--bind", bind, "config.wsgi"]
        ours = ("DJANGO_", "LOG_", "PROMETHEUS_", "TZ")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        settings = {"TMSERVICE_ENV_FILE": os.devnull, "WEB_CONCURRENCY": "2"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *argv],
                cwd=self.home,
                env=inherited | settings | {"GUNICORN_CMD_ARGS": options} | environment,
                pass_fds=[] if own_socket else [number],
                stdout=stderr or log,
                stderr=stderr or log,
            )
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(60)  # a starting worker is killed after graceful_timeout

    def get(self, path, **headers):
        """Return status and text from any worker."""
        connection = HTTPConnection("localhost", self.port, timeout=20)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def raw(self, sent):
        """Send bytes; return status, headers and body of the response."""
        with socket.create_connection(("localhost", self.port), timeout=20) as client:
            client.sendall(sent)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body

    def metric(self, name):
        """Return the value of a sample, 0 if it is missing."""
        status, text = self.get("/metrics/", Authorization=f"Bearer {TOKEN}")
        assert status == 200, text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def workers(self):
        """Return the pids of both workers: send requests until both have answered."""
        return {int(pid) for pid in self.ask("/things/1/", 2)}

    def ask(self, path, processes):
        """Send requests until `processes` different answers have come; return them."""
        answers = set()
        until(lambda: answers.add(self.get(path)[1]) or len(answers) == processes)
        return answers

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def messages(self):
        return [line["message"] for line in self.lines()]

    def wait_for_message(self, part, *, times=1):
        until(lambda: sum(part in message for message in self.messages()) >= times)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
