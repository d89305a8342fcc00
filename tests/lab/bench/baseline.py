"""Runs textbook.py behind the same Nginx and gunicorn as the stack."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import jwt
import psutil

from deploy import provision
from stack import nginx
from stack.bootstrap import ROOT
from stack.console import step, wait_until
from stack.ports import free_ports
from stack.startup import wait_for_all
from stack.state import StateFolder
from tests.lab.bench.data import Data
from tests.lab.client import ask
from tests.lab.scene import Scene

MODULE, SCHEMA = "tests.lab.bench.textbook", "textbook"
TOKEN_SECONDS = 24 * 3600
STARTED_SECONDS = 30
NGINX = """
access_log access.log;
upstream django {{ server 127.0.0.1:{django} max_fails=0; keepalive 16; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://django;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Baseline:
    port: int
    key: str
    ids: dict[str, int]
    gunicorn: psutil.Process
    nginx: psutil.Process

    def token(self, caller: str) -> str:
        now = int(time.time())
        claims = {
            "token_type": "access",
            "user_id": str(self.ids[caller]),
            "exp": now + TOKEN_SECONDS,
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, self.key, "HS256")


@contextmanager
def running(scene: Scene, data: Data) -> Iterator[Baseline]:
    key = secrets.token_urlsafe(48)
    port, django = free_ports(2)
    environment = os.environ | {"BENCH_KEY": key, "BENCH_DATABASE_URL": scene.owner_url(), "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="tmservice-baseline-") as folder, ExitStack() as processes:
        state = StateFolder(Path(folder))
        state.create()
        with step("Starting the baseline"):
            create_accounts(scene, data, environment)
            configure(state, port=port, django=django)
            gunicorn = [sys.executable, "-m", "gunicorn", "--workers=2", "--preload", "--no-control-socket"]
            gunicorn += ["--log-level=warning", f"--bind=127.0.0.1:{django}", f"{MODULE}:application"]
            options = {"PGOPTIONS": f"-c search_path={SCHEMA},task_service"}
            web = processes.enter_context(running_process(gunicorn, environment | options, state))
            proxy = processes.enter_context(running_process(nginx.command(state), dict(os.environ), state))
            wait_until(
                lambda: ask(port, "GET", "/empty/").ok, seconds=STARTED_SECONDS, message="The baseline did not start."
            )
        yield Baseline(port, key, data.ids, psutil.Process(web), psutil.Process(proxy))


def create_accounts(scene: Scene, data: Data, environment: dict[str, str]) -> None:
    """Create Django's own tables of accounts, beside those of the services."""
    with provision.connected(scene.owner_url()) as cursor:
        cursor.execute(f"CREATE SCHEMA {SCHEMA}")
    accounts = [f"{name}={user_id}" for name, user_id in data.ids.items()]
    command = [sys.executable, "-m", MODULE, *accounts]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True}
    options = {"PGOPTIONS": f"-c search_path={SCHEMA}"}
    wait_for_all([subprocess.Popen(command, env=environment | options, **pipes)])  # type: ignore[call-overload]  # pipes


def configure(state: StateFolder, *, port: int, django: int) -> None:
    rendered = state.nginx / nginx.RENDERED
    rendered.parent.mkdir()
    rendered.write_text(NGINX.format(port=port, django=django))
    (state.nginx / "nginx.conf").write_text((nginx.GATEWAY / "nginx.conf").read_text())


@contextmanager
def running_process(command: list[str], environment: dict[str, str], state: StateFolder) -> Iterator[int]:
    with (state.log / "baseline.log").open("a") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=state.nginx, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()
