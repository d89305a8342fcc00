"""scripts/try-compose: test docker-compose.yml with a real Docker engine."""

import argparse
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.bootstrap import ROOT
from stack.compose import Project, run
from stack.console import StackError, say, step, wait_until
from stack.deploy import deploy
from stack.ports import free_ports
from stack.settings import LIMITS
from tests.lab import compose_lines
from tests.lab.client import Client
from tests.lab.load import USERS, Load, VirtualUser
from tests.lab.stacks import ignore_signals, lab_command

ASKED = 60
MIN_REQUESTS = 1000
TIMEOUT_SECONDS = 60
PASSWORD = "correct horse battery staple"  # of temporary accounts


@dataclass
class ThrowawayProject(Project):
    """A temporary compose project with its own name and port. `folder` is the checkout with its files."""

    port: int = 0

    def __post_init__(self) -> None:
        self.options = ("--project-name", self.name, "--env-file", os.devnull)
        self.environment = {**os.environ, **dict.fromkeys(LIMITS, "off"), "GATEWAY_PORT": str(self.port)}

    @property
    def name(self) -> str:
        return f"tmservice-try-{self.port}"

    def up(self, *arguments: str) -> None:
        self.compose("up", "--detach", "--wait", *arguments)

    def read_secret(self, name: str) -> str:
        if "user_migrations" not in self.compose("config", "--services").split():  # an earlier commit
            return self.compose("exec", "-T", "user_service", "cat", f"/secrets/user/{name}").strip()
        once = ("run", "--rm", "--no-deps", "-T", "user_migrations")
        return self.compose(*once, "cat", f"/secrets/user-owner/{name}").strip()

    def admin(self) -> Client:
        return signed_in(self.port, "admin", self.read_secret("ADMIN_PASSWORD"))


def signed_in(port: int, username: str, password: str) -> Client:
    client = Client(port, username=username, password=password, name=username)
    client.sign_in()
    return client


def request_once(client: Client, path: str, body: Any = None) -> Any:
    """Send a request without retries and return the JSON."""
    return client.retry_until_ok("GET" if body is None else "POST", path, body, seconds=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/try-compose",
        description="Start docker-compose.yml as a separate project, use it, scale it, kill a container, deploy, stop "
        "and start it, upgrade it from an earlier commit, and remove it with its volumes. Needs Docker with compose.",
    )
    parser.add_argument("--from", dest="commit", default="HEAD^", help="the commit to upgrade from; HEAD^ by default")
    commit = parser.parse_args().commit
    with lab_command("try-compose"):
        try_all(commit)
    say("The containers work as they should.")


def try_all(commit: str) -> None:
    with project() as mine, checkout(commit) as before:
        if (before / "docker-compose.yml").is_file():
            with step(f"Starting the containers of {commit}"):
                mine.folder = before
                mine.up("--build")
            use(mine, "before")
            mine.folder = ROOT
        with step("Starting the containers of this checkout"):
            mine.up("--build")
        use(mine, "now")
        follow_the_docs(mine)
        scale_to_replicas(mine)
        kill_container(mine)
        deploy_under_load(mine)
        with step("Stopping all and starting again"):
            mine.compose("down")
            mine.up()
        kept = request_once(mine.admin(), "/task/tasks/?ordering=id")["results"]
        say(f"  tasks that are still there: {', '.join(task['title'] for task in kept)}")


def follow_the_docs(project: ThrowawayProject) -> None:
    """Run the documented commands; a restore removes later tasks, and no task ID is used twice."""
    with compose_lines.workplace(project.name, port=project.port) as work:
        with step("Comparing how compose reads .env"):
            work.compare_dotenv()
        with step("Pasting the lines of the docs"):
            work.check_bad_setting()
            for name in ("settings", "commands", "mails", "backup", "keys"):
                work.paste(name)
            later = request_once(project.admin(), "/task/tasks/", {"title": "Made after the backup"})["id"]
            work.paste("restore")
    admin = project.admin()
    titles = [task["title"] for task in request_once(admin, "/task/tasks/")["results"]]
    latest = request_once(admin, "/task/tasks/", {"title": "Made after the restore"})["id"]
    if "Made after the backup" in titles or "Made now" not in titles or latest <= later:
        raise StackError(f"After a restore there are {titles}, and the next task has the number {latest}.")


