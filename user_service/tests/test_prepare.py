"""manage.py prepare and check_worker, which containers and platforms run."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts.models import User
from chassis.management.commands import prepare
from chassis.models import Heartbeat
from chassis.testing.threads import start_together, wait_for_lock_waiter
from chassis.worker.jobs import beat

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _admin(monkeypatch):
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
    monkeypatch.setattr(prepare, "PAUSE_SECONDS", 0.02)


@pytest.fixture
def other_process(transactional_db):
    """Another process that prepares, on its own connection."""
    theirs = connection.copy()
    theirs.set_autocommit(False)
    with theirs.cursor() as cursor:
        cursor.execute(prepare.LOCK)
    yield theirs
    theirs.close()


@pytest.mark.django_db(transaction=True)
class TestPrepare:
    def test_it_migrates_and_creates_the_first_admin_once(self):
        call_command("prepare")
        call_command("prepare")

        (admin,) = User.objects.active_admins()
        assert admin.check_password(PASSWORD)

    def test_without_a_password_no_admin_is_created(self, monkeypatch):
        monkeypatch.delenv("ADMIN_PASSWORD")

        call_command("prepare")

        assert not User.objects.exists()

    def test_one_process_prepares_and_the_others_wait(self, other_process):
        with ThreadPoolExecutor(1) as pool:
            (waiting,) = start_together(pool, [lambda: call_command("prepare")])
            wait_for_lock_waiter()
            assert not User.objects.exists()

            other_process.close()
            waiting.result(60)

        assert User.objects.active_admins().count() == 1

    def test_waiting_times_out(self, other_process, monkeypatch):
        monkeypatch.setattr(prepare, "MAX_WAIT_SECONDS", 0.1)

        with pytest.raises(CommandError, match="cannot be reached, or another migration is still running"):
            call_command("prepare")

        assert not User.objects.exists()


@pytest.mark.django_db
def test_a_worker_touches_the_heartbeat_file(tmp_path, settings):
    settings.HEARTBEAT_PATH = str(tmp_path / "heartbeat")

    beat()

    assert (tmp_path / "heartbeat").exists()
    assert Heartbeat.objects.age_seconds() < 60


@pytest.mark.django_db
class TestCheckWorker:
    def test_a_worker_with_a_recent_heartbeat_is_alive(self):
        Heartbeat.objects.beat()

        call_command("check_worker")

    @pytest.mark.parametrize("seconds", [None, 61])
    def test_a_silent_or_missing_worker_is_not_alive(self, seconds):
        if seconds:
            Heartbeat.objects.create(beat_at=timezone.now() - timedelta(seconds=seconds))

        with pytest.raises(CommandError, match="No worker was active in the last 60 seconds"):
            call_command("check_worker")
