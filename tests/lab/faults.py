"""scripts/faults: break a stack in every way that it must survive, and judge what people met with."""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2

from stack.console import StackError, say
from stack.run import END_SIGNALS
from stack.state import State
from tests.lab import judge, survive
from tests.lab.catalogue import BY_NAME, FAULTS
from tests.lab.client import Client
from tests.lab.judge import Evidence, Row
from tests.lab.load import HANDS, Hand, Load
from tests.lab.scene import Scene
from tests.lab.trial import Fault, Trial

SECONDS = 5.0
LONG_SECONDS = 20.0
LOOKED_INTO = 40  # tasks of which the history is read, beside those that were changed
BREACHES_SHOWN = 10
LOG_LINES_SHOWN = 6


def main() -> None:
    arguments = parse()
    if arguments.list:
        say("\n".join(BY_NAME))
        return
    for number in END_SIGNALS:
        signal.signal(number, survive.interrupt)
    chosen = [BY_NAME[name] for name in arguments.names] or FAULTS
    try:
        broken = try_all(chosen, arguments)
    except StackError as error:
        sys.exit(f"scripts/faults: {error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    if broken:
        sys.exit(f"{len(broken)} of {len(chosen)} faults were not survived: {', '.join(broken)}.")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/faults",
        description="Start a stack, put it under load, inject one fault after another and judge each. "
        "docs/faults.md tells what is done and what must hold.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these faults")
    parser.add_argument("--list", action="store_true", help="name the faults and end")
    parser.add_argument(
        "--seconds", type=float, metavar="N", help=f"how long one is repeated; {SECONDS:.0f} by default"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), metavar="N", help="of all that is random")
    parser.add_argument("--all", action="store_true", help="the long form, such as 10,000 requests in 10 restarts")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BY_NAME.keys():
        parser.error(f"there is no fault {unknown.pop()}; choose from {', '.join(BY_NAME)}")
    return arguments


def try_all(faults: list[Fault], arguments: argparse.Namespace) -> list[str]:
    """Return the names of those that were not survived."""
    seconds = arguments.seconds or (LONG_SECONDS if arguments.all else SECONDS)
    say(f"--seed {arguments.seed}")
    with own_folder() as state, survive.own_stack(state) as url:
        scene = Scene(state, port=int(url.rpartition(":")[2]))
        assignee = newcomer(scene)
        return [
            fault.name
            for fault in faults
            if not survives(fault, scene, assignee, seconds=seconds, seed=arguments.seed, is_long=arguments.all)
        ]


@contextmanager
def own_folder() -> Iterator[State]:
    with tempfile.TemporaryDirectory(prefix="tmservice-faults-") as folder:
        Path(folder).chmod(0o711)
        yield State(Path(folder))


def newcomer(scene: Scene) -> int:
    body = {"username": "alice", "email": "alice@example.com", "password": "correct horse battery staple"}
    admin = client_of(scene, "newcomer")
    admin.sign_in()
    return int(admin.insist("POST", "/user/users/", body)["id"])


def client_of(scene: Scene, name: str) -> Client:
    return Client(scene.port, username="admin", password=scene.admin_password(), name=name)


def survives(fault: Fault, scene: Scene, assignee: int, **how: Any) -> bool:
    try:
        return is_survived(fault, scene, assignee, **how)
    except (StackError, psycopg2.Error, psutil.Error) as error:
        say(f"{fault.name}: NOT SURVIVED: {error}")
        return False


def is_survived(fault: Fault, scene: Scene, assignee: int, *, seconds: float, seed: int, is_long: bool) -> bool:
    began = time.monotonic()
    with fault.around(scene):
        prober = client_of(scene, f"{fault.name}-prober")
        prober.sign_in()
        floor = int(prober.insist("POST", "/task/tasks/", {"title": f"Before {fault.name}"})["id"])
        load = Load(hands_for(fault, scene, assignee, seed))
        trial = Trial(scene, load, prober, random.Random(f"{seed} {fault.name}"), seconds, is_long)
        with load:
            load.wait_until_served()
            done = fault.inject(trial)
            load.settle()
        prober.sign_in()  # what it has may be a token of a key that is no more
        evidence = collect(load, prober, floor=floor, chance=trial.chance)
    found = [*trial.found, *judge.breaches(evidence, fault.demands)]
    say(closing_line(fault, done, evidence, found, took=time.monotonic() - began))
    show(found, evidence, scene)
    return not found


