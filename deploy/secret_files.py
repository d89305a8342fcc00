"""Generate the secrets of a container stack, once: python -m deploy.secret_files FOLDER.

Each service has its own folder, for a volume that only it mounts, with a file per setting. Settings for migrations are
in separate folders, which the service does not mount. A service reads the setting NAME from the file that NAME_FILE
names; NAME itself takes precedence.
"""

import secrets
import sys
from pathlib import Path

DATABASE = "postgresql://{role}:{password}@database:5432/{database}"


def generate(folder: Path) -> None:
    signing_key = write_once(folder / "user" / "JWT_SIGNING_KEY", secret())
    write_once(folder / "task" / "JWT_SIGNING_KEY", signing_key)
    write_once(folder / "user" / "USER_SECRET_KEY", secret())
    write_once(folder / "task" / "TASK_SECRET_KEY", secret())
    before = folder / "user" / "ADMIN_PASSWORD"  # its place in older versions
    password = before.read_text() if before.is_file() else secrets.token_urlsafe(12)
    write_once(folder / "user-owner" / "ADMIN_PASSWORD", password)
    before.unlink(missing_ok=True)
    owner = write_once(folder / "database" / "POSTGRES_PASSWORD", secret())
    write_once(folder / "database" / "OWNER_URL", DATABASE.format(role="postgres", password=owner, database="postgres"))
    for name in ("user", "task"):
        url = DATABASE.format(role=f"{name}_service", password=secret(), database="tmservice")
        write_once(folder / name / "DATABASE_URL", url)
        url = DATABASE.format(role=f"{name}_service_owner", password=secret(), database="tmservice")
        write_once(folder / f"{name}-owner" / "OWNER_DATABASE_URL", url)


def secret() -> str:
    return secrets.token_urlsafe(48)


def write_once(file: Path, value: str) -> str:
    """Write the value to a new file, or keep an existing file. Return its content.

    Readable by all users of the container, because PostgreSQL runs as another user.
    """
    if not file.is_file():
        draft = file.with_suffix(".new")
        draft.write_text(value)
        draft.chmod(0o444)
        draft.rename(file)
    return file.read_text()


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
