import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_stack import LocalStack, new_folder


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
