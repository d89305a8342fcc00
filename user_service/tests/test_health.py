import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from chassis.ops import checks

LIVE, READY = "/user/health/live/", "/user/health/ready/"


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    """Resets the cached result of the migration check."""
    monkeypatch.setattr(checks, "SCHEMA", checks.Schema())


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}], ids=str)
def test_ready_when_the_database_is_migrated(client, headers):
    answer = client.get(READY, headers=headers)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_liveness_does_not_query_the_database(client):
    answer = client.get(LIVE)

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_an_unapplied_migration_is_not_ready(client):
    MigrationRecorder(connection).migration_qs.filter(app="accounts").latest("id").delete()

    answer = client.get(READY)

    assert answer.status_code == 503
    assert "accounts.0" in answer.json()["detail"]
    assert "migrate" in answer.json()["detail"]


@pytest.mark.django_db(transaction=True)
def test_without_a_database_it_is_alive_but_not_ready(client, monkeypatch):
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")

    ready, live = client.get(READY), client.get(LIVE)

    assert (ready.status_code, live.status_code) == (503, 200)
    assert ready.json()["detail"] == "The database cannot be reached."
