"""scripts/doctor: find problems of the stack in this state folder without changing anything."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from chassis.addresses import is_address
from chassis.ops import env
from chassis.ops.findings import Finding, ok, unsure, wrong
from chassis.ops.findings import State as Verdict
from chassis.ops.startup import EXIT_CONFIG
from stack import active_settings, programs, startup, supervision
from stack.console import StackError, exit_on_error, say
from stack.gateway_checks import GatewayChecks
from stack.orphans import running
from stack.ports import Ports, read_ports
from stack.state import SERVICE_UIDS, StateFolder, find_state

LOW_DISK_BYTES, MIN_DISK_BYTES = 1_000_000_000, 200_000_000
RUNS_AS_ROOT = (
    "both services run as root, because no other user can access this Python or this checkout; use a Python that is "
    "installed for all, and a checkout that others may read"
)
NamedFindings = Iterable[tuple[str, Finding]]


def main() -> None:
    address = parse().mail
    if address is not None and not is_address(address):
        print(f"scripts/doctor: --mail: {address!r} is not a mail address.", file=sys.stderr)
        sys.exit(2)
    with exit_on_error("doctor", env.SettingError):
        env.load_dotenv()
        sys.exit(examine(find_state(), address))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/doctor", description="Check the stack; the exit status is 1 if anything is wrong."
    )
    parser.add_argument("--mail", metavar="ADDRESS", help="have each service that sends mail send a test mail there")
    return parser.parse_args()


def examine(state: StateFolder, address: str | None) -> int:
    """Print findings as they come; return the exit status."""
    if supervision.find(state) is None:
        say(wrong(f"no stack is running in {state.folder}; scripts/run starts one").line("stack"))
        return 1
    ports = read_ports(state)
    mailing = ["--mail", address] if address else []
    asked = {
        service: startup.start_python(
            service,
            *("manage.py", "doctor", *mailing),
            environment=active_settings.environment(state, service.replace("_", "-")),
            uid=service_program(state, service).uid,
        )
        for service in SERVICE_UIDS
    }
    verdicts: Counter[str] = Counter()
    sections = {"stack": lines(stack_findings(state, ports))}
    sections |= {service.replace("_", " "): service_lines(process) for service, process in asked.items()}
    sections["gateway"] = lines(GatewayChecks(ports.gateway_url).examine())
    for title, found in sections.items():
        say(f"The {title}")
        for line in found:
            say(line)
            verdicts[line.split()[0]] += 1
        say()
    say(summary(verdicts))
    return 1 if verdicts[Verdict.WRONG] else 0


def lines(found: NamedFindings) -> Iterator[str]:
    return (finding.line(name) for name, finding in found)


def service_lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the findings of a service, or the reason why it could not report."""
    yield from (line.rstrip("\n") for line in process.stdout or ())
    _, errors = process.communicate()
    if process.returncode == EXIT_CONFIG:
        yield wrong(errors).line("settings")
    elif process.returncode not in (0, 1) or "Traceback" in errors:
        yield wrong(f"manage.py doctor exited with {process.returncode}: {errors[-500:]}").line("doctor")


def summary(verdicts: Counter[str]) -> str:
    wrong_, unsure_ = verdicts[Verdict.WRONG], verdicts[Verdict.UNSURE]
    return f"{verdicts.total()} checks: {wrong_ or 'nothing'} wrong, {unsure_ or 'none'} unsure."


def stack_findings(state: StateFolder, ports: Ports) -> NamedFindings:
    yield "programs", everything_runs(state)
    yield "users", users(state)
    yield "restart", active_settings.compare(state, ports)
    yield "password", password(state)
    yield "disk", space(shutil.disk_usage(state.folder).free, state)


def everything_runs(state: StateFolder) -> Finding:
    names = [row["name"] for row in json.loads((state.folder / "programs.json").read_text())]
    down = [name for name in names if running(state, name) is None]
    if down:
        logs = ", ".join(f"log/{name}.log" for name in down)
        return wrong(
            f"{', '.join(down)} should be running but is not; the supervisor restarts it, {logs} says why it stopped"
        )
    return ok(f"{', '.join(names)} run")


def service_program(state: StateFolder, service: str) -> programs.Program:
    return programs.read(state, service.replace("_", "-"))


def runs_as_root(state: StateFolder) -> bool:
    return os.geteuid() == 0 and service_program(state, "user_service").uid == 0


def users(state: StateFolder) -> Finding:
    if runs_as_root(state):
        return unsure(RUNS_AS_ROOT)
    if os.geteuid() != 0:
        return ok("everything runs as the user who started it")
    uids = " and ".join(str(service_program(state, service).uid) for service in SERVICE_UIDS)
    return ok(f"the services run as separate users ({uids}), PostgreSQL as nobody, and Nginx's workers as another user")


def password(state: StateFolder) -> Finding:
    """Check whether the admin password in the banner is still valid."""
    place = "ADMIN_PASSWORD" if env.raw_value("ADMIN_PASSWORD") else str(state.admin_password)
    if not (env.raw_value("ADMIN_PASSWORD") or state.admin_password.is_file()):
        return unsure("this stack has no admin password")
    try:
        opens = startup.admin_password_is_current(state, active_settings.environment(state, "user-service"))
    except StackError:  # the user service's findings say why
        return unsure("cannot check whether the admin password of this stack is current")
    if opens:
        return ok(f"the password in {place} is an admin's")
    return unsure(f"the password in {place} is no longer an admin's: it was changed; store the new one elsewhere")


def space(free_bytes: int, state: StateFolder) -> Finding:
    text = f"{free_bytes / 1e9:.1f} GB free at {state.folder}"
    if free_bytes >= LOW_DISK_BYTES:
        return ok(text)
    verdict = Verdict.WRONG if free_bytes < MIN_DISK_BYTES else Verdict.UNSURE
    return Finding(verdict, f"{text}; free some space, or data and logs cannot be written")


if __name__ == "__main__":
    main()
