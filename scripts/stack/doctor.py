"""scripts/doctor: look for what is wrong with the stack of this state folder, and change nothing."""

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
from stack import in_force, programs, startup, supervision
from stack.console import StackError, command, say
from stack.gateway_checks import GatewayChecks
from stack.orphans import running
from stack.ports import Ports, read_ports
from stack.state import SERVICE_UIDS, State, find_state

LITTLE_SPACE, TOO_LITTLE_SPACE = 1_000_000_000, 200_000_000
RUNS_AS_ROOT = (
    "both services run as root, as no other user can reach this Python or this checkout; use a Python that is "
    "installed for all, and a checkout that others may read"
)
Named = Iterable[tuple[str, Finding]]


def main() -> None:
    address = parse().mail
    if address is not None and not is_address(address):
        print(f"scripts/doctor: --mail: {address!r} is not a mail address.", file=sys.stderr)
        sys.exit(2)
    with command("doctor", env.SettingError):
        env.load_dotenv()
        sys.exit(examine(find_state(), address))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/doctor", description="Look for what is wrong; the exit status is 1 if anything is."
    )
    parser.add_argument("--mail", metavar="ADDRESS", help="let each service that sends mails send one there")
    return parser.parse_args()


def examine(state: State, address: str | None) -> int:
    """Say what is found as it is found; return the exit status."""
    if supervision.find(state) is None:
        say(wrong(f"nothing runs in {state.folder}; scripts/run starts it").line("stack"))
        return 1
    ports = read_ports(state)
    mailing = ["--mail", address] if address else []
    asked = {
        service: startup.python_in(
            service,
            *("manage.py", "doctor", *mailing),
            environment=in_force.environment(state, service.replace("_", "-")),
            uid=program_of(state, service).uid,
        )
        for service in SERVICE_UIDS
    }
    verdicts: Counter[str] = Counter()
    sections = {"stack": lines(of_the_stack(state, ports))}
    sections |= {service.replace("_", " "): lines_of(process) for service, process in asked.items()}
    sections["gateway"] = lines(GatewayChecks(ports.gateway_url).examine())
    for title, found in sections.items():
        say(f"The {title}")
        for line in found:
            say(line)
            verdicts[line.split()[0]] += 1
        say()
    say(summary(verdicts))
    return 1 if verdicts[Verdict.WRONG] else 0


def lines(found: Named) -> Iterator[str]:
    return (finding.line(name) for name, finding in found)


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what a service says of itself; what ended it, if it could not."""
    yield from (line.rstrip("\n") for line in process.stdout or ())
    _, errors = process.communicate()
    if process.returncode == EXIT_CONFIG:
        yield wrong(errors).line("settings")
    elif process.returncode not in (0, 1) or "Traceback" in errors:
        yield wrong(f"manage.py doctor ended with {process.returncode}: {errors[-500:]}").line("doctor")


def summary(verdicts: Counter[str]) -> str:
    wrong_, unsure_ = verdicts[Verdict.WRONG], verdicts[Verdict.UNSURE]
    return f"{verdicts.total()} things were looked at: {wrong_ or 'nothing'} wrong, {unsure_ or 'none'} unsure."


def of_the_stack(state: State, ports: Ports) -> Named:
    yield "programs", everything_runs(state)
    yield "users", users(state)
    yield "restart", in_force.compare(state, ports)
    yield "password", password(state)
    yield "disk", space(shutil.disk_usage(state.folder).free, state)


def everything_runs(state: State) -> Finding:
    names = [row["name"] for row in json.loads((state.folder / "programs.json").read_text())]
    down = [name for name in names if running(state, name) is None]
    if down:
        logs = ", ".join(f"log/{name}.log" for name in down)
        return wrong(f"{', '.join(down)} should run and does not; the supervisor starts it again, {logs} says why not")
    return ok(f"{', '.join(names)} run")


def program_of(state: State, service: str) -> programs.Program:
    return programs.read(state, service.replace("_", "-"))


def runs_as_root(state: State) -> bool:
    return os.geteuid() == 0 and program_of(state, "user_service").uid == 0


def users(state: State) -> Finding:
    if runs_as_root(state):
        return unsure(RUNS_AS_ROOT)
    if os.geteuid() != 0:
        return ok("all runs as the user who started it")
    uids = " and ".join(str(program_of(state, service).uid) for service in SERVICE_UIDS)
    return ok(f"the services run as users of their own, {uids}, PostgreSQL as nobody, and Nginx's workers as another")


def password(state: State) -> Finding:
    """Tell whether the banner's words on the admin's password still hold."""
    place = "ADMIN_PASSWORD" if env.raw_value("ADMIN_PASSWORD") else str(state.admin_password)
    if not (env.raw_value("ADMIN_PASSWORD") or state.admin_password.is_file()):
        return unsure("this stack knows no admin's password")
    try:
        opens = startup.password_opens(state, in_force.environment(state, "user-service"))
    except StackError:  # the user service's own lines say why
        return unsure("nothing tells whether an admin has the password that this stack knows")
    if opens:
        return ok(f"the password of {place} opens an admin's account")
    return unsure(f"the password of {place} opens no admin's account: it was changed since; keep the new one elsewhere")


def space(free_bytes: int, state: State) -> Finding:
    text = f"{free_bytes / 1e9:.1f} GB are free where {state.folder} is"
    if free_bytes >= LITTLE_SPACE:
        return ok(text)
    verdict = Verdict.WRONG if free_bytes < TOO_LITTLE_SPACE else Verdict.UNSURE
    return Finding(verdict, f"{text}; make room, or data and logs cannot be written")


if __name__ == "__main__":
    main()
