"""The state folder of a local stack: data, logs and secrets."""

import hashlib
import json
import os
import pwd
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from stack.bootstrap import ROOT
from stack.console import StackError

SHARED_BY_ROOT = Path("/var/lib/tmservice")
# IDs that neither distributions nor systemd assign.
SERVICE_UIDS = {"user_service": 65521, "task_service": 65522}
GENERATED = (
    "USER_SECRET_KEY",
    "TASK_SECRET_KEY",
    "JWT_SIGNING_KEY",
    "POSTGRES_PASSWORD",
    "USER_DATABASE_PASSWORD",
    "TASK_DATABASE_PASSWORD",
    "USER_OWNER_DATABASE_PASSWORD",
    "TASK_OWNER_DATABASE_PASSWORD",
)


class StateFolder:
    """The paths in a state folder. `lifted_limits` exists while the stack runs with the limits of --demo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres, self.nginx = folder / "postgres", folder / "nginx"
        self.run, self.log, self.mail = folder / "run", folder / "log", folder / "mail"
        self.admin_password, self.demo_password = folder / "admin-password", folder / "demo-password"
        self.address, self.ports = folder / "address", folder / "ports.json"
        self.lifted_limits = folder / "lifted-limits"

    def create(self) -> None:
        """Create the folders; raise StackError if they are not writable."""
        try:
            self.create_folders()
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"is there space?")
        except OSError as error:
            remedy = "TMSERVICE_STATE_DIR chooses another folder"
            raise StackError(f"{self.folder} cannot be written: {error.strerror}; {remedy}.") from error

    def create_folders(self) -> None:
        """Let others traverse but not list: for root, PostgreSQL and Nginx run as other users."""
        if self.folder.parent == SHARED_BY_ROOT:
            SHARED_BY_ROOT.mkdir(mode=0o711, exist_ok=True)
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.nginx.mkdir(mode=0o711, exist_ok=True)  # workers buffer large bodies in it
        for folder in (self.run, self.log):
            folder.mkdir(mode=0o700, exist_ok=True)

    def share(self, uids: dict[str, int]) -> None:
        """Let services with separate users write notifications and mails, but not read each other's files.

        In both folders only the owner may remove or rename a file, and only root may list them.
        """
        self.log.chmod(0o700)
        if not any(uids.values()):
            return
        for file in self.log.iterdir():
            file.chmod(0o600)
        for file in self.log.glob("notifications.log*"):
            os.chown(file, uids["task_service"], uids["task_service"])
        os.chown(self.log, 0, uids["task_service"])
        self.log.chmod(0o1730)
        self.mail.mkdir(exist_ok=True)
        self.mail.chmod(0o1733)

    def secrets(self) -> dict[str, str]:
        """Return the secrets of this stack, generated once."""
        file = self.folder / "secrets.json"
        kept = json.loads(file.read_text()) if file.is_file() else {}
        missing = {name: secrets.token_urlsafe(48) for name in GENERATED if name not in kept}
        if missing:
            write_private(file, json.dumps(kept | missing, indent=1))
        return kept | missing


def write_private(file: Path, text: str) -> None:
    """Write a private file atomically."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    draft.replace(file)


def find_state() -> StateFolder:
    """Return the state folder: TMSERVICE_STATE_DIR, or else var/.

    For root, var/ is a link to a folder in /var/lib/tmservice, which `nobody` can access.
    """
    if chosen := os.environ.get("TMSERVICE_STATE_DIR"):
        state = StateFolder((ROOT / Path(chosen).expanduser()).resolve())
        if os.geteuid() == 0 and not nobody_can_reach(state.folder):
            raise StackError(
                f"TMSERVICE_STATE_DIR={chosen} is not accessible to the user nobody, which PostgreSQL runs as if "
                "root starts it; choose another folder, such as one in /var/lib/tmservice."
            )
        return state
    if os.geteuid() != 0:
        return StateFolder(ROOT / "var")
    name = f"{ROOT.name}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
    state = StateFolder(SHARED_BY_ROOT / name)
    link = ROOT / "var"
    if not link.exists():
        with suppress(OSError):  # only for convenience: the checkout may be read-only
            link.unlink(missing_ok=True)
            link.symlink_to(state.folder)
    return state


def nobody_can_reach(folder: Path) -> bool:
    existing = [parent for parent in (folder, *folder.parents) if parent.exists()]
    return all(parent.stat().st_mode & 0o001 for parent in existing)


def nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")
