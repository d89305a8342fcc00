"""scripts/survive: kill processes of the task service under load, and see that every notification arrives."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.provision import connected
from stack import programs, smtp_sink, verdict
from stack.console import Refused, say, step
from stack.killer import WEB, WORKER, Killer
from stack.load import Gateway, Load, make_tasks
from stack.ports import free_ports
from stack.run import END_SIGNALS
from stack.settings import LIMITS
from stack.state import State
from stack.verdict import Evidence

SPARE_TASKS = 20  # beside one for each kill: what a killed worker was sending holds its task up for a minute
PROGRESS_EVERY = 20
DELIVERED_WITHIN_SECONDS = 600
LOOK_SECONDS = 0.3
FAULTS_SHOWN = 20
LOG_SHOWN = 4000  # characters
END_LEASES = "UPDATE notifications_delivery SET leased_until = now() WHERE leased_until > now()"
END_PAUSES = "UPDATE notifications_delivery SET due_at = now() WHERE state = 'planned' AND due_at > now()"


def main() -> None:
    arguments = parse()
    for number in END_SIGNALS:
        signal.signal(number, interrupt)
    try:
        status = survive(arguments.kills, seed=arguments.seed, in_haste=arguments.hurry)
    except Refused as error:
        sys.exit(f"scripts/survive: {error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    sys.exit(status)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/survive",
        description="Start a stack, kill processes of its task service under load, with a mail server that fails at "
        "random, and check that each acknowledged change of status was notified of.",
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="how many; 200 by default")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), metavar="N", help="of all that is random")
    parser.add_argument("--hurry", action="store_true", help="end leases and pauses by hand, not by waiting")
    return parser.parse_args()


def interrupt(*_: object) -> None:
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """Let nothing keep us from stopping the stack."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def survive(kills: int, *, seed: int, in_haste: bool) -> int:
    """Return the exit status."""
    say(f"{kills} kills, --seed {seed}")
    with (
        own_folder() as state,
        smtp_sink.running(state.folder / "mails", seed=seed) as sink,
        own_stack(state, EMAIL_URL=sink.url, NOTIFICATION_CHANNELS="log,email") as url,
    ):
        gateway = Gateway(url, state)
        with step("Making people and tasks"):
            tasks = make_tasks(gateway, kills + SPARE_TASKS)
        load = Load(lambda: Gateway(url, state), tasks, seed=seed, sink=sink)
        done = {WEB: lambda: len(load.acknowledged), WORKER: lambda: len(sink.accepted)}
        killer = Killer(state, seed=seed, done=done)
        with load:
            kill_all(kills, killer, load, in_haste=in_haste)
        sink.is_well = True  # or the pauses after its failures would go on doubling
        with step("Waiting until all is delivered"):
            ledger = wait_for_the_ledger(gateway, state, tasks, in_haste=in_haste)
        evidence = Evidence(
            acknowledged=load.acknowledged,
            activity={task_id: list(gateway.rows(f"/task/tasks/{task_id}/activity/")) for task_id in tasks},
            ledger=ledger,
            mails=sink.accepted,
            log=log_lines(state),
            worker_kills=killer.kills[WORKER],
        )
        return report(state, evidence, kills=kills)


@contextmanager
def own_folder() -> Iterator[State]:
    with tempfile.TemporaryDirectory(prefix="tmservice-survive-") as folder:
        Path(folder).chmod(0o711)
        yield State(Path(folder))


def stack_environment(state: State, *, port: int, **chosen: str) -> dict[str, str]:
    """Return the environment of the scripts of a stack in which no setting of this machine has a say."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG")
    inherited = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    own = {"TMSERVICE_ENV_FILE": os.devnull, "TMSERVICE_STATE_DIR": str(state.folder), "GATEWAY_PORT": str(port)}
    return inherited | own | dict.fromkeys(LIMITS, "off") | chosen


@contextmanager
def own_stack(state: State, **chosen: str) -> Iterator[str]:
    """Run a stack in which no setting of this machine has a say, least of all which database is used."""
    (port,) = free_ports(1)
    environment = stack_environment(state, port=port, **chosen)
    try:
        with step("Starting a stack"):
            script(state, "run", "--detach", environment=environment)
        yield f"http://localhost:{port}"
    except Refused:
        show_logs(state)
        raise
    finally:
        ignore_signals()
        script(state, "stop", environment=environment)


def script(state: State, name: str, *arguments: str, environment: dict[str, str]) -> None:
    """Run scripts/NAME. If we are interrupted meanwhile, it gets the time to end what it has begun."""
    output = state.folder / f"{name}.out"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stack.{name}", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            process.wait()
        finally:
            process.terminate()
            process.wait()
    if process.returncode:
        raise Refused(f"scripts/{name} failed: {output.read_text()}")


def kill_all(kills: int, killer: Killer, load: Load, *, in_haste: bool) -> None:
    for number in range(1, kills + 1):
        if killer.kill() == WORKER and in_haste:
            execute(killer.state, END_LEASES)  # all are of the killed one: the next is not at work yet
        load.raise_what_it_met()
        if number % PROGRESS_EVERY == 0:
            say(f"  {number} kills, {len(load.acknowledged)} changes, {len(load.sink.accepted)} mails")


def execute(state: State, statement: str) -> None:
    with connected(programs.read(state, WEB).environment["DATABASE_URL"]) as cursor:
        cursor.execute(statement)


def wait_for_the_ledger(
    gateway: Gateway, state: State, tasks: list[int], *, in_haste: bool
) -> dict[int, list[dict[str, Any]]]:
    """Return what the ledger holds of each task, once nothing of it is planned any more or time is up."""
    deadline = time.monotonic() + DELIVERED_WITHIN_SECONDS
    ledger = {}
    for task_id in tasks:
        while True:
            ledger[task_id] = list(gateway.rows(f"/task/tasks/{task_id}/notifications/"))
            if all(row["state"] != "planned" for row in ledger[task_id]) or time.monotonic() > deadline:
                break
            if in_haste:
                execute(state, END_PAUSES)
            time.sleep(LOOK_SECONDS)
    return ledger


def log_lines(state: State) -> list[str]:
    """Return the lines of the log channel, the oldest first; what is full is called .1, then .2 and so on."""
    files = sorted(state.log.glob("notifications.log*"), reverse=True)
    return [line for file in files if file.suffix != ".lock" for line in file.read_text().splitlines()]


def show_logs(state: State) -> None:
    """Show the ends of what is removed with the folder."""
    for file in (state.log / f"{name}.log" for name in (WEB, WORKER)):
        if file.is_file():
            say(f"\n{file.name} ends with:\n{file.read_text()[-LOG_SHOWN:]}")


def report(state: State, evidence: Evidence, *, kills: int) -> int:
    """Print the closing sentence and return the exit status."""
    found = list(verdict.faults(evidence))
    if found:
        show_logs(state)
    for fault in found[:FAULTS_SHOWN]:
        say(f"  {fault}")
    figures = (
        f"{kills} kills: {len(evidence.acknowledged)} changes acknowledged, {len(evidence.mails)} mails and "
        f"{len(evidence.log)} log lines, {evidence.copies()} of them copies"
    )
    say(f"{len(found)} faults after {figures}." if found else f"Nothing lost in {figures}.")
    return 1 if found else 0


if __name__ == "__main__":
    main()
