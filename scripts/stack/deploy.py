"""scripts/deploy: replace the containers whose image or settings have changed, without losing a request.

A new container starts next to the old ones; an old one stops when the new one is healthy and the gateway routes to it.
Uses only the standard library.
"""

import argparse
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from stack.compose import Container, Project, inspect, logs, run
from stack.console import StackError, exit_on_error, say, step

SETUP = ("secrets", "roles", "user_migrations", "task_migrations")
# The user service first: the task service may need its new features.
ROLLED = ("user_service", "task_service", "worker")
# How long the gateway may take to see DNS changes: `resolver ... valid=2s` in its template, plus the query.
GATEWAY_SECONDS = 4
RELOAD_SECONDS = 1  # of Nginx
HEALTHY_SECONDS = 300
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Deployment:
    project: Project
    desired: Mapping[str, tuple[str, str]]
    replaces_all: bool = False

    def is_current(self, container: Container) -> bool:
        return not self.replaces_all and self.is_unchanged(container)

    def is_unchanged(self, container: Container) -> bool:
        return (container.image, container.config_hash) == self.desired[container.service]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/deploy",
        description="Build the images of this checkout, and replace the containers of a running docker compose "
        "project whose image or settings have changed, one by one and without losing a request.",
    )
    parser.add_argument(
        "--scale", action="append", default=[], metavar="SERVICE=N", type=replicas, help="number of containers to run"
    )
    parser.add_argument("--all", action="store_true", help="replace the services even if nothing has changed")
    options = parser.parse_args()
    stopped = "Stopped. Containers replaced so far stay; run it again for the rest."
    with exit_on_error("deploy", OSError, stopped=stopped):
        deploy(Project(), scale=dict(options.scale), replace_all=options.all)


def replicas(text: str) -> tuple[str, int]:
    service, _, number = text.partition("=")
    if service not in ROLLED or not number.isdecimal() or not 1 <= int(number) <= 100:
        raise argparse.ArgumentTypeError(f"use one of {', '.join(ROLLED)}, and a number from 1, as in task_service=3")
    return service, int(number)


def deploy(project: Project, *, scale: Mapping[str, int] | None = None, replace_all: bool = False) -> None:
    with deploy_lock(project):
        if not any(container.is_healthy for container in project.containers("gateway")):
            raise StackError("No healthy gateway is running; start the stack with docker compose up --wait.")
        with step("Building the images"):
            project.compose("build")
        deployment = Deployment(project, project.desired(), replace_all)
        for service in SETUP:
            set_up(deployment, service)
        replace_gateway(deployment)  # first: an older gateway does not support routing
        for service in ROLLED:
            roll(deployment, service, (scale or {}).get(service))
        if not all(map(deployment.is_unchanged, project.containers("database"))):
            say("The database has changed too but was not replaced: docker compose up --wait does it, with downtime.")
    say("Deployed.")


@contextmanager
def deploy_lock(project: Project) -> Iterator[None]:
    folder = os.open(project.folder, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise StackError("A deployment of this checkout is already running.") from error
    finally:
        os.close(folder)


def set_up(deployment: Deployment, service: str) -> None:
    """Run a one-off container, such as migrations, if it has changed or failed last time."""
    before = deployment.project.containers(service)
    if any(container.has_succeeded and deployment.is_unchanged(container) for container in before):
        return
    with step(f"Running {service}"), remove_on_failure(deployment.project.add(service)) as new:
        run("docker", "start", new.id)
        if (exit_status := run("docker", "wait", new.id).strip()) != "0":
            raise StackError(f"{service} exited with {exit_status}; nothing was replaced: {last_lines(new)}")
        for container in before:
            run("docker", "rm", "--force", container.id)


@contextmanager
def remove_on_failure(container: Container) -> Iterator[Container]:
    try:
        yield container
    except BaseException:
        run("docker", "rm", "--force", container.id)
        raise


def roll(deployment: Deployment, service: str, count: int | None) -> None:
    """Start new containers one by one and stop an old one for each."""
    project = deployment.project
    running = project.containers(service)
    old = [container for container in running if not deployment.is_current(container)]
    current = [container for container in running if container not in old]
    count = count or len(running)
    with routing(project, service) as route:
        while len(current) < count or old:
            if len(current) < count:
                with step(f"Starting a container of {service}"):
                    current.append(start(project, service))
            if old and len(current) + len(old) > count:
                with step(f"Stopping an old container of {service}"):
                    leaving = old.pop(0)
                    route([*current, *old])
                    end(leaving)
        for container in current[count:]:
            with step(f"Stopping a container of {service}"):
                route(current[:count])
                end(container)


@contextmanager
def routing(project: Project, service: str) -> Iterator[Callable[[list[Container]], None]]:
    """Yield a function that makes the gateway send requests only to the given containers, until the block ends.

    DNS still returns the address of a stopped container for seconds.
    """
    used = False

    def route(containers: list[Container]) -> None:
        nonlocal used
        if service != "worker":
            used = True
            send_to(project, service, [inspect(container.id)[0].address for container in containers])

    try:
        yield route
    finally:
        if used:
            time.sleep(GATEWAY_SECONDS)
            send_to(project, service, [])


def send_to(project: Project, service: str, addresses: list[str]) -> None:
    host = service.replace("_", "-")
    project.compose("exec", "-T", "gateway", "/bin/sh", "/gateway/route.sh", host, *addresses)
    time.sleep(RELOAD_SECONDS)


def start(project: Project, service: str) -> Container:
    """Start one more container and wait until it is healthy."""
    with remove_on_failure(project.add(service)) as new:
        run("docker", "start", new.id)
        wait_until_healthy(new)
    return new


def wait_until_healthy(new: Container) -> None:
    deadline = time.monotonic() + HEALTHY_SECONDS
    while not (found := inspect(new.id)[0]).is_healthy:
        if found.has_failed or time.monotonic() > deadline:
            raise StackError(f"A new container of {found.service} did not become healthy: {last_lines(found)}")
        time.sleep(POLL_SECONDS)


def end(container: Container) -> None:
    """Stop a container after it has answered its pending requests."""
    run("docker", "stop", container.id)  # waits up to stop_grace_period
    run("docker", "rm", container.id)


def replace_gateway(deployment: Deployment) -> None:
    """Only one container can hold the port, so replacing it causes downtime: do it only on changes."""
    old = deployment.project.containers("gateway")
    if all(map(deployment.is_unchanged, old)):
        return
    ids = [container.id for container in old]
    with step("Replacing the gateway; connections are refused for a moment"):
        try:
            with remove_on_failure(deployment.project.add("gateway")) as new:
                run("docker", "stop", *ids)
                run("docker", "start", new.id)
                wait_until_healthy(new)
        except BaseException:
            run("docker", "start", *ids)
            raise
        run("docker", "rm", *ids)


def last_lines(container: Container) -> str:
    lines = logs(container.id, tail=5).strip()
    return lines or f"it is {container.state['Status']}."


if __name__ == "__main__":
    main()
