"""Ports of stacks and tests that start at the same time."""

import subprocess
import sys
from pathlib import Path

from stack.ports import free_ports
from tests.local_stack import ROOT

DRAW = "from stack.ports import free_ports; print(*(port for _ in range(50) for port in free_ports(3)))"


def test_no_port_is_given_to_two_that_ask_at_once():
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", DRAW], env={"PYTHONPATH": f"{ROOT}:{ROOT}/scripts"}, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]

    ports = [port for each in asking for port in each.communicate()[0].split()]

    assert len(ports) == len(set(ports)) == 4 * 150


def test_no_outgoing_connection_can_take_one():
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()

    assert max(free_ports(3)) < int(lowest)
