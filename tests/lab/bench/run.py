"""Measures all subjects in turn, several times, so that noise hits all of them alike."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from stack.console import step
from tests.lab.bench.cases import Subject, World
from tests.lab.bench.load import Generators, Sample, drive
from tests.lab.bench.measure import BACKGROUND, Meter, logged_statements, percentile, spent

WARM_UP = 8  # requests, not measured
AT_LEAST = 20  # requests, unless they take too long
MEASURABLE_MS = 0.0005
COUNTED = 5  # requests whose statements are counted
EMPTY_LONGER = 2  # everything is divided by it


def foreground(milliseconds: dict[str, float]) -> float:
    return sum(value for kind, value in milliseconds.items() if kind != BACKGROUND)


@dataclass
class Slices:
    """What the slices of one subject have shown: CPU milliseconds per request by kind, and all responses."""

    milliseconds: list[dict[str, float]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    sql: list[str] = field(default_factory=list)  # of the request with the median number of statements

    @property
    def by_kind(self) -> dict[str, float]:
        """Return the cheapest slice, since what else the machine does only adds to the cost, by kind."""
        cheapest = min(self.milliseconds, key=foreground)
        return {kind: round(value, 4) for kind, value in sorted(cheapest.items()) if value >= MEASURABLE_MS}

    def as_row(self, subject: Subject) -> dict[str, object]:
        seconds = [sample.seconds for sample in self.samples if not sample.is_error]
        errors = Counter(sample.status for sample in self.samples if sample.is_error)
        return {
            "system": subject.system,
            "name": subject.name,
            "caller": subject.caller,
            "cpu_ms": round(min(map(foreground, self.milliseconds)), 4),
            "by_kind": self.by_kind,
            "statements": len(self.sql),
            "p50_ms": round(percentile(seconds, 0.5) * 1000, 3),
            "p99_ms": round(percentile(seconds, 0.99) * 1000, 3),
            "requests": len(self.samples),
            "errors": {str(status): count for status, count in errors.items()},
        }


def measure(
    world: World, meter: Meter, generators: Generators, subjects: list[Subject], *, rounds: int, seconds: float
) -> dict[str, Slices]:
    """Return what was measured by the key of the subject."""
    found: dict[str, Slices] = defaultdict(Slices)
    with step(f"Counting the statements of {len(subjects)} kinds of requests"):
        count_statements(world, meter, subjects, found)
    for number in range(1, rounds + 1):
        with step(f"Round {number} of {rounds}"):
            for subject in subjects:
                longer = EMPTY_LONGER if subject.system == "baseline" else 1
                measure_slice(world, meter, generators, subject, seconds * longer, found[subject.key])
    return found


def measure_slice(
    world: World, meter: Meter, generators: Generators, subject: Subject, seconds: float, into: Slices
) -> None:
    load = world.load(subject.prepare(world, subject.caller), subject.caller, subject.system)
    generators.send(load, 0, at_least=WARM_UP)
    before = meter.usage()
    samples = generators.send(load.after(WARM_UP), seconds, at_least=AT_LEAST)
    used = spent(before, meter.usage())
    is_baseline = subject.system != "tmservice"
    own = {kind: value for kind, value in used.items() if kind == BACKGROUND or ("baseline" in kind) == is_baseline}
    into.milliseconds.append({kind: value * 1000 / len(samples) for kind, value in own.items()})
    into.samples += samples


def count_statements(world: World, meter: Meter, subjects: list[Subject], found: dict[str, Slices]) -> None:
    with logged_statements(world.scene) as log:
        for subject in with_database(subjects):
            load = world.load(subject.prepare(world, subject.caller), subject.caller, subject.system)
            drive(load, 0, at_least=WARM_UP)
            following = [load.after(number) for number in range(WARM_UP, WARM_UP + COUNTED)]
            statements = [log.of(partial(drive, each, 0), meter) for each in following]
            found[subject.key].sql = sorted(statements, key=len)[COUNTED // 2]


def with_database(subjects: list[Subject]) -> Iterator[Subject]:
    return (subject for subject in subjects if subject.system != "baseline")
