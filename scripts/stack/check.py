"""scripts/check: static checks (format, lint, types, imports, shell, Dockerfiles, gateway)."""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from stack import nginx
from stack.bootstrap import ROOT
from stack.console import say

BIN = Path(sys.executable).parent
IMPORT_PATH = os.pathsep.join(str(ROOT / name) for name in (".", "scripts", "user_service", "task_service"))
SHELL_SCRIPTS = ("gateway/*.sh", "gateway/settings.envsh", "scripts/compose-check", "scripts/lock")
# The type checker's Django plugin imports the settings; nothing connects anywhere.
SETTINGS = {
    "USER_SECRET_KEY": "0123456789-for-checks-only-0123456789-user",
    "TASK_SECRET_KEY": "0123456789-for-checks-only-0123456789-task",
    "JWT_SIGNING_KEY": "0123456789-for-checks-only-0123456789-jwt",
    "DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/nowhere",
    "USER_SERVICE_URL": "http://127.0.0.1:1",
    **dict.fromkeys(("THROTTLE_ADMIN", "THROTTLE_USER", "THROTTLE_ANON", "THROTTLE_SIGNUP"), "off"),
    "TMSERVICE_ENV_FILE": os.devnull,  # ignore the developer's .env
}


@dataclass(frozen=True, slots=True)
class StaticCheck:
    """One command that must succeed."""

    name: str
    argv: list[str]
    folder: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)

    def passes(self) -> bool:
        return self.report(self.run())

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / self.argv[0]), *self.argv[1:]],
            check=False,
            cwd=self.folder,
            env=os.environ | SETTINGS | self.environment,
            capture_output=True,
            text=True,
        )

    def report(self, done: subprocess.CompletedProcess[str]) -> bool:
        say(f"{'ok    ' if done.returncode == 0 else 'FAILED'}  {self.name}")
        if done.returncode:
            say(done.stdout + done.stderr)
        return done.returncode == 0


def run_all() -> list[bool]:
    """Run all checks in parallel, report them in order, and return which passed."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        running = [(each, pool.submit(each.run)) for each in checks(Path(folder))]
        return [each.report(done.result()) for each, done in running]


def checks(folder: Path) -> list[StaticCheck]:
    return [
        StaticCheck("format", ["ruff", "format", "--check", "--quiet", "."]),
        StaticCheck("lint", ["ruff", "check", "--quiet", "."]),
        types("user_service, chassis, scripts and the lab", "user_service", "chassis", "scripts/stack", "tests/lab"),
        types("task_service", "task_service"),
        StaticCheck(
            "imports", ["lint-imports", "--no-cache", "pyproject.toml"], environment={"PYTHONPATH": IMPORT_PATH}
        ),
        StaticCheck("shell", ["shellcheck", "--severity=warning", *found(*SHELL_SCRIPTS)]),
        StaticCheck("Dockerfiles", ["hadolint", "--failure-threshold=warning", *found("*/Dockerfile")]),
        StaticCheck("gateway", ["gixy", str(gateway_configuration(folder))]),
    ]


def found(*patterns: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def gateway_configuration(folder: Path) -> Path:
    """Write the default Nginx configuration into `folder` and return the main file."""
    environment = {
        "GATEWAY_LISTEN": "0.0.0.0:8080",
        "USER_SERVICE_URL": "http://user:8000",
        "TASK_SERVICE_URL": "http://task:8000",
    }
    template = folder / nginx.RENDERED
    template.parent.mkdir()
    template.write_text(nginx.render(nginx.TEMPLATE.read_text(), nginx.settings(environment)))
    return Path(shutil.copy(nginx.GATEWAY / "nginx.conf", folder))


def types(name: str, service: str, *others: str) -> StaticCheck:
    """Each service needs a separate run, since both have a package `config`."""
    cache = ROOT / ".mypy_cache" / service
    path = f"{ROOT}:{ROOT / service}:{ROOT / 'scripts'}"
    argv = ["mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary", f"--cache-dir={cache}", "."]
    return StaticCheck(
        f"types of {name}",
        [*argv, *(str(ROOT / other) for other in others)],
        folder=ROOT / service,
        environment={"MYPYPATH": path},
    )


def main() -> None:
    passed = run_all()
    say(f"\nchecks: {passed.count(True)} passed, {passed.count(False)} failed")
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
