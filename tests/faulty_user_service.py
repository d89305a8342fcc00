"""A proxy for the real user service that misbehaves on demand."""

import json
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import requests


class RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with suppress(OSError):  # the caller closed the connection
            self.server.behavior(self)

    def real_response(self) -> requests.Response:
        headers = {name: self.headers[name] for name in ("Authorization", "X-Request-ID")}
        return requests.get(self.server.real_url + self.path, headers=headers, timeout=5)

    def say(self, body: bytes, *, status: int = 200, kind: str = "application/json", length: int | None = None) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if status == 302:
            self.send_header("Location", self.server.real_url + self.path)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class FaultyUserService(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), RequestHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.real_url = ""
        self.closing = Event()
        self.behavior: Callable[[RequestHandler], None] = honest
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


def honest(call: RequestHandler) -> None:
    answer = call.real_response()
    call.say(answer.content, status=answer.status_code)


def silent(call: RequestHandler) -> None:
    call.server.closing.wait()


def drips(call: RequestHandler) -> None:
    call.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not call.server.closing.wait(0.5):
        call.wfile.write(b" ")


def fails(call: RequestHandler) -> None:
    call.say(call.real_response().content, status=500)


def answers_html(call: RequestHandler) -> None:
    call.say(b"<!doctype html><h1>Welcome</h1>", kind="text/html")


def answers_ten_megabytes(call: RequestHandler) -> None:
    call.say(call.real_response().content + b" " * 10_000_000)


def answers_for_another(call: RequestHandler) -> None:
    body = call.real_response().json()
    for row in body["results"]:
        row["id"] += 1
    call.say(json.dumps(body).encode())


def redirects(call: RequestHandler) -> None:
    call.say(b"", status=302)


def stops_in_the_middle(call: RequestHandler) -> None:
    content = call.real_response().content
    call.say(content[:-9], length=len(content))


BEHAVIORS = {
    behavior.__name__: behavior
    for behavior in (
        *(silent, answers_ten_megabytes, drips, fails, answers_html, answers_for_another, redirects),
        stops_in_the_middle,
    )
}
