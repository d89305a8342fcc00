"""Port allocation for concurrent stacks and tests, and the gateway's bind address."""

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from chassis.ops.env import SettingError
from stack.console import StackError
from stack.ports import Ports, choose_ports, free_ports

DRAW = "from stack.ports import free_ports; print(*(port for _ in range(50) for port in free_ports(3)))"


def test_concurrent_calls_get_different_ports():
    asking = [subprocess.Popen([sys.executable, "-c", DRAW], stdout=subprocess.PIPE) for _ in range(4)]

    ports = [port for each in asking for port in each.communicate()[0].split()]

    assert len(ports) == len(set(ports)) == 4 * 150


def test_ports_are_outside_the_ephemeral_range():
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()

    assert max(free_ports(3)) < int(lowest)


def answers(port, address):
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=5):
        return True
    return False


NOT_AN_ADDRESS = "must be an IP address of this machine, such as 0.0.0.0 for all of them, not"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("GATEWAY_PORT", "http", "must be a whole number from 1 to 65535, not 'http'."),
        ("GATEWAY_BIND", "everywhere", f"{NOT_AN_ADDRESS} 'everywhere'."),
        ("GATEWAY_BIND", "localhost", f"{NOT_AN_ADDRESS} 'localhost'."),
        ("GATEWAY_BIND", "127.0.0.1:80", f"{NOT_AN_ADDRESS} '127.0.0.1:80'."),
        ("GATEWAY_BIND", "192.0.2.1", "is 192.0.2.1, which is not an address of this machine."),
        ("GATEWAY_BIND", "2001:db8::1", "is 2001:db8::1, which is not an address of this machine."),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(monkeypatch, name, value, reason):
    monkeypatch.setenv("GATEWAY_PORT", str(free_ports(1)[0]))
    monkeypatch.setenv(name, value)

    with pytest.raises((StackError, SettingError)) as refused:
        choose_ports()

    assert str(refused.value) == f"{name} {reason}"


@pytest.mark.parametrize(
    ("bind", "listen", "url"),
    [
        ("127.0.0.1", "127.0.0.1:80", "http://localhost:80"),
        ("0.0.0.0", "0.0.0.0:80", "http://localhost:80"),
        ("::1", "[::1]:80", "http://[::1]:80"),
        ("::", "[::]:80", "http://[::1]:80"),
        ("192.0.2.1", "192.0.2.1:80", "http://192.0.2.1:80"),
    ],
)
def test_the_gateway_listens_on_the_chosen_address(bind, listen, url):
    ports = Ports(80, 1, 2, 3, bind=bind)

    assert (ports.gateway_listen.split(",")[0], ports.public_url) == (listen, url)


@pytest.mark.slow
def test_the_port_is_only_on_the_chosen_address(own_stack):
    banner = own_stack.start(GATEWAY_BIND="127.0.0.77")

    assert f"TMService is up at http://127.0.0.77:{own_stack.port}\n" in banner
    assert requests.get(f"http://127.0.0.77:{own_stack.port}/task/health/ready/", timeout=30).status_code == 200
    assert not answers(own_stack.port, "127.0.0.1")
