"""Compares the settings of the running programs with the current ones in .env and the environment."""

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
from stack.state import StateFolder

STACK_SETTINGS = {"GATEWAY_BIND", "GATEWAY_PORT", "TMSERVICE_STATE_DIR", "TMSERVICE_ENV_FILE"}
FIRST_ADMIN_SETTINGS = {"ADMIN_USERNAME", "ADMIN_EMAIL"}  # read only once; the banner and the user service mention them


def environment(state: StateFolder, program: str) -> Mapping[str, str]:
    """Return the environment of a program: of its process, or of its next start if it is not running."""
    process = running(state, program)
    try:
        found = process.environ() if process else {}
    except psutil.Error:  # it has just ended or belongs to another user
        found = {}
    return found or programs.read(state, program).environment


def compare(state: StateFolder, ports: Ports) -> Finding:
    try:
        now = settings.for_services(state, ports)
        startup.validate_settings(now)
        differing = changed(state, ports, now)
        place = chosen_address()
    except (StackError, env.SettingError) as error:
        return wrong(
            f"the running programs keep their settings, but scripts/restart would refuse the current ones: {error}"
        )
    remedies = []
    if differing:
        remedies.append(f"outdated settings ({'; '.join(differing)}); scripts/restart applies the current ones")
    chosen = zip(("GATEWAY_BIND", "GATEWAY_PORT"), place, (ports.bind, ports.gateway), strict=True)
    remedies += [
        f"an outdated {name}; scripts/stop and scripts/run apply the current one"
        for name, wanted, current in chosen
        if wanted != current
    ]
    if remedies:
        return unsure(f"the stack runs with {', and with '.join(remedies)}")
    return ok("the stack runs with the current settings")


def changed(state: StateFolder, ports: Ports, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the settings that are not active yet, grouped by program."""
    programs_by_setting = defaultdict(list)
    for program, expected in expected_environments(ports, now):
        # Nginx reloads its configuration: programs.json has the settings of the last one.
        current = programs.read(state, program).environment if program == "gateway" else environment(state, program)
        for name in names():
            if current.get(name, "") != expected.get(name, ""):
                programs_by_setting[name].append(program)
    settings_by_programs = defaultdict(list)
    for name, differing in sorted(programs_by_setting.items()):
        settings_by_programs[", ".join(differing)].append(name)
    return [f"{', '.join(found)} in {names_}" for names_, found in settings_by_programs.items()]


def expected_environments(
    ports: Ports, now: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    for service, own in now.items():
        whole = settings.full_environment(service, own)
        yield service.replace("_", "-"), whole
        yield f"{service.removesuffix('_service')}-worker", whole
    yield "gateway", startup.local_gateway_settings(ports)


def names() -> set[str]:
    """Return the names of all settings of programs; .env.example lists every setting."""
    sample = re.findall("^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return set(sample) - STACK_SETTINGS - FIRST_ADMIN_SETTINGS - set(env.PRIVILEGED)
