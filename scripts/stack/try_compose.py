"""scripts/try-compose: prove docker-compose.yml with the Docker engine of this machine."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from stack import compose_lines
from stack.bootstrap import ROOT
from stack.compose import Project, run
from stack.compose_load import Load
from stack.console import Refused, say, step
from stack.deploy import deploy
from stack.http import call
from stack.ports import free_ports
from stack.settings import LIMITS

ASKED = 60
LEAST_REQUESTS = 1000
END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE_SECONDS = 60
PASSWORD = "correct horse battery staple"  # of accounts that live for minutes


@dataclass
class Trial(Project):
    """A compose project with a name and a port of its own. `folder` is the checkout that its files come from."""

    port: int = 0

    def __post_init__(self) -> None:
        self.options = ("--project-name", self.name, "--env-file", os.devnull)
        self.environment = {**os.environ, **dict.fromkeys(LIMITS, "off"), "GATEWAY_PORT": str(self.port)}

    @property
    def name(self) -> str:
        return f"tmservice-try-{self.port}"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def up(self, *arguments: str) -> None:
        self.compose("up", "--detach", "--wait", *arguments)

    def read_secret(self, name: str) -> str:
        if "user_migrations" not in self.compose("config", "--services").split():  # an earlier commit
            return self.compose("exec", "-T", "user_service", "cat", f"/secrets/user/{name}").strip()
        once = ("run", "--rm", "--no-deps", "-T", "user_migrations")
        return self.compose(*once, "cat", f"/secrets/user-owner/{name}").strip()

    def ask(self, path: str, body: Any = None, *, token: str = "") -> Any:
        status, answer = call(f"{self.url}{path}", body, token=token)
        if status >= HTTPStatus.BAD_REQUEST:
            raise Refused(f"{path} was answered with {status}: {answer['detail']}")
        return answer

    def admin_token(self) -> str:
        password = self.read_secret("ADMIN_PASSWORD")
        return str(self.ask("/token/", {"username": "admin", "password": password})["access"])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/try-compose",
        description="Start docker-compose.yml as a project of its own, use it, scale it, kill in it, deploy, stop "
        "and start it, upgrade it from an earlier commit, and remove it with its volumes. Needs Docker with compose.",
    )
    parser.add_argument("--from", dest="commit", default="HEAD^", help="the commit to upgrade from; HEAD^ by default")
    commit = parser.parse_args().commit
    for number in END_SIGNALS:
        signal.signal(number, lambda *_: sys.exit("\nStopped."))
    try:
        try_all(commit)
    except (Refused, OSError) as error:
        sys.exit(f"scripts/try-compose: {error}")
    say("The containers do what they must.")


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
        spread_over_replicas(mine)
        killed_and_back(mine)
        deploy_under_load(mine)
        with step("Stopping all and starting again"):
            mine.compose("down")
            mine.up()
        kept = mine.ask("/task/tasks/?ordering=id", token=mine.admin_token())["results"]
        say(f"  tasks that are still there: {', '.join(task['title'] for task in kept)}")


def follow_the_docs(project: Trial) -> None:
    """Paste what the docs say of containers; a restore undoes what came after the backup, and no number comes twice."""
    with compose_lines.workplace(project.name, port=project.port) as work:
        with step("Comparing how compose reads .env"):
            work.compare_dotenv()
        with step("Pasting the lines of the docs"):
            work.refuse_bad_setting()
            for name in ("settings", "commands", "mails", "backup", "keys"):
                work.paste(name)
            later = project.ask("/task/tasks/", {"title": "Made after the backup"}, token=project.admin_token())["id"]
            work.paste("restore")
    admin = project.admin_token()
    titles = [task["title"] for task in project.ask("/task/tasks/", token=admin)["results"]]
    latest = project.ask("/task/tasks/", {"title": "Made after the restore"}, token=admin)["id"]
    if "Made after the backup" in titles or "Made now" not in titles or latest <= later:
        raise Refused(f"After a restore there are {titles}, and the next task has the number {latest}.")


@contextmanager
def project() -> Iterator[Trial]:
    (port,) = free_ports(1)
    mine = Trial(port=port)
    try:
        yield mine
    finally:
        mine.folder = ROOT
        for number in END_SIGNALS:  # a second one would leave the rest behind
            signal.signal(number, signal.SIG_IGN)
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


def use(project: Trial, name: str) -> None:
    """Go the way of a first day: an account, a task for it, and that it is told."""
    with step("Using it"):
        admin = project.admin_token()
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        id_ = project.ask("/user/register/", account)["id"]
        task = project.ask("/task/tasks/", {"title": f"Made {name}", "assigned_to": id_}, token=admin)
        theirs = project.ask("/token/", {"username": name, "password": PASSWORD})["access"]
        (seen,) = project.ask("/task/tasks/", token=theirs)["results"]
        if seen["assignee"] != {"id": id_, "username": name}:
            raise Refused(f"The assignee is told as {seen['assignee']}.")
        ledger = f"/task/tasks/{task['id']}/notifications/"
        wait_until(lambda: all(row["state"] == "sent" for row in project.ask(ledger, token=admin)["results"]))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise Refused(f"This did not come within {PATIENCE_SECONDS} s.")
        time.sleep(0.2)


def spread_over_replicas(project: Trial) -> None:
    """More replicas are found without a restart of the gateway, and each gets its share."""
    gateway = project.compose("ps", "--quiet", "gateway")
    with step("Running three of the task service"):
        project.up("--scale", "task_service=3", "--no-recreate")
        wait_until(lambda: len(answering(project)) == 3)
    if project.compose("ps", "--quiet", "gateway") != gateway:
        raise Refused("The gateway was restarted.")
    say(f"  of {ASKED} requests each answered: {', '.join(map(str, answering(project).values()))}")


def answering(project: Trial) -> Counter[str]:
    """Return how many of some requests each address of the task service has answered."""
    admin = project.admin_token()
    for _ in range(ASKED):
        project.ask("/task/tasks/", token=admin)
    log = project.compose("logs", "--no-log-prefix", "--tail", str(2 * ASKED), "gateway")
    lines = [json.loads(line[line.index("{") :]) for line in log.splitlines() if "{" in line]
    asked = [line for line in lines if line["path"] == "/task/tasks/"]
    return Counter(line["upstream"] for line in asked[-ASKED:])


def killed_and_back(project: Trial) -> None:
    """Kill what runs as a container's first process: the engine starts it again, and the others serve meanwhile."""
    victim = project.compose("ps", "--quiet", "task_service").split()[0]
    with step("Killing one of them"):
        os.kill(int(run("docker", "inspect", "--format", "{{.State.Pid}}", victim)), signal.SIGKILL)
        wait_until(lambda: restarts_of(victim) > 0)
        project.ask("/task/tasks/", token=project.admin_token())
        project.up("--scale", "task_service=3", "--no-recreate")


def deploy_under_load(project: Trial) -> None:
    """Replace containers by scripts/deploy while people work, for new settings twice and then without any change."""
    with Load(project.url, project.read_secret("ADMIN_PASSWORD")) as load:
        for level, replace_all in (("WARNING", False), ("ERROR", False), ("ERROR", True)):
            project.environment = {**(project.environment or {}), "LOG_LEVEL": level}
            deploy(project, scale={"task_service": 2}, replace_all=replace_all)
        wait_until(lambda: len(load.durations) >= LEAST_REQUESTS)
    slowest = max(load.durations)
    say(f"  3 deploys, {len(load.durations)} requests, {len(load.failed)} failed, slowest {slowest:.1f} s")
    if load.failed:
        raise Refused("\n".join(["Requests failed:", *load.failed[:10]]))


def restarts_of(container: str) -> int:
    return int(run("docker", "inspect", "--format", "{{.RestartCount}}", container))


if __name__ == "__main__":
    main()
