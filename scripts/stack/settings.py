"""The settings of a local stack: the environment, then .env, then what is made up once and kept."""

import json
import os
import secrets as random_secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from chassis import env
from chassis.provision import Tenant
from stack import postgres
from stack.bootstrap import ROOT
from stack.console import Refused
from stack.state import State, write_private

USUAL_LIMITS = {
    "THROTTLE_ADMIN": "10/min",
    "THROTTLE_USER": "10/min",
    "THROTTLE_ANON": "5/min",
    "THROTTLE_NEWCOMERS": "60/min",
}
LIFTED_LIMIT = "600/min"


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on 127.0.0.1. Only the gateway's is chosen by a person; the others are whatever is free."""

    gateway: int
    user_service: int
    task_service: int
    postgres: int

    @property
    def public_url(self) -> str:
        return f"http://localhost:{self.gateway}"


def choose_ports() -> Ports:
    gateway = env.port("GATEWAY_PORT", 8080)
    refuse_taken(gateway)
    return Ports(gateway, *free_ports(3))


def write_ports(state: State, ports: Ports) -> None:
    write_private(state.ports, json.dumps(asdict(ports)))


def read_ports(state: State) -> Ports:
    return Ports(**json.loads(state.ports.read_text()))


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; all are held at once, so that no two are the same."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


def refuse_taken(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except PermissionError as error:
        raise Refused(f"Port {port} may not be used by this user; set GATEWAY_PORT to one above 1023.") from error
    except OSError as error:
        raise Refused(f"Port {port} is taken by another program; set GATEWAY_PORT to a free one.") from error


def tenants(secrets: dict[str, str]) -> list[Tenant]:
    return [
        Tenant("user_service", secrets["USER_DATABASE_PASSWORD"]),
        Tenant("task_service", secrets["TASK_DATABASE_PASSWORD"]),
    ]


def needs_postgres() -> bool:
    return not (os.environ.get("USER_DATABASE_URL") and os.environ.get("TASK_DATABASE_URL"))


def limits(state: State) -> dict[str, str]:
    """Return the limits in force; a person's own settings win over those of --demo too."""
    lifted = state.lifted_limits.exists()
    return {name: chosen(name, LIFTED_LIMIT if lifted else usual) for name, usual in USUAL_LIMITS.items()}


def hosts() -> str:
    """Return ALLOWED_HOSTS, with the names under which the stack itself calls: it listens on this machine alone."""
    return ",".join(dict.fromkeys([*env.words("ALLOWED_HOSTS"), "localhost", "127.0.0.1", "[::1]"]))


def for_services(state: State, ports: Ports) -> dict[str, dict[str, str]]:
    """Return the environment of each service. What a person has set wins over what was made up."""
    secrets = state.secrets()
    common = {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_ADDRESSES": "127.0.0.1",
        "ALLOWED_HOSTS": hosts(),
        **limits(state),
        "JWT_SIGNING_KEY": chosen("JWT_SIGNING_KEY", secrets["JWT_SIGNING_KEY"]),
        "PUBLIC_URL": chosen("PUBLIC_URL", ports.public_url),
    }
    users, tasks = (postgres.url(role=it.role, password=it.password, port=ports.postgres) for it in tenants(secrets))
    return {
        "user_service": common
        | {
            "MAIL_FOLDER": chosen("MAIL_FOLDER", str(state.mail)),
            "USER_SECRET_KEY": chosen("USER_SECRET_KEY", secrets["USER_SECRET_KEY"]),
            "DATABASE_URL": chosen("USER_DATABASE_URL", users),
        },
        "task_service": common
        | {
            "TASK_SECRET_KEY": chosen("TASK_SECRET_KEY", secrets["TASK_SECRET_KEY"]),
            "DATABASE_URL": chosen("TASK_DATABASE_URL", tasks),
            "MAIL_FOLDER": chosen("MAIL_FOLDER", str(state.mail)),
            "NOTIFICATION_LOG": chosen("NOTIFICATION_LOG", str(state.log / "notifications.log")),
            "USER_SERVICE_URL": chosen("USER_SERVICE_URL", f"http://127.0.0.1:{ports.user_service}"),
        },
    }


def chosen(name: str, otherwise: str) -> str:
    return os.environ.get(name) or otherwise


def admin_password(state: State) -> str:
    """Return ADMIN_PASSWORD, or the one made up for this stack, which stands in a file of its own."""
    if given := os.environ.get("ADMIN_PASSWORD"):
        return given
    return made_up(state.admin_password)


def made_up(file: Path) -> str:
    if not file.is_file():
        write_private(file, random_secrets.token_urlsafe(12) + "\n")
    return file.read_text().strip()
