"""Bar charts as SVG."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LABEL, BAR, GAP, HEAD = 760, 190, 16, 6, 64
COLOURS = ("#0b5cad", "#e0912f", "#5a9e6f")
Bars = list[tuple[str, tuple[float | None, ...]]]  # labels, and a value for each series


def write(folder: Path, sizes: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = max((each["rows"] for each in sizes.values()), key=len)  # those with the textbook stack
    beside = "CPU time per request, in empty Django views"
    (folder / "cost.svg").write_text(chart(beside, ("TMService", "textbook stack"), cost_bars(rows)))
    if len(sizes) > 1:
        (folder / "size.svg").write_text(chart(f"{beside}, by number of tasks", list(sizes), size_bars(sizes)))


def cost_bars(rows: list[dict[str, Any]]) -> Bars:
    textbook = {(row["name"], row["caller"]): row["ratio"] for row in rows if row["system"] == "textbook"}
    own = (row for row in rows if row["system"] == "tmservice")
    return [(label(row), (row["ratio"], textbook.get((row["name"], row["caller"])))) for row in own]


def size_bars(sizes: dict[str, Any]) -> Bars:
    ratios = [
        {label(row): row["ratio"] for row in each["rows"] if row["system"] == "tmservice"} for each in sizes.values()
    ]
    return [(name, tuple(each.get(name) for each in ratios)) for name in ratios[-1]]


def label(row: dict[str, Any]) -> str:
    return f"{row['name']} {row['caller']}".strip()


def chart(title: str, series: Iterable[str], bars: Bars) -> str:
    """Draw a horizontal bar for each value, on one scale."""
    names = list(series)
    longest = max((value for _, values in bars for value in values if value), default=1)
    scale = (WIDTH - LABEL - 60) / longest
    group = BAR * len(names) + GAP
    shapes = [text(LABEL, 20, title, weight="bold")]
    for number, name in enumerate(names):
        shapes += [bar(LABEL + 130 * number, 30, 12, number), text(LABEL + 130 * number + 18, 41, name)]
    for position, (name, values) in enumerate(bars):
        top = HEAD + position * group
        shapes.append(text(LABEL - 8, top + 13, name, anchor="end"))
        for number, value in enumerate(values):
            if value is not None:
                at = top + number * BAR
                shapes += [
                    bar(LABEL, at, value * scale, number),
                    text(LABEL + value * scale + 5, at + 12, f"{value:.1f}"),
                ]
    size = f'width="{WIDTH}" height="{HEAD + len(bars) * group}"'
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', background, *shapes, "</svg>\n"])


def bar(x: float, y: float, width: float, series: int) -> str:
    colour = COLOURS[series % len(COLOURS)]
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="{BAR - 4}" fill="{colour}"/>'


def text(x: float, y: float, content: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(content)}</text>'
