"""scripts/bench: measure what requests cost, beside an empty view and a textbook stack."""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stack.console import say, step
from stack.settings import LIMITS
from tests.lab.bench import baseline, charts, data, report
from tests.lab.bench.cases import BY_NAME, World, subjects
from tests.lab.bench.load import generators
from tests.lab.bench.measure import Meter
from tests.lab.bench.run import measure
from tests.lab.bench.scenarios import SCENARIOS, Bench, Figure
from tests.lab.scene import Scene
from tests.lab.stacks import lab_command, running_stack

HIGH_LIMITS = dict.fromkeys(LIMITS, "1000000/min")  # counted like any other, but never reached
PROCESSES = 10  # of the load generator
MAX_TEXTBOOK = 1_000_000  # tasks; the textbook stack counts them all for each list
SMOKE = {
    "tasks": {"10k"},
    "rounds": 3,
    "seconds": 0.3,
    "only": {"one:admin", "list20:user", "list50:admin", "304-one:user", "304-list:admin", "304-poll:busy"}
    | {"summary:user", "summary-filtered:busy", "search-common:user", "create", "patch", "bulk", "login", "mix"},
}


def main() -> None:
    arguments = parse()
    if arguments.list:
        say("\n".join([*BY_NAME, *SCENARIOS]))
        return
    with lab_command("bench"):
        sizes = {size: bench(size, arguments) for size in arguments.tasks}
        show({"at": f"{datetime.now(UTC):%Y-%m-%d}", "sizes": sizes}, arguments)
    rows = [row for each in sizes.values() for row in each["rows"]]
    faults = report.errors(rows) + (report.faults(rows, report.SMOKE_TOLERANCE) if arguments.smoke else [])
    if faults:
        sys.exit("\n".join(["", *faults]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Start a stack with many tasks and measure the CPU time, statements and latency of its requests, "
        "in turn with an empty Django view and a textbook stack. docs/performance.md describes the method.",
    )
    parser.add_argument("--list", action="store_true", help="list the cases and exit")
    parser.add_argument(
        "--tasks", metavar="SIZE,...", default="1m", help=f"any of {', '.join(data.SIZES)}; 1m by default"
    )
    parser.add_argument("--only", metavar="CASE,...", default="", help="only these cases, such as one,list20:busy")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each is measured; 5 by default")
    parser.add_argument(
        "--seconds", type=float, default=0.6, metavar="N", help="for how long each time; 0.6 by default"
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the tables into docs/performance.md")
    parser.add_argument("--charts", type=Path, metavar="FOLDER", help="draw the ratios as SVG")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="compare with saved results")
    parser.add_argument("--smoke", action="store_true", help="a short run that fails on costs far above the targets")
    arguments = parser.parse_args()
    vars(arguments).update({name: set_of(getattr(arguments, name)) for name in ("tasks", "only")})
    if unknown := arguments.tasks - data.SIZES.keys():
        parser.error(f"there is no size {unknown.pop()}; choose from {', '.join(data.SIZES)}")
    if unknown := {name.partition(":")[0] for name in arguments.only} - BY_NAME.keys() - SCENARIOS.keys():
        parser.error(f"there is no case {unknown.pop()}; choose from {', '.join([*BY_NAME, *SCENARIOS])}")
    if arguments.smoke:
        vars(arguments).update(SMOKE)
    arguments.tasks = [size for size in data.SIZES if size in arguments.tasks]
    return arguments


def set_of(words: str) -> set[str]:
    return set(words.split(",")) - {""}


def bench(size: str, arguments: argparse.Namespace) -> dict[str, Any]:
    with_textbook = not arguments.smoke and data.SIZES[size] <= MAX_TEXTBOOK
    chosen = list(subjects(arguments.only, with_textbook=with_textbook))
    with running_stack(**HIGH_LIMITS) as (state, port):
        scene = Scene(state, port, settings=dict(HIGH_LIMITS))
        loaded = data.load(scene, data.SIZES[size])
        with baseline.running(scene, loaded) as beside, generators(PROCESSES) as pool:
            world, meter = World(scene, loaded, beside), Meter(scene, beside)
            found = measure(world, meter, pool, chosen, rounds=arguments.rounds, seconds=arguments.seconds)
            figures = list(play(Bench(world, meter, pool, found), arguments))
    return {"rows": report.with_targets([found[each.key].as_row(each) for each in chosen]), "figures": figures}


def play(bench: Bench, arguments: argparse.Namespace) -> Iterator[Figure]:
    for name, scenario in SCENARIOS.items():
        if name in arguments.only or not (arguments.only or arguments.smoke):
            with step(f"Trying {name}"):
                yield from scenario(bench)


def show(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    tables = report.text(result["sizes"])
    say(f"\n{tables}")
    if arguments.compare:
        say(f"\n{report.comparison(json.loads(arguments.compare.read_text()), result)}")
    if arguments.charts:
        charts.write(arguments.charts, result["sizes"])
    if arguments.write:
        arguments.write.write_text(report.replace_block(arguments.write.read_text(), tables))
    if arguments.save:
        arguments.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
