"""Settings shared by both services; each settings file assigns them by name."""

import logging
import re
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from chassis.addresses import is_address
from chassis.auth import keys
from chassis.ops import env

log = logging.getLogger(__name__)

# No path: links to documentation and static files could not include it.
PUBLIC_URL = re.compile(r"https?://(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[1-9][0-9]{0,4})?")

# No credentials: there are no cookies.
CORS_ALLOW_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
CORS_ALLOW_HEADERS = ["authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "x-request-id"]
CORS_EXPOSE_HEADERS = ["ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"]

MIDDLEWARE = [
    "chassis.ops.metrics.MetricsMiddleware",
    "chassis.request_id.RequestIdMiddleware",
    "chassis.auth.client_address.ClientAddressMiddleware",
    "chassis.api.middleware.RateLimitMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "chassis.api.middleware.PrivateResponseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "chassis.api.middleware.OverdueMiddleware",
    "chassis.api.middleware.AllowedHostMiddleware",
    "chassis.api.middleware.PlainPathMiddleware",
    "chassis.api.middleware.OptionalSlashMiddleware",
]

# Warnings of `manage.py check --deploy` that are handled elsewhere.
SILENCED_SYSTEM_CHECKS = [
    "security.W002",  # X-Frame-Options: every response has a Content-Security-Policy with frame-ancestors 'none'
    "security.W003",  # CSRF protection: there are no cookies, and other sites cannot send a token in a header
    "security.W004",  # HSTS: for the proxy that terminates TLS to decide
    "security.W008",  # SSL redirect: behind the gateway the service only speaks HTTP
    "security.W009",  # SECRET_KEY of 50 characters: env.secret requires 32 bytes, the size of its HMAC
]


def rest_framework(*, authentication: str) -> dict[str, Any]:
    return {
        "DEFAULT_AUTHENTICATION_CLASSES": [authentication],
        "DEFAULT_PERMISSION_CLASSES": ["chassis.auth.permissions.IsAuthenticated"],
        "DEFAULT_THROTTLE_CLASSES": ["chassis.auth.gate.CallerThrottle"],
        "DEFAULT_THROTTLE_RATES": throttle_rates(),
        "DEFAULT_PARSER_CLASSES": ["chassis.api.strict_json.StrictJSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["chassis.api.strict_json.StrictJSONRenderer"],
        "DEFAULT_CONTENT_NEGOTIATION_CLASS": "chassis.api.strict_json.JSONOnlyNegotiation",
        "DEFAULT_PAGINATION_CLASS": "chassis.api.pagination.KeysetPagination",
        "DEFAULT_METADATA_CLASS": None,
        "EXCEPTION_HANDLER": "chassis.api.problems.exception_handler",
        "UNAUTHENTICATED_USER": None,
        "URL_FORMAT_OVERRIDE": None,
        "TEST_REQUEST_DEFAULT_FORMAT": "json",
        "TEST_REQUEST_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    }


def throttle_rates() -> dict[str, str | None]:
    """Return the rate of each scope, None for "off"."""
    return {
        "admin": env.rate("THROTTLE_ADMIN", "10/min"),
        "user": env.rate("THROTTLE_USER", "10/min"),
        "anon": env.rate("THROTTLE_ANON", "5/min"),
        "signup": env.rate("THROTTLE_SIGNUP", "60/min", old_name="THROTTLE_NEWCOMERS"),
    }


def database(*names: str) -> dict[str, Any]:
    """Return DATABASES["default"], from the first variable of `names` that is set."""
    entry = env.database(*names)
    return entry | {
        "ENGINE": "chassis.postgresql",
        "CONN_MAX_AGE": 60,  # without it, throughput is a sixth
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 3, **entry.get("OPTIONS", {})},
    }


def public_url() -> str:
    """Return the base of links in responses; with "" they are relative."""
    value = env.http_url("PUBLIC_URL", "")
    if value and not PUBLIC_URL.fullmatch(value):
        raise env.SettingError("PUBLIC_URL must be http://HOST or https://HOST with an optional port and no path.")
    return value


def local_url() -> str:
    """Return the base of links in mails without PUBLIC_URL; they cannot be relative."""
    return f"http://localhost:{env.gateway_port()}"


def run_worker() -> str:
    """Return where background jobs run: "inline" in the web processes, or in "separate" ones."""
    if env.raw_value("RUN_WORKER") == "apart":
        log.warning("RUN_WORKER=apart is now called separate; the next version will not read the old value.")
        return "separate"
    return env.choice("RUN_WORKER", "separate", known=("separate", "inline"))


def mail(root: Path) -> env.Mail:
    """Read EMAIL_URL and MAIL_FOLDER, by default a folder in the checkout."""
    return env.email("EMAIL_URL", folder=env.text("MAIL_FOLDER", str(root / "var" / "mail")))


def admin_username() -> str:
    return env.text("ADMIN_USERNAME", "admin")


def sender() -> str:
    return env.text("MAIL_FROM", "TMService <noreply@tmservice.invalid>")


def mail_domain(sender: str) -> str:
    """Return the domain of MAIL_FROM, for message ids."""
    address = sender.rpartition("<")[2].removesuffix(">")
    if not (sender.isprintable() and is_address(address) and parseaddr(sender)[1] == address):
        raise env.SettingError("MAIL_FROM is not a valid address; write it as NAME <ADDRESS>.")
    return address.partition("@")[2]


def warn_about_sender(sender_domain: str) -> None:
    """Warn if the mail server will reject the sender: the default of MAIL_FROM is not a real address."""
    if warning := sender_warning(sender_domain):
        log.warning("%s", warning)


def sender_warning(sender_domain: str) -> str:
    """Return what is wrong with the sender in one sentence, or ""."""
    if not env.text("EMAIL_URL", "") or not f".{sender_domain}".endswith(".invalid"):
        return ""
    return f"MAIL_FROM is an address at {sender_domain}, which mail servers refuse; set it to one of your own."


def signing_keys(*, secret_key: str) -> tuple[str, list[str]]:
    """Return JWT_SIGNING_KEY and JWT_PREVIOUS_SIGNING_KEYS; each must differ from Django's SECRET_KEY."""
    current, previous = env.secret("JWT_SIGNING_KEY"), env.secrets("JWT_PREVIOUS_SIGNING_KEYS")
    if secret_key in (current, *previous):
        raise env.SettingError("JWT_SIGNING_KEY must not equal the SECRET_KEY of a service; make two different keys.")
    return current, previous


def key_pair(*, signing_key: str, previous: list[str]) -> tuple[keys.PrivateKey | None, list[keys.PublicKey]]:
    """Return JWT_PRIVATE_KEY, and the keys that verify user tokens: its public key, then JWT_PUBLIC_KEYS.

    Without a private key the shared key signs user tokens, so with public keys it must be one of the previous keys.
    """
    private, public = env.private_key("JWT_PRIVATE_KEY"), env.public_keys("JWT_PUBLIC_KEYS")
    if private is None and public and signing_key not in previous:
        raise env.SettingError(
            "JWT_PUBLIC_KEYS is set without JWT_PRIVATE_KEY, so no token would be accepted; see docs/tokens.md."
        )
    if private is None:
        return None, public
    return private, [private.public, *(key for key in public if key.id != private.id)]


def public_keys() -> list[keys.PublicKey]:
    """Return JWT_PUBLIC_KEYS, for a service that verifies user tokens but signs none."""
    public = env.public_keys("JWT_PUBLIC_KEYS")
    if not public and env.text("JWT_PRIVATE_KEY", ""):
        raise env.SettingError(
            "JWT_PRIVATE_KEY is set without JWT_PUBLIC_KEYS; this service needs the public key, see docs/tokens.md."
        )
    return public
