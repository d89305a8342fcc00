"""Where a local stack keeps its data, logs and secrets: one folder for each stack."""

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
# Numbers that neither distributions nor systemd give to anybody.
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


class State:
    """The paths inside a state folder. `lifted_limits` is there while the stack runs with the limits of --demo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres, self.nginx = folder / "postgres", folder / "nginx"
        self.run, self.log, self.mail = folder / "run", folder / "log", folder / "mail"
        self.admin_password, self.demo_password = folder / "admin-password", folder / "demo-password"
        self.address, self.ports = folder / "address", folder / "ports.json"
        self.lifted_limits = folder / "lifted-limits"

    def create(self) -> None:
        """Make the folders, or refuse where they cannot be written."""
        try:
            self.create_folders()
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"is there space?")
        except OSError as error:
            remedy = "TMSERVICE_STATE_DIR chooses another folder"
            raise StackError(f"{self.folder} cannot be written: {error.strerror}; {remedy}.") from error

    def create_folders(self) -> None:
        """Others may pass through, not look in: for root, PostgreSQL and Nginx run as nobody."""
        if self.folder.parent == SHARED_BY_ROOT:
            SHARED_BY_ROOT.mkdir(mode=0o711, exist_ok=True)
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.nginx.mkdir(mode=0o711, exist_ok=True)  # its workers keep large bodies below it
        for folder in (self.run, self.log):
            folder.mkdir(mode=0o700, exist_ok=True)

    def share(self, uids: dict[str, int]) -> None:
        """Let services that run as users of their own write notifications and mails, and read nothing of each other.

        In both folders a file is removed or renamed by its owner alone, and nobody but root may list them.
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
        """Return the secrets of this stack, made once."""
        file = self.folder / "secrets.json"
        kept = json.loads(file.read_text()) if file.is_file() else {}
        missing = {name: secrets.token_urlsafe(48) for name in GENERATED if name not in kept}
        if missing:
            write_private(file, json.dumps(kept | missing, indent=1))
        return kept | missing


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or nothing."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    draft.replace(file)


def find_state() -> State:
    """Return the state folder: TMSERVICE_STATE_DIR, else var/, else for root one that `nobody` can reach.

    Root's is below /var/lib/tmservice, and var/ in the checkout is a link to it.
    """
    if chosen := os.environ.get("TMSERVICE_STATE_DIR"):
        state = State((ROOT / Path(chosen).expanduser()).resolve())
        if os.geteuid() == 0 and not nobody_can_reach(state.folder):
            raise StackError(
                f"TMSERVICE_STATE_DIR={chosen} lies where the user nobody, which PostgreSQL runs as for root, has no "
                "access; choose another folder, such as one below /var/lib/tmservice."
            )
        return state
    if os.geteuid() != 0:
        return State(ROOT / "var")
    name = f"{ROOT.name}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
    state = State(SHARED_BY_ROOT / name)
    link = ROOT / "var"
    if not link.exists():
        with suppress(OSError):  # for people alone: a checkout that cannot be written goes without
            link.unlink(missing_ok=True)
            link.symlink_to(state.folder)
    return state


def nobody_can_reach(folder: Path) -> bool:
    existing = [parent for parent in (folder, *folder.parents) if parent.exists()]
    return all(parent.stat().st_mode & 0o001 for parent in existing)


def nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")
