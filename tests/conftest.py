import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_stack import LocalStack, new_folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes so long that scripts/test runs it with --all alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "RACE_ROUNDS" in os.environ:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """One running stack for all tests that leave it running."""
    running = LocalStack()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The folder for temporary files of a script that makes a stack of its own."""
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def own_stack() -> Iterator[LocalStack]:
    """A stack that a test may break; it starts it itself."""
    mine = LocalStack()
    yield mine
    mine.remove()
