import os
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core import mail as post
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts import jobs
from accounts.models import Mail, PasswordToken, Session

SERVICE = Path(__file__).resolve().parent.parent
# Each run of a job closes old connections, even inside a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    """The folder of mail files; does not exist yet."""
    settings.EMAIL_FILE_PATH = str(tmp_path / "state" / "mail")
    return Path(settings.EMAIL_FILE_PATH)


def plan(user):
    return Mail.objects.plan(Mail.Kind.PASSWORD_RESET, user.email)


def database_url():
    values = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items() if name.isupper()}
    return "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**values)


def worker(folder, *arguments, **environment):
    """Start the worker as a process, on the database of this test."""
    values = {"DATABASE_URL": database_url(), "MAIL_FOLDER": str(folder), "EMAIL_URL": "", **environment}
    argv = [sys.executable, "manage.py", "run_worker", *arguments]
    return subprocess.Popen(argv, cwd=SERVICE, env=os.environ | values, stderr=subprocess.PIPE, text=True)


def wait_until(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


def others_may_read(path):
    """Return whether others can read a file, by the modes of the file and its folder."""
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077) and bool(stat.S_IMODE(path.parent.stat().st_mode) & 0o011)


def test_once_runs_every_job_to_its_end(alice, person):
    for number in range(25):
        plan(person(f"Eve{number}"))
    Session.objects.open(alice)
    Session.objects.update(expires_at=timezone.now() - timedelta(days=1))

    call_command("run_worker", once=True)

    assert len(post.outbox) == 25
    assert not Session.objects.exists()


def test_a_failed_job_is_reported_and_the_others_run(alice, monkeypatch, caplog):
    def fail():
        raise RuntimeError("no disk")

    monkeypatch.setattr(jobs, "deliver_mails", fail)
    PasswordToken.objects.issue(alice, Mail.Kind.PASSWORD_RESET)
    PasswordToken.objects.update(expires_at=timezone.now())

    with pytest.raises(CommandError, match=r"^These jobs failed; see the log: mails\.$"):
        call_command("run_worker", once=True)

    assert "RuntimeError: no disk" in caplog.text
    assert not PasswordToken.objects.exists()


@pytest.mark.parametrize("mode", [None, 0o755])
def test_mail_files_are_readable_only_by_their_owner(alice, folder, settings, mode):
    """The state folder of scripts/run or a volume may exist with the default mode."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    if mode:
        folder.mkdir(parents=True)
        folder.chmod(mode)
    plan(alice)

    call_command("run_worker", once=True)

    (file,) = folder.iterdir()
    assert '"token": "' in file.read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == (mode or 0o700)
    assert not others_may_read(file)


def test_the_jobs_have_their_intervals():
    assert {(job.name, job.every_seconds) for job in jobs.jobs()} == {("mails", 2), ("cleaning", 3600)}


def test_the_worker_sends_mails_and_stops_on_a_signal(alice, bob, folder):
    plan(alice)
    process = worker(folder)
    try:
        wait_until(lambda: Mail.objects.filter(state="sent").count() == 1, process)
        plan(bob)  # the worker keeps polling
        wait_until(lambda: Mail.objects.filter(state="sent").count() == 2, process)

        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()

    text = "".join(file.read_text() for file in folder.iterdir())
    assert process.returncode == 0
    assert {f"To: {name}@example.com" for name in ("alice", "bob")} <= set(text.splitlines())
    assert not any(others_may_read(file) for file in folder.iterdir())
    assert text.count('"token": "') == 2
    assert not [words for words in ("did not finish in time", "token", "Traceback") if words in log]


def test_a_mail_server_that_is_down_fails_no_job(alice, folder):
    plan(alice)

    process = worker(folder, "--once", EMAIL_URL="smtp://tm:hunter2@127.0.0.1:1")
    _, log = process.communicate(timeout=60)

    mail = Mail.objects.get()
    assert (process.returncode, mail.state, mail.attempts) == (0, "planned", 1)
    assert "hunter2" not in log + mail.reason
    assert not folder.exists()
