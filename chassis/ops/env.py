"""Typed readers of settings from the environment. Each error is one sentence.

An empty value counts as not set, because Compose files and .env templates contain empty values. If NAME is not set, it
is read from the file that NAME_FILE names, which is how containers get secrets.
"""

import datetime
import ipaddress
import logging
import os
import re
import sys
import zoneinfo
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from chassis.auth import keys
from chassis.ops import dotenv

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
# Words of samples and tutorials that never occur in a generated key.
SAMPLE_WORDS = (
    "change-me",
    "changeme",
    "change_me",
    "example",
    "insecure",
    "your-",
    "your_",
    "secret-key",
    "secret_key",
)
# Settings only for migrations and for creating the first admin. Serving processes do not keep them in the environment.
PRIVILEGED = ("ADMIN_PASSWORD", "OWNER_DATABASE_URL", "USER_OWNER_DATABASE_URL", "TASK_OWNER_DATABASE_URL")
OPEN_FILES = "/dev/fd/"
MIN_DISTINCT_CHARACTERS = 10
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
SMTP_PORTS = {"smtp": 25, "smtp+tls": 587, "smtp+ssl": 465}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mail:
    """How mails are sent. By default they are held: they wait in the outbox."""

    backend: str = "django.core.mail.backends.dummy.EmailBackend"
    folder: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    use_tls: bool = False
    use_ssl: bool = False
    timeout_seconds: int = 10

    @property
    def is_held(self) -> bool:
        return not (self.host or self.folder)


class SettingError(ImproperlyConfigured):
    """A setting is missing or invalid; the text names it and says what to do."""


def load_dotenv() -> None:
    """Add the variables of the .env file in the checkout, if any, to the environment. Existing values win.

    TMSERVICE_ENV_FILE names another file. PRIVILEGED settings stay in the file; `raw_value` reads them there.
    """
    for name, value in dotenv_values().items():
        if name not in PRIVILEGED and not os.environ.get(name):
            os.environ[name] = value


def dotenv_values() -> dict[str, str]:
    path = Path(os.environ.get("TMSERVICE_ENV_FILE") or Path(__file__).resolve().parents[2] / ".env")
    return read_dotenv(path) if path.is_file() else {}


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the variables of a .env file without changing the environment."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}.") from error
    try:
        return dotenv.parse(text)
    except dotenv.UnreadableLine as error:
        raise SettingError(f"{path}, {error}") from error


def raw_value(name: str) -> str:
    """Return the value of a setting, or "" if it is not set."""
    if value := os.environ.get(name, ""):
        return value
    if file := os.environ.get(f"{name}_FILE", ""):
        try:
            return Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{name}_FILE names a file that cannot be read: {error}.") from error
    return dotenv_values().get(name, "") if name in PRIVILEGED else ""


def hide_privileged() -> None:
    """Restart this program with PRIVILEGED settings moved from its environment to open files.

    /proc shows the initial environment of a process until it ends, even if the process removes variables.
    """
    shown = [name for name in PRIVILEGED if os.environ.get(name)]
    if sys.platform != "linux" or not shown:
        return
    environment = dict(os.environ)
    for name in shown:
        descriptor = os.memfd_create(name, 0)  # no flags: the restarted program inherits it
        os.write(descriptor, environment.pop(name).encode())
        environment[f"{name}_FILE"] = f"{OPEN_FILES}{descriptor}"
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - this same program


def hidden_files() -> list[int]:
    """Return the descriptors that hide_privileged opened, for a child process that needs them."""
    files = (os.environ.get(f"{name}_FILE", "") for name in PRIVILEGED)
    return [int(file.removeprefix(OPEN_FILES)) for file in files if file.startswith(OPEN_FILES)]


def forget_privileged() -> None:
    """Hide PRIVILEGED settings from future child processes."""
    for descriptor in hidden_files():
        os.close(descriptor)
    for name in PRIVILEGED:
        os.environ.pop(name, None)
        os.environ.pop(f"{name}_FILE", None)


def text(name: str, default: str | None = None) -> str:
    value = raw_value(name) or default
    if value is None:
        raise SettingError(f"{name} is not set; see .env.example.")
    return value


def flag(name: str, default: bool) -> bool:
    value = text(name, str(default)).lower()
    if value not in TRUE | FALSE:
        raise SettingError(f"{name} must be true or false, not {value!r}.")
    return value in TRUE


