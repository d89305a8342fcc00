"""Checks of scripts/doctor that call the gateway from outside, without a token."""

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from http import HTTPStatus
from ipaddress import ip_address
from typing import Self
from uuid import uuid4

import requests

from chassis.ops import env, findings
from chassis.ops.findings import Finding, ok, unsure, wrong

TIMEOUT_SECONDS = 5
HIDDEN = ("/internal/users/", "/internal/users/changes/", "/metrics/")
LOOPBACK = ip_address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Limit:
    """The rate limit for callers without a token, from a response."""

    remaining: int
    ends_in_seconds: int
    refused: bool

    @classmethod
    def from_response(cls, answer: requests.Response) -> Self | None:
        found = re.search(r'"anon";r=(\d+);t=(\d+)', answer.headers.get("RateLimit", ""))
        if found is None:
            return None
        return cls(int(found[1]), int(found[2]), answer.status_code == HTTPStatus.TOO_MANY_REQUESTS)

    def is_counted_with(self, later: "Limit") -> bool:
        """Return whether a later request was counted by the same limit."""
        return later.refused or later.remaining < self.remaining


class GatewayChecks:
    def __init__(self, url: str) -> None:
        self.url = url

    def examine(self) -> Iterator[tuple[str, Finding]]:
        reached = self.safely(self.gateway)
        yield "gateway", reached
        if reached.state is not findings.State.OK:
            return
        for name, check in {
            "services": self.services,
            "hosts": self.hosts,
            "hidden": self.hidden,
            "request id": self.request_id,
            "clock": self.clock,
            "proxy trust": self.proxy_trust,
        }.items():
            yield name, self.safely(check)

    def safely(self, check: Callable[[], Finding]) -> Finding:
        try:
            return check()
        except requests.Timeout:
            return wrong(f"{self.url} did not answer within {TIMEOUT_SECONDS} s; see log/gateway.log")
        except requests.RequestException as error:
            return wrong(f"{self.url} does not answer ({type(error).__name__}); see log/gateway.log")

    def get(self, path: str, **headers: str) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with requests.Session() as session:
            session.trust_env = False  # ignore proxy settings in the environment
            return session.get(self.url + path, headers=named, timeout=TIMEOUT_SECONDS, allow_redirects=False)

    def gateway(self) -> Finding:
        status = self.get("/health/live/").status_code
        if status != HTTPStatus.OK:
            return wrong(f"{self.url} answers the liveness check with {status}; is another program listening there?")
        return ok(f"{self.url} answers")

    def services(self) -> Finding:
        failing = {name: status for name in ("user", "task") if (status := self.health_status(name)) != HTTPStatus.OK}
        if failing:
            statuses = " and ".join(f"the {name} service with {status}" for name, status in failing.items())
            return wrong(f"it answers for {statuses}; see the logs of these services")
        return ok("both answer through the gateway")

    def health_status(self, service: str) -> int:
        return self.get(f"/{service}/health/live/").status_code

    def hosts(self) -> Finding:
        status = self.get("/task/tasks/", Host="unknown.invalid").status_code
        if status == HTTPStatus.MISDIRECTED_REQUEST:
            return ok("it refuses hosts that are not in ALLOWED_HOSTS (421)")
        return wrong(f"it answers an unknown host with {status}; list its hosts in ALLOWED_HOSTS")

    def hidden(self) -> Finding:
        exposed = {path: status for path in HIDDEN if (status := self.get(path).status_code) != HTTPStatus.NOT_FOUND}
        if exposed:
            paths = ", ".join(f"{path} ({status})" for path, status in exposed.items())
            return wrong(f"it exposes {paths}; scripts/restart rewrites its configuration")
        return ok("neither /internal/ nor /metrics/ is reachable (404)")

    def request_id(self) -> Finding:
        sent = f"doctor-{uuid4().hex}"
        kept = self.get("/user/health/live/", X_Request_ID=sent, Cache_Control="no-cache").headers.get("X-Request-ID")
        if kept != sent:
            return wrong(f"{sent} became {kept}; scripts/restart rewrites the gateway's configuration")
        return ok("it keeps an X-Request-ID that a client sends")

    def clock(self) -> Finding:
        before = time.time()
        date = parsedate_tz(self.get("/health/live/").headers.get("Date"))
        after = time.time()
        if date is None:
            return unsure("the gateway sends no Date; is another program in front of it?")
        theirs = mktime_tz(date)  # in whole seconds, rounded down
        return findings.clock(max(before - theirs - 1, theirs - after, 0.0), whose="the gateway's")

    def proxy_trust(self) -> Finding:
        """Send two requests with different forged addresses: both must count for the same client."""
        if any(LOOPBACK in network for network in env.networks("TRUSTED_PROXIES")):
            return unsure(f"TRUSTED_PROXIES contains {LOOPBACK}, the address of this check, so its claims are trusted")
        answers = [self.claim(), self.claim()]
        limits = [Limit.from_response(answer) for answer in answers]
        if limits[0] and limits[0].ends_in_seconds <= 1:  # the next request may fall in a new window
            limits = [limits[1], Limit.from_response(self.claim())]
        first, second = limits
        if first is None or second is None:
            statuses = {answer.status_code for answer in answers}
            why = "THROTTLE_ANON is off" if statuses == {HTTPStatus.UNAUTHORIZED} else "the task service is not healthy"
            return unsure(f"{why}, so this check cannot tell whether a claimed address is trusted")
        if first.is_counted_with(second):
            return ok("a client is counted by its own address, whatever it claims")
        where = "X-Forwarded-For, X-Real-IP or Forwarded"
        remedy = "let the gateway overwrite it, and set GATEWAY_ADDRESSES to only the gateway"
        return wrong(f"a client can choose its address, and so its limit, by {where}: {remedy}")

    def claim(self) -> requests.Response:
        address = f"2001:db8:{random.randrange(1 << 16):x}:{random.randrange(1 << 16):x}::1"  # for documentation only
        return self.get("/task/tasks/", X_Forwarded_For=address, X_Real_IP=address, Forwarded=f'for="[{address}]"')
