"""scripts/run on machines with problems: each is reported in one sentence."""

import os
import resource
import socket
import subprocess
import sys

import pytest

from stack import ports
from stack.console import StackError
from stack.startup import error_text
from tests.local_stack import HANG_SECONDS, LocalStack

SMALL_DISK = 'mount -t tmpfs -o size=16m,mode=711 tmpfs "$TMSERVICE_STATE_DIR"'
ONLY_IPV6 = 'mount --bind "$TMSERVICE_STATE_DIR/hosts" /etc/hosts'


def may_unshare(kind):
    """Return whether unshare works: for root outside most containers."""
    return os.geteuid() == 0 and subprocess.run(["unshare", kind, "true"], capture_output=True).returncode == 0


def run(stack, *, unshare="", first="true", **options):
    """Run scripts/run --detach, optionally in a new namespace after the command `first`."""
    command = ["sh", "-ec", f'{first}; exec "$0" "$@"', sys.executable, stack.root / "scripts" / "run", "--detach"]
    errors = stack.folder.with_suffix(".errors")
    with errors.open("w+") as stream:
        done = subprocess.run(
            ["unshare", unshare, *command] if unshare else command,
            env=stack.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            timeout=HANG_SECONDS,
            **options,
        )
    text = errors.read_text()
    errors.unlink()
    return done.returncode, text


def test_a_full_disk_is_reported(own_stack):
    if may_unshare("--mount"):
        status, message = run(own_stack, unshare="--mount", first=SMALL_DISK)
        why = "No space left on device"
    else:  # the WAL of the database is larger than this
        status, message = run(own_stack, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)))
        why = "File too large"

    assert status == 1
    assert message.startswith("scripts/run: PostgreSQL's initdb failed: could not write to file ")
    assert message.endswith(f": {why}\n")
    assert message.count("\n") == 1
    assert not list(own_stack.folder.glob("postgres*"))


def test_a_disk_that_fills_up_later_is_reported():
    errors = (
        "Traceback\n  File x\ndjango.db.utils.OperationalError: could not extend file: No space left on device\nHINT: x"
    )

    assert error_text(errors) == "The database failed: could not extend file: No space left on device."
    assert error_text("CommandError: No.") == "No."


def test_a_file_size_limit_is_reported(own_stack):
    status, message = run(own_stack, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))

    assert (status, message) == (1, "scripts/run: The state folder cannot be written: File too large.\n")


def test_an_unwritable_state_folder_is_reported(own_stack):
    place = own_stack.folder / "file"
    place.touch(0o711)

    refused = LocalStack(folder=place / "below").run("--detach")

    sentence_ = f"{place / 'below'} cannot be written: Not a directory; TMSERVICE_STATE_DIR chooses another folder."
    assert (refused.returncode, refused.stderr) == (1, f"scripts/run: {sentence_}\n")


def test_a_missing_ipv4_loopback_is_reported(own_stack, monkeypatch):
    def refused(address, **_):
        raise OSError(99, "Cannot assign requested address")

    if may_unshare("--net"):  # loopback is down in it
        status, message = run(own_stack, unshare="--net")
        assert status == 1
        assert message.startswith("scripts/run: The programs cannot listen on 127.0.0.1 and call each other there: ")
        assert message.count("\n") == 1

    monkeypatch.setattr(socket, "create_server", refused)
    for choose in (ports.choose_ports, lambda: ports.free_ports(1)):
        with pytest.raises(StackError, match="Cannot assign requested address"):
            choose()


@pytest.mark.slow
def test_the_stack_starts_with_an_ipv6_only_localhost(own_stack, monkeypatch):
    if ports.has_ipv6() and may_unshare("--mount"):
        (own_stack.folder / "hosts").write_text("::1 localhost\n")
        status, message = run(own_stack, unshare="--mount", first=ONLY_IPV6)
        assert (status, message) == (0, "")
        assert (own_stack.folder / "address").read_text() == own_stack.url
        with socket.create_connection(("::1", own_stack.port), timeout=HANG_SECONDS) as connection:
            connection.sendall(b"GET /user/health/ready/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(socket.AF_INET6, 1, 6, "", ("::1", 0, 0, 0))])
    monkeypatch.setattr(ports, "has_ipv6", lambda: False)
    assert ports.Ports(8080, 1, 2, 3).public_url == "http://127.0.0.1:8080"
