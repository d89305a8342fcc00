"""A signed-in client of the gateway that records its requests."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Any

from stack.console import StackError

TIMEOUT_SECONDS = 20  # longer than any response may take
RETRY_SECONDS = 20
RETRY_PAUSE_SECONDS = 0.1
UNAVAILABLE = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is the JSON or None. `status` is 0 if no response came; `code` then has the reason."""

    status: int
    body: Any
    code: str = ""
    retry_after: str = ""
    content_type: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request of the load. `begun_at` is from time.monotonic(); `is_repeated`: its key was sent before."""

    request_id: str
    kind: str
    method: str
    path: str
    begun_at: float
    seconds: float
    answer: Answer
    is_repeated: bool = False

    @property
    def ended_at(self) -> float:
        return self.begun_at + self.seconds

    def __str__(self) -> str:
        became = f"{self.answer.status} {self.answer.code}" if self.answer.status else f"nothing ({self.answer.code})"
        return f"{self.method} {self.path} [{self.request_id}] got {became.strip()} after {self.seconds:.2f} s"


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, source: str = ""
) -> Answer:
    """Send one request on a new connection: a kept-alive one may close just as the request is sent."""
    source_address = (source, 0) if source else None
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS, source_address=source_address)
    sent = {"Content-Type": "application/json", "Connection": "close"} | (headers or {})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        content = response.read()
    except (OSError, HTTPException) as error:
        return Answer(0, None, code=f"{type(error).__name__}: {error}")
    finally:
        connection.close()
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    code = str(found.get("code", "")) if isinstance(found, dict) and response.status >= HTTPStatus.BAD_REQUEST else ""
    return Answer(
        response.status, found, code, response.getheader("Retry-After", ""), response.getheader("Content-Type", "")
    )


class Client:
    """Each client has its own address, since the gateway limits requests per address."""

    addresses = (f"127.8.{high}.{low}" for high in count() for low in range(1, 255))

    def __init__(self, port: int, *, password: str, name: str, username: str = "admin") -> None:
        self.port, self.name = port, name
        self.address = next(self.addresses)
        self.credentials = {"username": username, "password": password}
        self.tokens: dict[str, str] = {}
        self.sent: list[SentRequest] = []

    def sign_in(self) -> None:
        self.tokens = self.retry_until_ok("POST", "/token/", self.credentials)

    def refresh(self) -> bool:
        answer = self.send("refresh", "POST", "/token/refresh/", {"refresh": self.tokens["refresh"]})
        if answer.ok:
            self.tokens = answer.body
        return answer.ok

    def send(
        self, kind: str, method: str, path: str, body: Any = None, *, key: str = "", is_repeated: bool = False
    ) -> Answer:
        """Send and record a request of the load."""
        request_id = f"{self.name}-{len(self.sent)}"
        begun_at = time.monotonic()
        answer = self.ask(method, path, body, key=key, request_id=request_id)
        seconds = time.monotonic() - begun_at
        self.sent.append(SentRequest(request_id, kind, method, path, begun_at, seconds, answer, is_repeated))
        return answer

    def ask(self, method: str, path: str, body: Any = None, *, key: str = "", request_id: str = "") -> Answer:
        """Send a request that is not recorded."""
        headers = {"Authorization": f"Bearer {self.tokens['access']}"} if self.tokens else {}
        headers |= {"Idempotency-Key": key} if key else {}
        headers |= {"X-Request-ID": request_id} if request_id else {}
        return ask(self.port, method, path, body, headers, source=self.address)

    def retry_until_ok(
        self, method: str, path: str, body: Any = None, *, key: str = "", seconds: float = RETRY_SECONDS
    ) -> Any:
        """Repeat a request until it succeeds; return the JSON. Without a key, only for idempotent requests."""
        deadline = time.monotonic() + seconds
        while not (answer := self.ask(method, path, body, key=key)).ok:
            if time.monotonic() > deadline or answer.status not in (0, HTTPStatus.CONFLICT, *UNAVAILABLE):
                raise StackError(f"{method} {path} was answered with {answer.status} {answer.code}: {answer.body}")
            time.sleep(RETRY_PAUSE_SECONDS)
        return answer.body

    def rows(self, path: str, until: Callable[[dict[str, Any]], bool] = lambda row: False) -> list[dict[str, Any]]:
        """Return the rows of all pages of a list, up to the first for which `until` is true."""
        found: list[dict[str, Any]] = []
        next_page: str | None = f"{path}{'&' if '?' in path else '?'}page_size=100"
        while next_page:
            page = self.retry_until_ok("GET", next_page)
            for row in page["results"]:
                if until(row):
                    return found
                found.append(row)
            next_page = page["next"]
        return found
