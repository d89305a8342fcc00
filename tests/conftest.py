import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_stack import LocalStack, new_folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: scripts/test runs it only with --all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "RACE_ROUNDS" in os.environ:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A running stack, shared by tests that do not stop or break it."""
    running = LocalStack()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for the temporary files of a script that creates a stack."""
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_stack() -> Iterator[LocalStack]:
    """A stack that the test starts and may break."""
    mine = LocalStack()
    yield mine
    mine.remove()
