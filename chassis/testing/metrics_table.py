"""The table of metrics in docs/monitoring.md, and the metrics in a response of /metrics/."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
PART_LABELS = {"le"}  # of histogram buckets


def documented(service):
    """Return the labels of each metric of a service, e.g. {"tmservice_limited_total": {"scope"}}."""
    section = PAGE.read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (both|user|task) \| ([^|]*)\| [^|]+ \| [^|]*\|$", section, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `", section, re.MULTILINE))
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, of, labels in rows if of in ("both", service)}


def emitted(text):
    """Return the same for a response. A metric with labels must have been counted once."""
    families = list(text_string_to_metric_families(text))
    return {
        family.name + "_total" * (family.type == "counter"): set().union(*(each.labels for each in family.samples))
        - PART_LABELS
        for family in families
    }
