from collections.abc import Iterator

import pytest

from tests.local_stack import LocalStack


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
def own_stack() -> Iterator[LocalStack]:
    """A stack that a test may break; it starts it itself."""
    mine = LocalStack()
    yield mine
    mine.remove()
