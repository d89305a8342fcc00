import pytest


@pytest.mark.django_db
def test_ready_when_the_database_is_migrated(client):
    answer = client.get("/user/health/ready/")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
