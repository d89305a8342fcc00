"""A pytest plugin: each test runs once, with its first parameters."""

import pytest


@pytest.hookimpl(trylast=True)  # after -m and -k, so that the first of what they leave runs
def pytest_collection_modifyitems(config, items):
    first = {}
    for item in items:
        first.setdefault(item.nodeid.partition("[")[0], item)
    kept = set(first.values())
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = first.values()
