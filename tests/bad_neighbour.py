"""A user service on a real socket: the true one behind it, until it is told to misbehave."""

import json
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import requests

PORTIONS = 30  # at a second each, of an answer that drips


class Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with suppress(OSError):  # the caller has had enough and hung up
            self.server.manner(self)

    def truth(self) -> requests.Response:
        headers = {name: self.headers[name] for name in ("Authorization", "X-Request-ID")}
        return requests.get(self.server.true_url + self.path, headers=headers, timeout=5)

    def say(self, body: bytes, *, status: int = 200, kind: str = "application/json", length: int | None = None) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if status == 302:
            self.send_header("Location", self.server.true_url + self.path)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class BadNeighbour(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Call)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.true_url = ""
        self.closing = Event()
        self.manner: Callable[[Call], None] = honest
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


def honest(call: Call) -> None:
    answer = call.truth()
    call.say(answer.content, status=answer.status_code)


def silent(call: Call) -> None:
    call.server.closing.wait(10)


def drips(call: Call) -> None:
    call.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(PORTIONS):
        call.wfile.write(b" ")
        call.server.closing.wait(1)


def fails(call: Call) -> None:
    call.say(call.truth().content, status=500)


def answers_html(call: Call) -> None:
    call.say(b"<!doctype html><h1>Welcome</h1>", kind="text/html")


def answers_ten_megabytes(call: Call) -> None:
    call.say(call.truth().content + b" " * 10_000_000)


def answers_for_another(call: Call) -> None:
    body = call.truth().json()
    for row in body["results"]:
        row["id"] += 1
    call.say(json.dumps(body).encode())


def redirects(call: Call) -> None:
    call.say(b"", status=302)


def stops_in_the_middle(call: Call) -> None:
    content = call.truth().content
    call.say(content[:-9], length=len(content))


MANNERS = {
    manner.__name__: manner
    for manner in (
        *(silent, answers_ten_megabytes, drips, fails, answers_html, answers_for_another, redirects),
        stops_in_the_middle,
    )
}
