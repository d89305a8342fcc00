"""A docker compose project of this checkout and its containers."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.bootstrap import ROOT
from stack.console import StackError, check_output


@dataclass(frozen=True, slots=True)
class Container:
    id: str
    service: str
    image: str  # ID
    config_hash: str
    address: str  # in the project's network, while it runs
    state: Mapping[str, Any]

    @property
    def is_healthy(self) -> bool:
        return bool(self.state["Status"] == "running" and self.state.get("Health", {}).get("Status") == "healthy")

    @property
    def has_succeeded(self) -> bool:
        return bool(self.state["Status"] == "exited" and self.state["ExitCode"] == 0)

    @property
    def has_failed(self) -> bool:
        health = self.state.get("Health", {}).get("Status")
        return self.state["Status"] != "running" or health == "unhealthy" or self.state["RestartCount"] > 0


@dataclass
class Project:
    """`options` are global options of docker compose, such as --project-name; `folder` holds its file."""

    options: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    folder: Path = ROOT

    def compose(self, *arguments: str) -> str:
        return run("docker", "compose", *self.options, *arguments, folder=self.folder, environment=self.environment)

    def add(self, service: str) -> Container:
        """Create one more container of a service without starting it or touching others.

        `up --no-deps` would make compose forget the dependencies and see a change next time.
        """
        # Include dependencies: compose would scale each of them down to one.
        before = self.containers(*self.with_dependencies(service))
        counts = Counter(container.service for container in before)
        counts[service] += 1
        scales = [word for name, count in counts.items() for word in ("--scale", f"{name}={count}")]
        self.compose("create", "--no-build", "--no-recreate", *scales, service)
        known = {container.id for container in before}
        (new,) = (container for container in self.containers(service) if container.id not in known)
        return new

    def with_dependencies(self, service: str) -> set[str]:
        """Return the service and what it depends on."""
        services = json.loads(self.compose("config", "--format", "json"))["services"]
        needed, found = set(), {service}
        while found:
            needed |= found
            found = {name for each in found for name in services[each].get("depends_on", {})} - needed
        return needed

    def containers(self, *services: str) -> list[Container]:
        """Return all containers of these services, stopped ones too, oldest first."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        return inspect(*ids) if ids else []

    def desired(self) -> dict[str, tuple[str, str]]:
        """Return, for each service, the image ID and configuration hash of a new container."""
        services = json.loads(self.compose("config", "--format", "json"))["services"]
        hashes = dict(line.split() for line in self.compose("config", "--hash", "*").splitlines())
        return {name: (image_id(service["image"]), hashes[name]) for name, service in services.items()}


def inspect(*ids: str) -> list[Container]:
    found = json.loads(run("docker", "inspect", *ids))
    return [container(each) for each in sorted(found, key=lambda each: each["Created"])]


def container(found: dict[str, Any]) -> Container:
    labels = found["Config"]["Labels"]
    return Container(
        id=found["Id"],
        service=labels["com.docker.compose.service"],
        image=found["Image"],
        config_hash=labels["com.docker.compose.config-hash"],
        address="".join(network["IPAddress"] for network in found["NetworkSettings"]["Networks"].values()),
        state=found["State"] | {"RestartCount": found["RestartCount"]},
    )


def image_id(name: str) -> str:
    """Return the ID of an image, or "" if it does not exist locally."""
    return run("docker", "images", "--no-trunc", "--quiet", name).partition("\n")[0]


def logs(container_id: str, *, tail: int) -> str:
    """Return the last lines of a container's standard output and standard error."""
    command = ["docker", "logs", "--tail", str(tail), container_id]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def run(program: str, *arguments: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Return the output of a program; raise StackError with its error output if it fails."""
    path = shutil.which(program)
    if path is None:
        raise StackError(f"{program} is not installed.")
    return check_output(
        [path, *arguments],
        message=lambda errors: f"{program} {' '.join(arguments)} failed: {errors.strip()[-2000:]}",
        cwd=folder,
        env=environment,
    )