def number(name: str, default: int, *, min_value: int, max_value: int) -> int:
    value = text(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", value) or not min_value <= int(value) <= max_value:
        raise SettingError(f"{name} must be a whole number from {min_value} to {max_value}, not {value!r}.")
    return int(value)


def port(name: str, default: int) -> int:
    return number(name, default, min_value=1, max_value=65535)


def workers() -> int:
    """Read the number of web processes, from the variable that gunicorn also reads."""
    return number("WEB_CONCURRENCY", 2, min_value=1, max_value=64)


def words(name: str, default: str = "") -> list[str]:
    """Read a comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def choices(name: str, default: str, *, known: Collection[str]) -> list[str]:
    """Read a comma-separated list of known names."""
    chosen = list(dict.fromkeys(words(name, default)))
    if not chosen or set(chosen) - set(known):
        raise SettingError(f"{name} must be one or more of {', '.join(known)}, separated by commas.")
    return chosen


def choice(name: str, default: str, *, known: Collection[str]) -> str:
    value = text(name, default)
    if value not in known:
        raise SettingError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    return value


def networks(name: str) -> list[Network]:
    """Read a comma-separated list of IP addresses and networks, such as 10.0.0.0/8."""
    try:
        return [ipaddress.ip_network(word) for word in words(name)]
    except ValueError as error:
        raise SettingError(f"{name} must be IP addresses or networks separated by commas: {error}.") from error


def bind_address(name: str, default: str) -> Address:
    """Read the IP address to listen on; IPv6 with or without brackets."""
    value = text(name, default)
    try:
        return ipaddress.ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        reason = f"{name} must be an IP address of this machine, such as 0.0.0.0 for all of them, not {value!r}."
        raise SettingError(reason) from error


def gateway_bind() -> Address:
    return bind_address("GATEWAY_BIND", "127.0.0.1")


def gateway_port() -> int:
    return port("GATEWAY_PORT", 8080)


def rate(name: str, default: str, *, old_name: str = "") -> str | None:
    """Read a rate in DRF's notation, such as 10/min; None for "off". `old_name` is read if `name` is not set."""
    if old_name and raw_value(old_name) and not raw_value(name):
        log.warning("%s is now called %s; the next version will not read the old name.", old_name, name)
        name = old_name
    value = text(name, default)
    if value == "off":
        return None
    if not re.fullmatch("[1-9][0-9]{0,6}/(s|sec|second|m|min|minute|h|hour|d|day)", value):
        raise SettingError(f"{name} must be a rate such as 10/min (or /sec, /hour, /day), or off, not {value!r}.")
    return value


def origins(name: str) -> list[str]:
    """Read a comma-separated list of web origins (RFC 6454): scheme, host and optional port."""
    chosen = [word.lower() for word in words(name)]  # browsers send lowercase
    for origin in chosen:
        if not re.fullmatch(r"https?://[a-z0-9.\[\]:-]+", origin):
            raise SettingError(f"{name} must be origins such as https://app.example.com, not {origin!r}.")
    return chosen


def secret(name: str, *, min_bytes: int = 32) -> str:
    return usable_secret(name, text(name), min_bytes=min_bytes)


def optional_secret(name: str) -> str:
    return secret(name) if text(name, "") else ""


def secrets(name: str, *, min_bytes: int = 32) -> list[str]:
    """Read a comma-separated list of secrets, none by default."""
    return [usable_secret(name, value, min_bytes=min_bytes) for value in words(name)]


def usable_secret(name: str, value: str, *, min_bytes: int) -> str:
    remedy = "generate one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
    if len(value.encode()) < min_bytes:
        raise SettingError(f"{name} is shorter than {min_bytes} bytes; {remedy}")
    if any(word in value.lower() for word in SAMPLE_WORDS):
        raise SettingError(f"{name} is a sample value; {remedy}")
    if len(set(value)) < MIN_DISTINCT_CHARACTERS:
        raise SettingError(f"{name} is too easy to guess; {remedy}")
    return value


def private_key(name: str) -> keys.PrivateKey | None:
    """Read the private key of a key pair, None by default."""
    value = text(name, "")
    try:
        return keys.private_key(value) if value else None
    except keys.UnusableKey as error:
        remedy = "generate one with: openssl genpkey -algorithm ed25519"
        raise SettingError(f"{name} {error}; {remedy}") from error


def public_keys(name: str) -> list[keys.PublicKey]:
    """Read one or more public keys, none by default."""
    value = text(name, "")
    try:
        return keys.public_keys(value) if value else []
    except keys.UnusableKey as error:
        remedy = "write the public key with: openssl pkey -in PRIVATE_KEY_FILE -pubout"
        raise SettingError(f"{name} {error}; {remedy}") from error


def allowed_hosts(*, debug: bool) -> list[str]:
    """Read ALLOWED_HOSTS. Rejects a wildcard without DEBUG, and DEBUG on a public host or address.

    Render sets RENDER_EXTERNAL_HOSTNAME for each service.
    """
    hosts = words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]") + words("RENDER_EXTERNAL_HOSTNAME")
    if "*" in hosts and not debug:
        raise SettingError("ALLOWED_HOSTS=* is for DEBUG only; list the host names of this service.")
    public = [host for host in hosts if host not in {*LOCAL_HOSTS, "*"}]
    if debug and public:
        raise SettingError(f"DEBUG must be off if ALLOWED_HOSTS contains a public host ({public[0]}).")
    if debug and not gateway_bind().is_loopback:
        raise SettingError("DEBUG must be off if GATEWAY_BIND is not a loopback address.")
    return hosts


