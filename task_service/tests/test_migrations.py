import pytest

from chassis.testing import squawk

LAST_UNCHECKED = {"chassis": 2, "directory": 3, "notifications": 3, "tasks": 7}  # written before there was a release


@pytest.mark.django_db(transaction=True)  # concurrent operations refuse to be inside one
def test_new_migrations_lock_nothing_for_long():
    assert squawk.complaints_about_migrations(last_unchecked=LAST_UNCHECKED) == {}
