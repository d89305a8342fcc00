"""A docker compose project of this checkout, and what the engine says of its containers."""

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
    image: str  # its id
    config_hash: str
    address: str  # in the network of the project, while it runs
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
    """`options` are those of docker compose itself, such as --project-name; `folder` is where its file is."""

    options: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    folder: Path = ROOT

    def compose(self, *arguments: str) -> str:
        return run("docker", "compose", *self.options, *arguments, folder=self.folder, environment=self.environment)

    def add(self, service: str) -> Container:
        """Create one more container of a service, without starting it or touching any other.

        Not by `up --no-deps`: compose then forgets what the service depends on, and takes that for a change next time.
        """
        # Those that it depends on too: compose would scale each of them down to one.
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
        """Return all of these services, also those that have ended, the oldest first."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        return inspect(*ids) if ids else []

    def desired(self) -> dict[str, tuple[str, str]]:
        """Return of each service the image and the configuration that a new container would have."""
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
    """Return the id of an image, or nothing where the engine does not have it yet."""
    return run("docker", "images", "--no-trunc", "--quiet", name).partition("\n")[0]


def logs(container_id: str, *, tail: int) -> str:
    """Return the last lines of a container, of its standard output and its standard error."""
    command = ["docker", "logs", "--tail", str(tail), container_id]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


def run(program: str, *arguments: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Return what it prints, or refuse with what it has to say."""
    path = shutil.which(program)
    if path is None:
        raise StackError(f"There is no {program} on this machine.")
    return check_output(
        [path, *arguments],
        message=lambda errors: f"{program} {' '.join(arguments)} failed: {errors.strip()[-2000:]}",
        cwd=folder,
        env=environment,
    )
