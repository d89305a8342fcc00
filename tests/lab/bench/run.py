"""Measures all subjects in turn, several times, so that noise hits all of them alike."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from stack.console import step
from tests.lab.bench.cases import EMPTY, Subject, World
from tests.lab.bench.load import Call, Generators, Load, Sample, drive
from tests.lab.bench.measure import BACKGROUND, Logged, Meter, logged_statements, percentile, spent

WARM_UP = 8  # requests, not measured
AT_LEAST = 20  # requests, unless they take too long
MEASURABLE_MS = 0.0005
COUNTED = 5  # requests whose statements are counted
EMPTY_SHARE = 0.25  # of the seconds, before and after each slice


def foreground(milliseconds: dict[str, float]) -> float:
    return sum(value for kind, value in milliseconds.items() if kind != BACKGROUND)


@dataclass
class Slices:
    """What the slices of one subject have shown: CPU milliseconds per request by kind, and all responses.

    Each slice has its own ratio to the empty view, measured just before and after it: what else the machine does then
    slows down both.
    """

    milliseconds: list[dict[str, float]] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    sql: list[Logged] = field(default_factory=list)  # of the request with the median number of statements

    @property
    def typical(self) -> int:
        """Return the number of the slice with the median ratio."""
        return sorted(range(len(self.ratios)), key=self.ratios.__getitem__)[(len(self.ratios) - 1) // 2]

    def as_row(self, subject: Subject) -> dict[str, object]:
        seconds = [sample.seconds for sample in self.samples if not sample.is_error]
        cost = self.milliseconds[self.typical]
        errors = Counter(sample.status for sample in self.samples if sample.is_error)
        return {
            "system": subject.system,
            "name": subject.name,
            "caller": subject.caller,
            "cpu_ms": round(foreground(cost), 4),
            "ratio": round(self.ratios[self.typical], 2),
            "by_kind": {kind: round(value, 4) for kind, value in sorted(cost.items()) if value >= MEASURABLE_MS},
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
                measure_slice(world, meter, generators, subject, seconds, found[subject.key])
    return found


def measure_slice(
    world: World, meter: Meter, generators: Generators, subject: Subject, seconds: float, into: Slices
) -> None:
    load = world.load(subject.prepare(world, subject.caller), subject.caller, subject.system)
    empty = world.load([Call("GET", f"/{EMPTY}/")], "", "baseline")
    generators.send(load, 0, at_least=WARM_UP)
    load = load.after(WARM_UP)
    parts = [
        window(meter, generators, each, part, is_own=is_own)
        for each, part, is_own in (
            (empty, seconds * EMPTY_SHARE, False),
            (load, seconds, subject.system == "tmservice"),
            (empty, seconds * EMPTY_SHARE, False),
        )
    ]
    (before, _), (cost, samples), (after, _) = parts
    into.milliseconds.append(cost)
    into.ratios.append(2 * foreground(cost) / (foreground(before) + foreground(after)))
    into.samples += samples


def window(
    meter: Meter, generators: Generators, load: Load, seconds: float, *, is_own: bool
) -> tuple[dict[str, float], list[Sample]]:
    """Return the CPU milliseconds per request by kind, of the stack (`is_own`) or the baseline, and the responses."""
    before = meter.usage()
    samples = generators.send(load, seconds, at_least=AT_LEAST)
    used = spent(before, meter.usage())
    kinds = [kind for kind in used if kind == BACKGROUND or ("baseline" in kind) is not is_own]
    return {kind: used[kind] * 1000 / len(samples) for kind in kinds}, samples


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
