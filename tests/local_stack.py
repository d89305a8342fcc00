"""Starts real stacks with scripts/run and calls their API."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from stack import postgres
from stack.ports import free_ports
from stack.state import StateFolder

ROOT = Path(__file__).resolve().parents[1]
HANG_SECONDS = 300  # only against hanging: a busy machine must not fail a test
PASSWORD = "correct horse battery staple"


def environment(**changed: str) -> dict[str, str]:
    """Return an environment without local settings, except those for downloading packages."""
    kept = ("PATH", "HOME", "PIP_", "SSL_", "UV_", "LANG", "CI")
    inherited = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    unlimited = dict.fromkeys(("THROTTLE_ADMIN", "THROTTLE_USER", "THROTTLE_ANON", "THROTTLE_SIGNUP"), "off")
    not_compiled = {"PIP_NO_COMPILE": "1"}  # most modules are never used
    return inherited | {"TMSERVICE_ENV_FILE": os.devnull} | not_compiled | unlimited | changed


def new_folder() -> Path:
    """Create a folder that the user nobody can traverse, since PostgreSQL runs as nobody for root."""
    folder = Path(tempfile.mkdtemp(prefix="tmservice-stack-"))
    folder.chmod(0o711)
    return folder


@dataclass
class LocalStack:
    """A stack with its own folder and port."""

    folder: Path = field(default_factory=new_folder)
    port: int = field(default_factory=lambda: free_ports(1)[0])
    root: Path = ROOT

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def environment(self, **changed: str) -> dict[str, str]:
        return environment(TMSERVICE_STATE_DIR=str(self.folder), GATEWAY_PORT=str(self.port), **changed)

    def run(self, *arguments: str, script: str = "run", **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a script to its end. Output goes to files: processes left running must not hold pipes."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(
                [sys.executable, self.root / "scripts" / script, *arguments],
                env=self.environment(**changed),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                timeout=HANG_SECONDS,
                check=False,
            )
            out.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), errors.read())

    def start(self, *arguments: str, **changed: str) -> str:
        done = self.run("--detach", *arguments, **changed)
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def stop(self) -> str:
        return self.run(script="stop").stdout

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.folder)

    @property
    def admin_password(self) -> str:
        return self.state.admin_password.read_text().strip()

    def programs(self) -> dict[str, dict]:
        return {row["name"]: row for row in json.loads((self.folder / "programs.json").read_text())}

    def owner_url(self, database: str = postgres.DATABASE) -> str:
        """Return the superuser's URL of a database of the embedded PostgreSQL."""
        password, port = self.state.secrets()["POSTGRES_PASSWORD"], json.loads(self.state.ports.read_text())["postgres"]
        return postgres.url(role=postgres.SUPERUSER, password=password, port=port, database=database)

    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "run" / "supervisord.pid").read_text()))

    def processes(self) -> list[psutil.Process]:
        """Return every process of this stack, orphans too."""
        return [process for process in psutil.process_iter() if self.owns(process)]

    def leader(self, program: str) -> psutil.Process:
        """Return the process that the supervisor started for a program."""
        return psutil.Process(json.loads((self.folder / "run" / f"{program}.json").read_text())["group"])

    def program_processes(self, program: str) -> list[psutil.Process]:
        leader = self.leader(program)
        return [leader, *leader.children()]

    def owns(self, process: psutil.Process) -> bool:
        try:
            place = f"{' '.join(process.cmdline())} {process.cwd()} {process.environ().get('TMSERVICE_STATE_DIR')}"
            return str(self.folder) in place and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def logs(self) -> str:
        return "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in (self.folder / "log").glob("*"))

    def call(self, method: str, path: str, *, token: str = "", **arguments: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers.update(arguments.pop("headers", {}))
        return requests.request(
            method, self.url + path, headers=headers, timeout=30, allow_redirects=False, **arguments
        )

    def token(self, username: str, password: str = PASSWORD) -> str:
        answer = self.call("POST", "/token/", json={"username": username, "password": password})
        assert answer.status_code == 200, answer.text
        return answer.json()["access"]

    def admin_token(self) -> str:
        return self.token("admin", self.admin_password)

    def register(self, username: str) -> int:
        body = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
        answer = self.call("POST", "/user/register/", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def is_healthy(self) -> bool:
        now = {"Cache-Control": "no-cache"}
        try:
            return all(self.call("GET", f"/{name}/health/ready/", headers=now).ok for name in ("user", "task"))
        except requests.RequestException:
            return False


def output_of(argv: list, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without input, and return its output and exit status."""
    given = {"timeout": HANG_SECONDS} | ({} if "input" in options else {"stdin": subprocess.DEVNULL})
    return subprocess.run(argv, check=False, capture_output=True, text=True, **given | options)


def tracked_files() -> list[str]:
    """Return the names of all files of the checkout that git does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = output_of(command, cwd=ROOT).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def copy_checkout(folder: Path) -> None:
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)


def start_script(script: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a script of the lab, which creates a stack in this temporary folder."""
    return subprocess.Popen(
        [sys.executable, ROOT / "scripts" / script, *arguments],
        env=environment(TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def leftovers(folder: Path) -> tuple[list[psutil.Process], list[Path]]:
    return LocalStack(folder=folder, port=0).processes(), list(folder.iterdir())


def eventually(condition) -> None:
    """Wait until the condition holds. The bound is only against hanging: a busy machine must not fail a test."""
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {HANG_SECONDS} s"
        time.sleep(0.02)


def interrupt(process: subprocess.Popen, number: int = signal.SIGINT) -> None:
    process.send_signal(number)
    process.wait(HANG_SECONDS)