@contextmanager
def project() -> Iterator[ThrowawayProject]:
    (port,) = free_ports(1)
    mine = ThrowawayProject(port=port)
    try:
        yield mine
    finally:
        mine.folder = ROOT
        ignore_signals()  # a second signal would leave the rest behind
        with step("Removing containers, volumes and images"):
            mine.compose("down", "--volumes", "--remove-orphans")
            if images := run(
                "docker", "images", "--quiet", "--filter", f"label=com.docker.compose.project={mine.name}"
            ):
                run("docker", "rmi", "--force", *set(images.split()))


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tmservice-before-") as folder:
        archive = Path(folder) / "archive.tar"
        run("git", "archive", "--output", str(archive), commit)
        run("tar", "--extract", "--file", str(archive), "--directory", folder)
        yield Path(folder)


def use(project: ThrowawayProject, name: str) -> None:
    """Register an account, assign a task to it, and wait for the notification."""
    with step("Using it"):
        admin, anonymous = project.admin(), Client(project.port, password="", name="anonymous")
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        id_ = request_once(anonymous, "/user/register/", account)["id"]
        task = request_once(admin, "/task/tasks/", {"title": f"Made {name}", "assigned_to": id_})
        (seen,) = request_once(signed_in(project.port, name, PASSWORD), "/task/tasks/")["results"]
        if seen["assignee"] != {"id": id_, "username": name}:
            raise StackError(f"The assignee is shown as {seen['assignee']}.")
        ledger = f"/task/tasks/{task['id']}/notifications/"
        wait_for(lambda: all(row["state"] == "sent" for row in request_once(admin, ledger)["results"]))


def wait_for(holds: Callable[[], bool]) -> None:
    wait_until(holds, seconds=TIMEOUT_SECONDS, message=f"This did not happen within {TIMEOUT_SECONDS} s.")


def scale_to_replicas(project: ThrowawayProject) -> None:
    """Check that new replicas get requests without a restart of the gateway."""
    gateway = project.compose("ps", "--quiet", "gateway")
    with step("Running three of the task service"):
        project.up("--scale", "task_service=3", "--no-recreate")
        wait_for(lambda: len(answering(project)) == 3)
    if project.compose("ps", "--quiet", "gateway") != gateway:
        raise StackError("The gateway was restarted.")
    say(f"  of {ASKED} requests each answered: {', '.join(map(str, answering(project).values()))}")


def answering(project: ThrowawayProject) -> Counter[str]:
    """Return how many of the test requests each replica of the task service answered."""
    admin = project.admin()
    for _ in range(ASKED):
        request_once(admin, "/task/tasks/")
    log = project.compose("logs", "--no-log-prefix", "--tail", str(2 * ASKED), "gateway")
    lines = [json.loads(line[line.index("{") :]) for line in log.splitlines() if "{" in line]
    asked = [line for line in lines if line["path"] == "/task/tasks/"]
    return Counter(line["upstream"] for line in asked[-ASKED:])


def kill_container(project: ThrowawayProject) -> None:
    """Kill the first process of a container: the engine restarts it while the others serve."""
    victim = project.compose("ps", "--quiet", "task_service").split()[0]
    with step("Killing one of them"):
        os.kill(int(run("docker", "inspect", "--format", "{{.State.Pid}}", victim)), signal.SIGKILL)
        wait_for(lambda: restart_count(victim) > 0)
        request_once(project.admin(), "/task/tasks/")
        project.up("--scale", "task_service=3", "--no-recreate")


def deploy_under_load(project: ThrowawayProject) -> None:
    """Run scripts/deploy under load: twice with new settings, then with --all."""
    password = project.read_secret("ADMIN_PASSWORD")
    clients = [Client(project.port, password=password, name=f"deploy-{number}") for number in range(USERS)]
    load = Load([VirtualUser(client, seed=1, pause_seconds=0.1) for client in clients])
    for user in load.users:
        user.prepare()
    with load:
        for level, replace_all in (("WARNING", False), ("ERROR", False), ("ERROR", True)):
            project.environment = {**(project.environment or {}), "LOG_LEVEL": level}
            deploy(project, scale={"task_service": 2}, replace_all=replace_all)
        wait_for(lambda: len(load.sent) >= MIN_REQUESTS)
    slowest = max(request.seconds for request in load.sent)
    failed = [str(request) for request in load.sent if not request.answer.ok]
    failed += [text for user in load.users for text in user.contradictions]
    say(f"  3 deploys, {len(load.sent)} requests, {len(failed)} failed, slowest {slowest:.1f} s")
    if failed:
        raise StackError("\n".join(["Requests failed:", *failed[:10]]))


def restart_count(container: str) -> int:
    return int(run("docker", "inspect", "--format", "{{.RestartCount}}", container))


if __name__ == "__main__":
    main()
