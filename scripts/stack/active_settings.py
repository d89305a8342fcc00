"""The settings that the running programs were started with, and which of those in .env and the environment differ."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

import psutil

from chassis.ops import env
from chassis.ops.findings import Finding, ok, unsure, wrong
from stack import programs, settings, startup
from stack.bootstrap import ROOT
from stack.console import StackError
from stack.orphans import running
from stack.ports import Ports, chosen_address
from stack.state import State

STACK_SETTINGS = {"GATEWAY_BIND", "GATEWAY_PORT", "TMSERVICE_STATE_DIR", "TMSERVICE_ENV_FILE"}
FIRST_ADMIN_SETTINGS = {"ADMIN_USERNAME", "ADMIN_EMAIL"}  # read once; the banner and the user service speak of them


def environment(state: State, program: str) -> Mapping[str, str]:
    """Return what a program was started with; where it does not run, what it will be started with."""
    process = running(state, program)
    try:
        found = process.environ() if process else {}
    except psutil.Error:  # it has just ended, or is somebody else's
        found = {}
    return found or programs.read(state, program).environment


def compare(state: State, ports: Ports) -> Finding:
    try:
        now = settings.for_services(state, ports)
        startup.validate_settings(now)
        differing = changed(state, ports, now)
        place = chosen_address()
    except (StackError, env.SettingError) as error:
        return wrong(f"what runs goes on with its settings, but scripts/restart would refuse those of now: {error}")
    remedies = []
    if differing:
        remedies.append(f"other settings than those of now ({'; '.join(differing)}); scripts/restart takes these up")
    chosen = zip(("GATEWAY_BIND", "GATEWAY_PORT"), place, (ports.bind, ports.gateway), strict=True)
    remedies += [
        f"another {name} than that of now; scripts/stop and scripts/run take it up"
        for name, wanted, current in chosen
        if wanted != current
    ]
    if remedies:
        return unsure(f"the stack runs with {', and with '.join(remedies)}")
    return ok("the stack runs with the settings of now")


def changed(state: State, ports: Ports, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Name the settings that are not in force yet, those that differ in the same programs together."""
    programs_of = defaultdict(list)
    for program, expected in expected_environments(ports, now):
        # Nginx was started once; what it read last was made of the settings that are written beside it.
        current = programs.read(state, program).environment if program == "gateway" else environment(state, program)
        for name in names():
            if current.get(name, "") != expected.get(name, ""):
                programs_of[name].append(program)
    names_in = defaultdict(list)
    for name, differing in sorted(programs_of.items()):
        names_in[", ".join(differing)].append(name)
    return [f"{', '.join(found)} in {places}" for places, found in names_in.items()]


def expected_environments(
    ports: Ports, now: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    for service, own in now.items():
        whole = settings.full_environment(service, own)
        yield service.replace("_", "-"), whole
        yield f"{service.removesuffix('_service')}-worker", whole
    yield "gateway", startup.local_gateway_settings(ports)


def names() -> set[str]:
    """Return the names of all settings of programs: .env.example has every one that the code reads."""
    sample = re.findall("^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return set(sample) - STACK_SETTINGS - FIRST_ADMIN_SETTINGS - set(env.PRIVILEGED)
