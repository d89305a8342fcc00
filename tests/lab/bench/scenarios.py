"""What a single kind of request does not show: neighbours of expensive requests, overload, start and idling."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from stack import postgres, supervision
from tests.lab.bench.cases import BY_NAME, TASKS, World
from tests.lab.bench.load import Call, Generators, Load, Sample
from tests.lab.bench.measure import Logged, Meter, cpu_seconds, percentile, spent
from tests.lab.bench.run import Slices
from tests.lab.stacks import script

ALONE_SECONDS = 5
LOGINS = 8  # at once
STORM_ROUNDS, STORM_SECONDS, READS_PER_SECOND = 3, 15, 30
PEAK_CONNECTIONS = (8, 16, 32)
PER_ADDRESS = 8  # requests in progress that the gateway allows
OVERLOAD_FACTOR, OVERLOAD_PROCESSES, OVERLOAD_SECONDS, AFTERWARDS_SECONDS = 5, 4, 8, 10
STARTS = 3
QUIET_SECONDS = 70  # after which the workers poll as rarely as they ever do
IDLE_SECONDS = 30
PGBENCH_SECONDS = 3
REAPED_SECONDS = 0.5  # until the postmaster has the times of an ended backend
MAX_EXPORTED = 1_000_000
SQL_OF = ("one", "list20", "list50", "summary")


@dataclass(frozen=True, slots=True)
class Bench:
    world: World
    meter: Meter
    generators: Generators
    found: dict[str, Slices]

    def reader(self) -> Load:
        return self.world.load(BY_NAME["one"].prepare(self.world, "user"), "user")


Figure = dict[str, Any]


def figure(name: str, value: float, target: str = "", met: bool | None = None) -> Figure:
    return {"name": name, "value": round(value, 3), "target": target, "met": met}


def at_most(name: str, value: float, limit: float) -> Figure:
    return figure(name, value, f"<= {limit:g}", value <= limit)


def p50_ms(samples: list[Sample]) -> float:
    return percentile([sample.seconds for sample in samples], 0.5) * 1000


def p99_ms(samples: list[Sample]) -> float:
    return percentile([sample.seconds for sample in samples], 0.99) * 1000


def pgbench(bench: Bench) -> Iterator[Figure]:
    """Run the same SQL without Python; the postmaster has the CPU time of its ended children."""
    for name in SQL_OF:
        slices = bench.found.get(f"tmservice {name} admin")
        if slices:
            before = ended_children_seconds(bench.meter)
            done = run_pgbench(bench.world, slices.sql)
            time.sleep(REAPED_SECONDS)
            milliseconds = (ended_children_seconds(bench.meter) - before) * 1000 / done
            yield figure(f"pgbench: CPU ms of the SQL of {name}", milliseconds)


def ended_children_seconds(meter: Meter) -> float:
    times = meter.postgres.cpu_times()
    return float(times.children_user + times.children_system)


def run_pgbench(world: World, statements: list[Logged]) -> int:
    """Return the number of times that the statements were run. They are prepared once, as the services do it."""
    prepares = "".join(f"{each};\n" for each in dict.fromkeys(each.prepare for each in statements) if each)
    script = "".join(f"{each.sql};\n" for each in statements)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(f"\\if :prepared = 0\n{prepares}\\set prepared 1\n\\endif\n{script}")
        file.flush()
        options = ["--no-vacuum", f"--time={PGBENCH_SECONDS}", f"--file={file.name}", "--max-tries=1", "-Dprepared=0"]
        command = [str(postgres.binaries() / "pgbench"), *options, world.scene.role_url("task_service")]
        os.chmod(file.name, 0o644)  # noqa: PTH101  # it runs as nobody
        done = subprocess.run(command, check=True, capture_output=True, text=True, **postgres.as_nobody())
    found = re.search(r"actually processed: (\d+)", done.stdout)
    return int(found[1]) if found else 1


def login_storm(bench: Bench) -> Iterator[Figure]:
    """Read at a fixed rate, in turn without and with a storm of logins, so that noise hits both alike."""
    calm: list[Sample] = []
    during: list[Sample] = []
    logins: list[Sample] = []
    for _ in range(STORM_ROUNDS):
        reader = replace(bench.reader(), per_second=READS_PER_SECOND)
        calm += bench.generators.send(reader, STORM_SECONDS)
        storm = start_logins(bench, STORM_SECONDS)
        during += bench.generators.send(reader, STORM_SECONDS)
        logins += [sample for each in storm for sample in each.result()]
    yield figure("logins a second", sum(not sample.is_error for sample in logins) / (STORM_ROUNDS * STORM_SECONDS))
    yield figure("p50 of reads without logins, ms", p50_ms(calm))
    yield figure(f"{LOGINS} logins at once: p50 of reads, ms", p50_ms(during))
    yield figure("p99 of reads without logins, ms", p99_ms(calm))
    yield at_most(f"{LOGINS} logins at once: p99 of reads, ratio", p99_ms(during) / p99_ms(calm), 1.5)
    yield at_most("failed reads and logins", sum(sample.is_error for sample in [*calm, *during, *logins]), 0)


def start_logins(bench: Bench, seconds: float) -> list[Future[list[Sample]]]:
    login = bench.world.load(BY_NAME["login"].prepare(bench.world, ""), "")
    loads = [Load(login.port, login.calls, source=source) for source in addresses(LOGINS)]
    return [bench.generators.start(load, seconds) for load in loads]


def addresses(connections: int) -> list[str]:
    """Return a client address for each connection, each for as many as the gateway allows."""
    return [f"127.9.0.{1 + number // PER_ADDRESS}" for number in range(connections)]


def export(bench: Bench) -> Iterator[Figure]:
    ((tasks,),) = bench.world.scene.execute("SELECT count(*) FROM task_service.tasks_task")
    if tasks > MAX_EXPORTED * 1.1:
        return
    alone = bench.generators.send(bench.reader(), ALONE_SECONDS)
    began = time.monotonic()
    download = bench.generators.start_download(bench.world.load([Call("GET", f"{TASKS}export.csv")], "admin"))
    during, memory = observe_until(download, bench)
    status, lines = download.result()
    yield figure("export: status", status, "200", status == 200)
    yield figure("export: lines", lines, f"{tasks + 1}", lines == tasks + 1)
    yield figure("export: seconds", time.monotonic() - began)
    yield at_most("export: growth of the task service's memory, MB", max(memory) - memory[0], 32)
    yield at_most("export: p99 of reads meanwhile, ratio", p99_ms(during) / p99_ms(alone), 1.5)
    yield at_most("export: failed reads meanwhile", sum(sample.is_error for sample in during), 0)


def observe_until(download: Future[Any], bench: Bench) -> tuple[list[Sample], list[float]]:
    """Read until the download has ended; return the responses, and the memory of the task service over time in MB."""
    samples: list[Sample] = []
    memory: list[float] = [service_memory(bench.meter)]
    while not download.done():
        reading = bench.generators.start(bench.reader(), 1)
        while not reading.done():
            memory.append(service_memory(bench.meter))
            time.sleep(0.1)
        samples += reading.result()
    return samples, memory


def service_memory(meter: Meter) -> float:
    return sum(process.memory_info().rss for kind, process in meter.processes if kind == "task service") / 1e6


def overload(bench: Bench) -> Iterator[Figure]:
    alone = bench.generators.send(bench.reader(), ALONE_SECONDS)
    peak = max(goodput(crowd(bench, connections, ALONE_SECONDS)) for connections in PEAK_CONNECTIONS)
    flood = crowd(bench, OVERLOAD_FACTOR * max(PEAK_CONNECTIONS), OVERLOAD_SECONDS)
    ended = time.monotonic()
    after = bench.generators.send(bench.reader(), AFTERWARDS_SECONDS)
    rejected = [sample for sample in flood if sample.is_error]
    share = goodput(flood) / peak
    yield figure("peak: requests a second", peak)
    yield figure("overload: goodput / peak", share, ">= 0.8", share >= 0.8)
    yield figure("overload: share of rejections", len(rejected) / len(flood))
    yield at_most("overload: p99 of the rejections, ms", p99_ms(rejected), 100)
    slow = [sample.ended_at - ended for sample in after if sample.is_error or sample.seconds * 1000 > 2 * p99_ms(alone)]
    lasted = [at for at in slow if at < AFTERWARDS_SECONDS / 2]  # a slow one much later has another cause
    yield at_most("overload: seconds until normal again", max(lasted, default=0.0), 10)


def crowd(bench: Bench, connections: int, seconds: float) -> list[Sample]:
    """Send from many connections, in several processes."""
    reader = bench.reader()
    loads = [
        Load(reader.port, reader.after(number).calls, reader.token, source)
        for number, source in enumerate(addresses(connections))
    ]
    parts = [loads[number::OVERLOAD_PROCESSES] for number in range(OVERLOAD_PROCESSES)]
    running = [bench.generators.start_all(part, seconds) for part in parts if part]
    return [sample for each in running for sample in each.result()]


def goodput(samples: list[Sample]) -> float:
    """Return the successful responses per second."""
    ends = [sample.ended_at for sample in samples if not sample.is_error]
    return len(ends) / (max(ends) - min(ends)) if len(ends) > 1 else 0.0


def start(bench: Bench) -> Iterator[Figure]:
    scene = bench.world.scene
    seconds = []
    for _ in range(STARTS):
        script(scene.state, scene.port, "stop", **scene.settings)
        began = time.monotonic()
        script(scene.state, scene.port, "run", "--detach", **scene.settings)
        seconds.append(time.monotonic() - began)
    yield at_most(f"start: seconds until healthy, best of {STARTS}", min(seconds), 5)


def idle(bench: Bench) -> Iterator[Figure]:
    """Measure a stack that has just been started and has served each of the hot reads."""
    scene = bench.world.scene
    script(scene.state, scene.port, "restart", **scene.settings)
    bench.world.signed_in_at.clear()
    for name in SQL_OF:
        bench.generators.send(bench.world.load(BY_NAME[name].prepare(bench.world, "admin"), "admin"), 0, at_least=20)
    meter = Meter(scene)
    time.sleep(QUIET_SECONDS)
    supervisor = supervision.find(scene.state)
    pids = [supervisor.pid] if supervisor else []
    before, own = meter.usage(), sum(map(cpu_seconds, pids))
    time.sleep(IDLE_SECONDS)
    used = sum(spent(before, meter.usage()).values()) + sum(map(cpu_seconds, pids)) - own
    memory = meter.memory_megabytes() | ({"supervisor": supervisor.memory_full_info().pss / 1e6} if supervisor else {})
    yield at_most("idle: CPU seconds a minute", used * 60 / IDLE_SECONDS, 1)
    yield at_most("idle: memory (PSS), MB", sum(memory.values()), 400)
    for kind, megabytes in sorted(memory.items()):
        yield figure(f"idle: memory of {kind}, MB", megabytes)


# In this order: the baseline loses the database when the stack starts again.
SCENARIOS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "pgbench": pgbench,
    "login-storm": login_storm,
    "overload": overload,
    "export": export,
    "start": start,
    "idle": idle,
}