def http_url(name: str, default: str | None = None) -> str:
    """Read the base URL of a service, without a trailing slash."""
    value = text(name, default)
    if value and not re.match("https?://[^/]", value):
        raise SettingError(f"{name} must begin with http:// or https:// and a host, not {value!r}.")
    return value.rstrip("/")


def token_url(name: str) -> str:
    """Read the URL of a web page with a placeholder TOKEN in its fragment, which browsers never send to a server."""
    value = http_url(name, "")
    before, _, fragment = value.partition("#")
    if value and ("TOKEN" in before or "TOKEN" not in fragment):
        raise SettingError(f"{name} must contain TOKEN after a #, as in https://app.example.com/page#token=TOKEN.")
    return value


def database(*names: str) -> dict[str, Any]:
    """Read a PostgreSQL URL from the first of `names` that is set. Return an entry of Django's DATABASES."""
    name = next((name for name in names if raw_value(name)), " or ".join(names))
    url = text(name)
    if not url.startswith(("postgres://", "postgresql://")):
        raise SettingError(f"{name} must be a postgresql:// URL (only PostgreSQL is supported).")
    try:
        entry: dict[str, Any] = environ.Env.db_url_config(url)
    except ValueError:  # its text may contain a part of the password
        detail = "is not a valid URL; percent-encode special characters in its password"
        raise SettingError(f"{name} {detail}.") from None
    if not entry.get("NAME"):
        raise SettingError(f"{name} has no database name; it must end in /DATABASE.")
    return entry


def email(name: str, *, folder: str) -> Mail:
    """Read an SMTP URL. Without one, mails are written to `folder`, or held if that is "off"."""
    url = text(name, "")
    if not url and folder == "off":
        return Mail()
    if not url:
        return Mail("django.core.mail.backends.filebased.EmailBackend", folder)
    if url.partition("://")[0] not in SMTP_PORTS:
        raise SettingError(f"{name} must be a URL such as smtp+tls://USER:PASSWORD@HOST:587.")
    try:
        parts = urlsplit(url)
        entry: dict[str, Any] = environ.Env.email_url_config(url)
    except ValueError:  # its text may contain a part of the password
        parts = urlsplit("")
    if not parts.hostname or parts.path.strip("/") or parts.fragment:
        raise SettingError(f"{name} is not a valid URL; percent-encode special characters in its password.") from None
    return Mail(
        backend=entry["EMAIL_BACKEND"],
        host=entry["EMAIL_HOST"],
        port=entry["EMAIL_PORT"] or SMTP_PORTS[parts.scheme],
        user=entry["EMAIL_HOST_USER"] or "",
        password=entry["EMAIL_HOST_PASSWORD"] or "",
        use_tls=entry.get("EMAIL_USE_TLS", False),
        use_ssl=entry.get("EMAIL_USE_SSL", False),
    )


def time_of_day(name: str, default: str) -> datetime.time:
    """Read a time as HH:MM, from 00:00 to 23:59."""
    value = text(name, default)
    if not re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise SettingError(f"{name} must be a time of day from 00:00 to 23:59, such as 08:00, not {value!r}.")
    return datetime.time.fromisoformat(value)


def time_zone(name: str, default: str) -> str:
    value = text(name, default)
    if value not in zoneinfo.available_timezones():
        raise SettingError(f"{name} must be a time zone such as UTC or Europe/Berlin, not {value!r}.")
    return value
