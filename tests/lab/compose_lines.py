"""A part of scripts/try-compose: runs the Docker commands in the docs."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.bootstrap import ROOT
from stack.console import StackError
from stack.settings import LIMITS

TABLE = ROOT / "tests" / "data" / "dotenv.json"
BLOCK = re.compile(r"^```sh compose (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLE = 'services: {sample: {image: none, environment: {A: "${A}", B: "${B}"}}}\n'
BAD_SETTING = {"THROTTLE_ANON": "often"}
SENTENCE = "user_service: THROTTLE_ANON must be a rate such as 10/min (or /sec, /hour, /day), or off, not 'often'."


def documented() -> dict[str, str]:
    """Return the named command blocks of docs/docker.md."""
    return dict(BLOCK.findall((ROOT / "docs" / "docker.md").read_text()))


@contextmanager
def workplace(project: str, *, port: int) -> Iterator["Workplace"]:
    """Create a folder in which commands use this project, without rate limits and without .env."""
    with tempfile.TemporaryDirectory(prefix="tmservice-lines-") as folder:
        for name in ("chassis", "scripts"):
            (Path(folder) / name).symlink_to(ROOT / name)
        chosen = {"COMPOSE_FILE": str(ROOT / "docker-compose.yml"), "COMPOSE_ENV_FILES": os.devnull}
        named = {"COMPOSE_PROJECT_NAME": project, "GATEWAY_PORT": str(port)}
        yield Workplace(Path(folder), {**os.environ, **dict.fromkeys(LIMITS, "off"), **chosen, **named})


class Workplace:
    """A folder in which documented commands run as in the checkout and may leave files."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def paste(self, name: str) -> str:
        done = self.run(documented()[name])
        if done.returncode:
            raise StackError(f"The lines for {name} in docs/docker.md failed: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def run(self, lines: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "-euc", lines],
            cwd=self.folder,
            env=self.environment | changed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def check_bad_setting(self) -> None:
        """Check that an invalid setting is reported and that running containers stay."""
        running = self.run("docker compose ps --quiet").stdout
        done = self.run(documented()["settings"], **BAD_SETTING)
        if not done.returncode or SENTENCE not in done.stderr:
            raise StackError(f"An invalid setting was accepted: {done.stdout}{done.stderr}")
        if self.run("docker compose ps --quiet").stdout != running:
            raise StackError("An invalid setting replaced containers.")

    def compare_dotenv(self) -> None:
        """Check that the installed compose reads .env files as the table says."""
        for row in json.loads(TABLE.read_text()):
            expected = row["both"] if "both" in row else row["compose"]
            if (read := self.read_by_compose(row["file"])) != expected:
                raise StackError(f"this compose reads {row['file']!r} as {read}, but {TABLE.name} says {expected}.")

    def read_by_compose(self, content: str) -> dict[str, str] | None:
        sample, file = self.folder / "sample.yml", self.folder / "sample.env"
        sample.write_text(SAMPLE)
        file.write_bytes(content.encode())
        done = self.run(f"env -u A -u B docker compose --file {sample} --env-file {file} config --format json")
        if done.returncode:
            return None
        values: dict[str, str] = json.loads(done.stdout)["services"]["sample"]["environment"]
        return {name: value.replace("$$", "$") for name, value in values.items() if value}
