import pytest

from chassis.testing import squawk

LAST_UNCHECKED = {"accounts": 11, "chassis": 2}  # written before there was a release


@pytest.mark.django_db(transaction=True)  # concurrent operations refuse to be inside one
def test_new_migrations_lock_nothing_for_long():
    assert squawk.complaints_about_migrations(last_unchecked=LAST_UNCHECKED) == {}


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE accounts_user ADD COLUMN nickname text NOT NULL;",
        "CREATE INDEX nickname ON accounts_user (username);",
        "ALTER TABLE accounts_user DROP COLUMN email;",
        "ALTER TABLE accounts_user RENAME COLUMN email TO address;",
    ],
)
def test_a_migration_that_locks_or_breaks_is_refused(sql):
    assert squawk.complaints(sql)


def test_a_migration_that_only_adds_is_fine():
    assert squawk.complaints("ALTER TABLE accounts_user ADD COLUMN nickname text NULL;") == ""
