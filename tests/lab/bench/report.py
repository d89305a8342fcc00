"""The results as tables."""

from collections.abc import Iterable, Iterator
from typing import Any

from stack.console import StackError
from tests.lab.bench.cases import BY_NAME

Row = dict[str, Any]
READS = ("one", "list20", "list50")
TEXTBOOK_TARGET = 3  # times as cheap as the textbook stack
MAX_P50_GROWTH = 1.2  # from the smallest size to the largest
SMOKE_TOLERANCE = 2  # times the target: for a short run on a busy machine
BEGIN, END = "<!-- scripts/bench: begin -->", "<!-- scripts/bench: end -->"


def with_targets(rows: list[Row]) -> list[Row]:
    """Add the targets, and how many times the textbook stack costs as much."""
    textbook = {(row["name"], row["caller"]): row["ratio"] for row in rows if row["system"] == "textbook"}
    for row in rows:
        case = BY_NAME.get(row["name"]) if row["system"] == "tmservice" else None
        other = textbook.get((row["name"], row["caller"]))
        row["target"] = case.target if case else None
        row["textbook"] = round(other / row["ratio"], 2) if case and other else None
    return rows


def missed(row: Row, tolerance: float = 1) -> Iterator[str]:
    """Yield the targets that a row misses, as text."""
    case = BY_NAME.get(row["name"])
    if case is None or row["system"] != "tmservice":
        return
    if row["target"] and row["ratio"] > row["target"] * tolerance:
        yield f"{row['ratio']} > {row['target'] * tolerance:g} empty views"
    if row["statements"] > case.max_statements:
        yield f"{row['statements']} > {case.max_statements} statements"
    if case.target_p50_ms and row["p50_ms"] > case.target_p50_ms and tolerance == 1:
        yield f"p50 {row['p50_ms']} > {case.target_p50_ms:g} ms"
    if row["textbook"] and row["name"] in READS and row["textbook"] < TEXTBOOK_TARGET / tolerance:
        yield f"only {row['textbook']} times as cheap as the textbook stack"


def table(rows: list[Row]) -> str:
    head = (
        "request",
        "caller",
        "CPU ms",
        "ratio",
        "target",
        "textbook",
        "Nginx",
        "Python",
        "SQL",
        "statements",
        "p50",
        "p99",
        "",
    )
    return markdown(head, map(cells, rows))


def cells(row: Row) -> list[str]:
    name = row["name"] if row["system"] in ("tmservice", "baseline") else f"{row['name']} ({row['system']})"
    kinds = row["by_kind"]
    nginx = sum(value for kind, value in kinds.items() if "nginx" in kind)
    python = sum(value for kind, value in kinds.items() if kind in ("user service", "task service", "baseline"))
    sql = sum(value for kind, value in kinds.items() if kind.startswith("postgres"))
    errors = [f"{count} answered {status}" for status, count in row["errors"].items()]
    verdict = "; ".join([*errors, *missed(row)]) or ("met" if row["target"] else "")
    return [
        name,
        row["caller"],
        f"{row['cpu_ms']:.2f}",
        f"{row['ratio']:.2f}",
        f"{row['target']:g}" if row["target"] else "",
        f"{row['textbook']:.1f}x" if row["textbook"] else "",
        *(f"{value:.2f}" for value in (nginx, python, sql)),
        str(row["statements"] or ""),
        f"{row['p50_ms']:.1f}",
        f"{row['p99_ms']:.1f}",
        verdict,
    ]


def text(sizes: dict[str, Row]) -> str:
    """Return all tables of a run."""
    parts = []
    for size, each in sizes.items():
        parts += [f"{size} tasks; the ratio is that of CPU time to the empty view", table(each["rows"])]
        parts += [figures_table(each["figures"])] if each["figures"] else []
    return "\n\n".join([*parts, *([growth_table(sizes)] if len(sizes) > 1 else [])])


def replace_block(page: str, content: str) -> str:
    """Replace what stands between the two comments of a page."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise StackError(f"The page has no lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def figures_table(figures: list[Row]) -> str:
    rows = ([each["name"], f"{each['value']:g}", each["target"], verdict(each)] for each in figures)
    return markdown(("what", "measured", "target", ""), rows)


def verdict(figure: Row) -> str:
    return "" if figure["met"] is None else "met" if figure["met"] else "missed"


def growth_table(sizes: dict[str, Row]) -> str:
    """Compare the smallest and the largest size."""
    (small, before), *_, (large, after) = sizes.items()
    known = {(row["system"], row["name"], row["caller"]): row for row in before["rows"]}
    rows = []
    for row in after["rows"]:
        old = known.get((row["system"], row["name"], row["caller"]))
        if old and row["system"] == "tmservice":
            growth = row["p50_ms"] / old["p50_ms"]
            verdict = "met" if growth <= MAX_P50_GROWTH else "missed"
            ratios = [f"{old['ratio']:.2f}", f"{row['ratio']:.2f}", f"{growth:.2f}", verdict]
            rows.append([row["name"], row["caller"], *ratios])
    head = ("request", "caller", f"ratio at {small}", f"ratio at {large}", "p50 grew by", f"<= {MAX_P50_GROWTH}")
    return markdown(head, rows)


def comparison(old: Row, new: Row) -> str:
    """Compare the ratios to the empty view of two saved runs: milliseconds of different runs do not compare."""
    rows = []
    for size, result in new["sizes"].items():
        known = {
            (row["system"], row["name"], row["caller"]): row for row in old["sizes"].get(size, {"rows": []})["rows"]
        }
        for row in result["rows"]:
            before = known.get((row["system"], row["name"], row["caller"]))
            if before and row["system"] == "tmservice":
                change = f"{row['ratio'] / before['ratio']:.2f}"
                counts = f"{before['statements']} / {row['statements']}"
                rows.append(
                    [size, row["name"], row["caller"], f"{before['ratio']:.2f}", f"{row['ratio']:.2f}", change, counts]
                )
    return markdown(("tasks", "request", "caller", "old ratio", "new ratio", "new / old", "statements"), rows)


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def faults(rows: list[Row], tolerance: float) -> list[str]:
    """Return what --smoke must not accept. Latency depends on the machine, so it is not among it."""
    return [f"{row['name']} {row['caller']}: {text}" for row in rows for text in missed(row, tolerance)]


def errors(rows: list[Row]) -> list[str]:
    return [f"{row['system']} {row['name']} {row['caller']}: {row['errors']}" for row in rows if row["errors"]]
