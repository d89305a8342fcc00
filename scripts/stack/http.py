"""A JSON client for the stack's gateway. It ignores proxy settings in the environment."""

import json
import urllib.error
import urllib.request
from typing import Any

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(
    url: str,
    body: Any = None,
    *,
    method: str | None = None,
    token: str = "",
    timeout_seconds: float = 10,
    **headers: str,
) -> tuple[int, Any]:
    """POST the body, or GET without one, unless a method is given; return the status and the JSON.

    Raises OSError if nothing answers. In header names, _ stands for -.
    """
    headers = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    try:
        with OPENER.open(request, timeout=timeout_seconds) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
