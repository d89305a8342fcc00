"""The health check of containers."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

PROBE = Path(__file__).resolve().parents[1] / "ops" / "probe.py"


@pytest.fixture
def service():
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *arguments): ...

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def probe(port, path):
    command = [sys.executable, "-I", "-S", PROBE, path]
    return subprocess.run(command, env={"PORT": str(port)}, capture_output=True, text=True, check=False)


def test_only_a_200_is_healthy(service):
    unreachable = probe(1, "/200/")

    assert [probe(service, f"/{status}/").returncode for status in (200, 503, 404)] == [0, 1, 1]
    assert unreachable.returncode == 1
    assert "refused" in unreachable.stderr
