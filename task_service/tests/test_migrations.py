import pytest

from chassis.testing import squawk

LAST_UNCHECKED = {"chassis": 2, "directory": 3, "notifications": 3, "tasks": 7}  # written before the first release


@pytest.mark.django_db(transaction=True)  # concurrent operations cannot run in a transaction
def test_new_migrations_hold_no_long_locks():
    assert squawk.complaints_about_migrations(last_unchecked=LAST_UNCHECKED) == {}
