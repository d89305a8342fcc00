"""The settings of a local stack: from the environment, then .env, then generated once."""

import os
import re
import secrets as random_secrets
from collections.abc import Mapping
from pathlib import Path

from chassis.ops import env
from deploy.provision import Tenant
from stack import postgres
from stack.ports import Ports, chosen_bind, url_host
from stack.state import StateFolder, write_private

LIMITS = ("THROTTLE_ADMIN", "THROTTLE_USER", "THROTTLE_ANON", "THROTTLE_SIGNUP")
OLD_NAMES = {"THROTTLE_SIGNUP": "THROTTLE_NEWCOMERS"}  # the services still accept these and warn
SECRET = re.compile("KEY|PASSWORD|TOKEN|DATABASE_URL|EMAIL_URL")
# Settings of one service that the other does not get.
FOREIGN = {"user_service": re.compile("TASK_"), "task_service": re.compile("USER_|JWT_PRIVATE_KEY")}
LIFTED_LIMIT = "600/min"


def tenants(secrets: dict[str, str]) -> list[Tenant]:
    return [
        Tenant(
            f"{name}_service",
            secrets[f"{name.upper()}_DATABASE_PASSWORD"],
            f"{name}_service_owner",
            secrets[f"{name.upper()}_OWNER_DATABASE_PASSWORD"],
        )
        for name in ("user", "task")
    ]


def owners(state: StateFolder, ports: Ports) -> dict[str, dict[str, str]]:
    """Return, for each service, the settings that only its migrations get."""
    users, tasks = (
        postgres.url(role=it.owner, password=it.owner_password, port=ports.postgres) for it in tenants(state.secrets())
    )
    users = env.text("USER_OWNER_DATABASE_URL", "") or default_owner_url("USER_DATABASE_URL", users)
    tasks = env.text("TASK_OWNER_DATABASE_URL", "") or default_owner_url("TASK_DATABASE_URL", tasks)
    return {"user_service": {"OWNER_DATABASE_URL": users}, "task_service": {"OWNER_DATABASE_URL": tasks}}


def default_owner_url(serving: str, embedded: str) -> str:
    """Return the owner's URL in the embedded PostgreSQL, or "" if the service uses an external database."""
    return "" if os.environ.get(serving) else embedded


def needs_postgres() -> bool:
    return not (os.environ.get("USER_DATABASE_URL") and os.environ.get("TASK_DATABASE_URL"))


def limits(state: StateFolder) -> dict[str, str]:
    """Return the limits that --demo raises, except those that the user has set."""
    if not state.lifted_limits.exists():
        return {}
    return {name: LIFTED_LIMIT for name in LIMITS if not any(map(os.environ.get, (name, OLD_NAMES.get(name, name))))}


def hosts() -> str:
    """Return ALLOWED_HOSTS with the hosts that the stack itself uses."""
    own = url_host(chosen_bind())
    return ",".join(dict.fromkeys([*env.words("ALLOWED_HOSTS"), *env.LOCAL_HOSTS, own]))


def for_services(state: StateFolder, ports: Ports) -> dict[str, dict[str, str]]:
    """Return the environment of each service. User settings override generated ones."""
    secrets = state.secrets()
    common = {
        "PYTHONUNBUFFERED": "1",
        "TMSERVICE_ENV_FILE": os.devnull,  # its settings are already in here
        "GATEWAY_ADDRESSES": "127.0.0.1",
        "ALLOWED_HOSTS": hosts(),
        **limits(state),
        "JWT_SIGNING_KEY": setting("JWT_SIGNING_KEY", secrets["JWT_SIGNING_KEY"]),
        "PUBLIC_URL": setting("PUBLIC_URL", ""),
        "GATEWAY_PORT": str(ports.gateway or env.gateway_port()),
    }
    users, tasks = (postgres.url(role=it.role, password=it.password, port=ports.postgres) for it in tenants(secrets))
    return {
        "user_service": common
        | {
            "MANAGE_COMMAND": "scripts/manage user",
            "MAIL_FOLDER": setting("MAIL_FOLDER", str(state.mail)),
            "USER_SECRET_KEY": setting("USER_SECRET_KEY", secrets["USER_SECRET_KEY"]),
            "DATABASE_URL": setting("USER_DATABASE_URL", users),
        },
        "task_service": common
        | {
            "MANAGE_COMMAND": "scripts/manage task",
            "TASK_SECRET_KEY": setting("TASK_SECRET_KEY", secrets["TASK_SECRET_KEY"]),
            "DATABASE_URL": setting("TASK_DATABASE_URL", tasks),
            "MAIL_FOLDER": setting("MAIL_FOLDER", str(state.mail)),
            "NOTIFICATION_LOG": setting("NOTIFICATION_LOG", str(state.log / "notifications.log")),
            "USER_SERVICE_URL": setting("USER_SERVICE_URL", f"http://127.0.0.1:{ports.user_service}"),
        }
        | public_key_settings(),
    }


def without_secrets() -> dict[str, str]:
    """Return the environment for programs other than the services."""
    return {name: value for name, value in os.environ.items() if not SECRET.search(name)}


def full_environment(service: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service's program: its settings over the inherited environment."""
    kept_out = {*env.PRIVILEGED, *(f"{name}_FILE" for name in env.PRIVILEGED)}
    inherited = {
        name: value for name, value in os.environ.items() if name not in kept_out and not FOREIGN[service].match(name)
    }
    return {**inherited, **environment}


def public_key_settings() -> dict[str, str]:
    """Return the task service's key settings: the public key in place of the private one."""
    private = env.private_key("JWT_PRIVATE_KEY")
    if private is None:
        return {}
    public = private.public.to_pem() + env.text("JWT_PUBLIC_KEYS", "")
    return {"JWT_PUBLIC_KEYS": public, "JWT_PRIVATE_KEY": "", "JWT_PRIVATE_KEY_FILE": ""}


def setting(name: str, default: str) -> str:
    return os.environ.get(name) or default


def admin_password(state: StateFolder) -> str:
    """Return ADMIN_PASSWORD, or the generated one in its file."""
    if given := env.raw_value("ADMIN_PASSWORD"):
        return given
    return generated_password(state.admin_password)


def generated_password(file: Path) -> str:
    if not file.is_file():
        write_private(file, random_secrets.token_urlsafe(12) + "\n")
    return file.read_text().strip()