def hands_for(fault: Fault, scene: Scene, assignee: int, seed: int) -> list[Hand]:
    hands = [
        Hand(
            client_of(scene, f"{fault.name}-{number}"),
            assignee=assignee,
            seed=seed,
            pause_seconds=fault.pause_seconds,
            refreshes=fault.refreshes,
        )
        for number in range(fault.hands)
    ]
    for hand in hands:
        hand.prepare()
    return hands


def collect(load: Load, reader: Client, *, floor: int, chance: random.Random) -> Evidence:
    for hand in load.hands:
        hand.finish()
    made = [made for hand in load.hands for made in hand.made]
    stored = reader.rows("/task/tasks/?ordering=-id", until=lambda row: row["id"] <= floor)
    changed_often = {task_id for hand in load.hands for task_id in hand.versions}
    repeated = {it.task_id for it in made if it.task_id is not None and it.requests > 1}
    others = sorted({row["id"] for row in stored} - changed_often)
    sample = {*chance.sample(others, min(LOOKED_INTO, len(others))), *sorted(repeated)[:LOOKED_INTO]}
    looked_into = sorted(changed_often | (sample & {row["id"] for row in stored}))
    return Evidence(
        attempts=load.attempts,
        windows=load.windows,
        made=made,
        changed=[change for hand in load.hands for change in hand.changed],
        contradictions=[text for hand in load.hands for text in hand.contradictions],
        stored=stored,
        activity=read_of_each(reader, looked_into, "activity"),
        ledger=read_of_each(reader, looked_into, "notifications"),
    )


def read_of_each(reader: Client, task_ids: list[int], what: str) -> dict[int, list[Row]]:
    with ThreadPoolExecutor(HANDS) as pool:
        rows = pool.map(lambda task_id: reader.rows(f"/task/tasks/{task_id}/{what}/"), task_ids)
        return dict(zip(task_ids, rows, strict=True))


def closing_line(fault: Fault, done: str, evidence: Evidence, found: list[str], *, took: float) -> str:
    statuses = Counter(attempt.answer.status for attempt in evidence.failed())
    figures = [done, f"{len(evidence.attempts):,} requests"]
    figures += [
        f"{count} {f'answered {status}' if status else 'cut off'}" for status, count in sorted(statuses.items())
    ]
    figures += [f"{len(list(judge.lost(evidence)))} lost"]
    figures.append(f"slowest {max(attempt.seconds for attempt in evidence.attempts):.1f} s")
    if evidence.windows and evidence.failed():
        figures.append(f"back after {evidence.back_after_seconds():.1f} s")
    verdict = f"NOT SURVIVED ({len(found)} breaches): " if found else ""
    return f"{fault.name}: {verdict}{', '.join(figures)} ({took:.0f} s)"


def show(found: list[str], evidence: Evidence, scene: Scene) -> None:
    """Print the first breaches, and what the logs know of the requests in them."""
    if not found:
        return
    for text in found[:BREACHES_SHOWN]:
        say(f"  {text}")
    blamed = [it.request_id for it in evidence.attempts if any(f"[{it.request_id}]" in text for text in found)]
    lines: list[Any] = [
        f"    {file.name}: {line[:500]}"
        for file in sorted(scene.state.log.glob("*.log"))
        for line in file.read_text(errors="replace").splitlines()
        if any(f'"{request_id}"' in line for request_id in blamed[:BREACHES_SHOWN])
    ]
    for line in lines[:LOG_LINES_SHOWN]:
        say(line)


if __name__ == "__main__":
    main()
