"""The security log: one JSON line per event, named by OWASP's logging vocabulary (authn_login_fail, ...)."""

import logging
from typing import Any

from chassis.auth import client_address

log = logging.getLogger("security")


def write(event: str, *, actor: int | None, subject: int | None = None, **details: Any) -> None:
    """Log that `actor` (a user id; None if unknown) did `event` to `subject` (a user or task id).

    Never pass a secret or untrusted text that may contain one, such as an unknown username.
    """
    address = client_address.current.get()
    log.info(event, extra={"event": event, "actor": actor, "subject": subject, "address": address, **details})
