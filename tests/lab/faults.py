"""scripts/faults: inject faults into a stack under load, and check what its users saw."""

import argparse
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import psycopg2

from stack.console import StackError, say
from tests.lab import judge
from tests.lab.catalogue import BY_NAME, FAULTS
from tests.lab.client import Client
from tests.lab.crash import await_deliveries
from tests.lab.deliveries import Row
from tests.lab.judge import Evidence
from tests.lab.load import USERS, Load, VirtualUser
from tests.lab.scene import Scene
from tests.lab.stacks import lab_command, running_stack, show_logs
from tests.lab.trial import Fault, Trial

SECONDS, LONG_SECONDS = 5.0, 20.0
SAMPLED_TASKS = 40  # unchanged tasks whose history is checked, too
VIOLATIONS_SHOWN = 10
LOG_LINES_SHOWN = 6


def main() -> None:
    arguments = parse()
    if arguments.list:
        say("\n".join(BY_NAME))
        return
    chosen = [BY_NAME[name] for name in arguments.names] or FAULTS
    with lab_command("faults"):
        broken = try_all(chosen, arguments)
    if broken:
        sys.exit(f"{len(broken)} of {len(chosen)} faults were not survived: {', '.join(broken)}.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/faults",
        description="Start a stack, put it under load, inject one fault after another and judge each. "
        "docs/faults.md lists the faults and what must hold.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these faults")
    parser.add_argument("--list", action="store_true", help="list the faults and exit")
    parser.add_argument(
        "--seconds", type=float, metavar="N", help=f"how long each is repeated; {SECONDS:.0f} by default"
    )
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10_000), metavar="N", help="seed of all random choices"
    )
    parser.add_argument("--all", action="store_true", help="the long form, with 50 kills and 10,000 requests")
    parser.add_argument(
        "--patience", type=float, default=1, metavar="N", help="multiply the time limits, for a busy machine"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BY_NAME.keys():
        parser.error(f"there is no fault {unknown.pop()}; choose from {', '.join(BY_NAME)}")
    arguments.seconds = arguments.seconds or (LONG_SECONDS if arguments.all else SECONDS)
    return arguments


def try_all(faults: list[Fault], arguments: argparse.Namespace) -> list[str]:
    """Return the names of the faults that the stack did not survive."""
    say(f"--seed {arguments.seed}")
    with running_stack() as (state, port):
        scene = Scene(state, port, seed=arguments.seed)
        alice = {"username": "alice", "email": "alice@example.com", "password": "correct horse battery staple"}
        assignee = signed_in(scene, "setup").retry_until_ok("POST", "/user/users/", alice)["id"]
        return [fault.name for fault in faults if not try_fault(fault, scene, assignee, arguments)]


def signed_in(scene: Scene, name: str) -> Client:
    client = Client(scene.port, password=scene.admin_password(), name=name)
    client.sign_in()
    return client


def try_fault(fault: Fault, scene: Scene, assignee: int, arguments: argparse.Namespace) -> bool:
    try:
        with fault.around(scene):
            return run_fault(fault, scene, assignee, arguments)
    except (StackError, psycopg2.Error, psutil.Error) as error:
        say(f"{fault.name}: NOT SURVIVED: {error}")
        return False


def run_fault(fault: Fault, scene: Scene, assignee: int, arguments: argparse.Namespace) -> bool:
    began = time.monotonic()
    prober = signed_in(scene, f"{fault.name}-prober")
    floor = int(prober.retry_until_ok("POST", "/task/tasks/", {"title": f"Before {fault.name}"})["id"])
    load = Load([virtual_user(fault, scene, assignee, number) for number in range(fault.users)])
    rng = random.Random(f"{arguments.seed} {fault.name}")
    trial = Trial(scene, load, prober, rng, arguments.seconds, arguments.all, arguments.patience)
    with load:
        load.wait_until_served()
        done = fault.inject(trial)
        load.settle()
    prober.sign_in()  # its token may be signed with a replaced key
    evidence = collect(trial, floor=floor)
    found = [*trial.found, *judge.violations(evidence, fault.demands.times(trial.patience))]
    say(summary_line(fault, done, evidence, found, took=time.monotonic() - began))
    show(found, evidence, scene)
    return not found


def virtual_user(fault: Fault, scene: Scene, assignee: int, number: int) -> VirtualUser:
    client = Client(scene.port, password=scene.admin_password(), name=f"{fault.name}-{number}")
    user = VirtualUser(client, scene.seed, assignee, fault.pause_seconds, fault.refresh_seconds)
    user.prepare()
    return user


def collect(trial: Trial, *, floor: int) -> Evidence:
    load, reader, rng = trial.load, trial.prober, trial.rng
    for user in load.users:
        user.finish()
    deliveries = await_deliveries(trial.scene, floor=floor, is_long=trial.is_long)
    keyed = [task for user in load.users for task in user.keyed]
    stored = reader.rows("/task/tasks/?ordering=-id", until=lambda row: row["id"] <= floor)
    changed = {task_id for user in load.users for task_id in user.versions}
    others = sorted({row["id"] for row in stored} - changed)
    if not deliveries:
        repeated = {task.task_id for task in keyed if task.requests > 1 and task.task_id is not None}
        sample = rng.sample(others, min(SAMPLED_TASKS, len(others)))
        others = [*sample, *sorted(repeated.intersection(others))[:SAMPLED_TASKS]]
    inspected = sorted(changed.union(others))
    return Evidence(
        sent=load.sent,
        windows=load.windows,
        keyed=keyed,
        patches=[patch for user in load.users for patch in user.patches],
        contradictions=[text for user in load.users for text in user.contradictions],
        stored=stored,
        activity=read_each(reader, inspected, "activity"),
        ledger=read_each(reader, inspected, "notifications"),
        deliveries=deliveries,
    )


def read_each(reader: Client, task_ids: list[int], what: str) -> dict[int, list[Row]]:
    with ThreadPoolExecutor(USERS) as pool:
        rows = pool.map(lambda task_id: reader.rows(f"/task/tasks/{task_id}/{what}/"), task_ids)
        return dict(zip(task_ids, rows, strict=True))


def summary_line(fault: Fault, done: str, evidence: Evidence, found: list[str], *, took: float) -> str:
    statuses = Counter(request.answer.status for request in evidence.failed())
    figures = [done, f"{len(evidence.sent):,} requests"]
    figures += [
        f"{count} {f'answered {status}' if status else 'cut off'}" for status, count in sorted(statuses.items())
    ]
    figures += [f"{len(list(judge.lost(evidence)))} lost"]
    figures += [evidence.deliveries.figures()] if evidence.deliveries else []
    figures.append(f"slowest {max(request.seconds for request in evidence.sent):.1f} s")
    if evidence.windows and evidence.failed():
        figures.append(f"back after {evidence.recovery_seconds_taken():.1f} s")
    verdict = f"NOT SURVIVED ({len(found)} violations): " if found else ""
    return f"{fault.name}: {verdict}{', '.join(figures)} ({took:.0f} s)"


def show(found: list[str], evidence: Evidence, scene: Scene) -> None:
    """Print the first violations and the log lines of their requests."""
    for text in found[:VIOLATIONS_SHOWN]:
        say(f"  {text}")
    blamed = [it.request_id for it in evidence.sent if any(f"[{it.request_id}]" in text for text in found)]
    lines = [
        f"    {file.name}: {line[:500]}"
        for file in (sorted(scene.state.log.glob("*.log")) if blamed else ())
        for line in file.read_text(errors="replace").splitlines()
        if any(f'"{request_id}"' in line for request_id in blamed[:VIOLATIONS_SHOWN])
    ]
    for line in lines[:LOG_LINES_SHOWN]:
        say(line)
    if found and evidence.deliveries:
        show_logs(scene.state)


if __name__ == "__main__":
    main()
