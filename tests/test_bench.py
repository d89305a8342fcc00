"""scripts/bench: a short run finds no cost far above its target; and the parts that compute, on their own."""

from xml.etree import ElementTree

import pytest

from stack.console import StackError
from tests.lab.bench import charts, report
from tests.lab.bench.load import Call, Load
from tests.lab.bench.measure import BACKGROUND, TRANSACTION, Logged, logged, percentile, spent
from tests.lab.bench.run import Slices
from tests.local_stack import leftovers, start_script

LOG = """2030-01-01 [7] LOG:  statement: BEGIN
2030-01-01 [7] LOG:  statement: SELECT 1
\tFROM tasks_task
2030-01-01 [8] LOG:  execute s_1: SELECT 2
2030-01-01 [8] LOG:  statement: EXECUTE a (1)
2030-01-01 [8] DETAIL:  prepare: PREPARE a AS SELECT
\t$1
"""


def row(name="one", system="tmservice", caller="admin", **changed):
    measured = {"cpu_ms": 2.0, "ratio": 4.0, "statements": 2, "p50_ms": 3.0, "p99_ms": 9.0, "errors": {}}
    return {"name": name, "system": system, "caller": caller, "by_kind": {"nginx": 0.5}} | measured | changed


def verdict(*rows, tolerance=1):
    return report.faults(report.with_targets(list(rows)), tolerance)


@pytest.mark.slow
def test_a_short_run_finds_no_fault_and_leaves_nothing_behind(temporary):
    bench = start_script("bench", temporary, "--smoke")
    output, _ = bench.communicate()

    assert bench.returncode == 0, output
    assert "| 304-poll | busy |" in output
    assert leftovers(temporary) == ([], [])


def test_an_unknown_case_is_refused(tmp_path):
    bench = start_script("bench", tmp_path, "--only", "earthquake")
    output, _ = bench.communicate()

    assert bench.returncode == 2
    assert "there is no case earthquake; choose from one, " in output


def test_each_target_can_be_missed():
    assert verdict(row()) == []
    assert verdict(row(ratio=4.1)) == ["one admin: 4.1 > 4 empty views"]
    assert verdict(row(statements=4)) == ["one admin: 4 > 3 statements"]
    assert verdict(row(), row(system="textbook", ratio=11.0)) == [
        "one admin: only 2.75 times as cheap as the textbook stack"
    ]
    assert verdict(row("search-rare", p50_ms=31)) == ["search-rare admin: p50 31 > 30 ms"]


def test_a_short_run_tolerates_more_but_no_statement_and_no_error():
    assert verdict(row(ratio=11.9), row("search-rare", p50_ms=3000), tolerance=3) == []
    assert verdict(row(ratio=12.1, statements=4), tolerance=3) == [
        "one admin: 12.1 > 12 empty views",
        "one admin: 4 > 3 statements",
    ]
    assert report.errors([row(), row(errors={"503": 2})]) == ["tmservice one admin: {'503': 2}"]


def test_the_slice_with_the_median_ratio_counts():
    slices = Slices(
        milliseconds=[{"nginx": 9.0}, {"nginx": 1.0, BACKGROUND: 5.0}, {"nginx": 5.0}], ratios=[9.0, 2.0, 4.0]
    )

    assert slices.milliseconds[slices.typical] == {"nginx": 5.0}


def test_cpu_time_is_summed_by_kind_with_new_processes():
    assert spent({("nginx", 1): 2.0, ("nginx", 9): 1.0}, {("nginx", 1): 2.5, ("nginx", 2): 0.25}) == {"nginx": 0.75}


def test_percentiles_are_values_that_occurred():
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0, 0.5, 0.99)] == [1.0, 2.0, 3.0]
    assert percentile([], 0.99) == 0


def test_statements_are_read_from_the_log_with_all_their_lines():
    found = list(logged(LOG))

    assert found == [
        *(Logged(7, sql) for sql in ("BEGIN", "SELECT 1\n\tFROM tasks_task")),
        *(Logged(8, "SELECT 2"), Logged(8, "EXECUTE a (1)", "PREPARE a AS SELECT\n\t$1")),
    ]
    assert [bool(TRANSACTION.match(each.sql)) for each in found] == [True, False, False, False]


def test_calls_go_on_after_some():
    first, second = Call("GET", "/1"), Call("GET", "/2", expected=304)

    assert Load(1, (first, second)).after(3).calls == (second, first)
    assert [second.is_error(304), second.is_error(200), first.is_error(201), first.is_error(0)] == [
        False,
        True,
        False,
        True,
    ]


def test_two_runs_are_compared_by_ratio():
    old, new = ({"sizes": {"1m": {"rows": [row(ratio=ratio)], "figures": []}}} for ratio in (8.0, 4.0))

    assert "| 1m | one | admin | 8.00 | 4.00 | 0.50 | 2 / 2 |" in report.comparison(old, new)


def test_the_tables_replace_the_block_of_the_page():
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"

    assert report.replace_block(page, "new") == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    with pytest.raises(StackError):
        report.replace_block("no block", "new")


def test_charts_are_well_formed_and_have_every_value(tmp_path):
    rows = [row(ratio=4.0), row(system="textbook", ratio=12.0), row("mix", ratio=5.0)]
    charts.write(tmp_path, {"10k": {"rows": rows}, "1m": {"rows": rows}})

    cost, size = ("".join(ElementTree.parse(tmp_path / name).getroot().itertext()) for name in ("cost.svg", "size.svg"))
    assert all(text in cost for text in ("one admin", "12.0", "5.0", "textbook stack"))
    assert "mix admin" in size
    assert "10k" in size
