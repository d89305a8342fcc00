"""Makes up the secrets of a stack of containers, once: python -m deploy.secret_files FOLDER.

Each service has a folder of its own, for a volume that it alone is given, with a file for each setting; what its
migrations need is in another one, which the service itself is not given. A service reads
the setting NAME from the file that NAME_FILE names; what is set as NAME itself wins.
"""

import secrets
import sys
from pathlib import Path

DATABASE = "postgresql://{role}:{password}@database:5432/{database}"


def make(folder: Path) -> None:
    signing_key = write_once(folder / "user" / "JWT_SIGNING_KEY", secret())
    write_once(folder / "task" / "JWT_SIGNING_KEY", signing_key)
    write_once(folder / "user" / "USER_SECRET_KEY", secret())
    write_once(folder / "task" / "TASK_SECRET_KEY", secret())
    before = folder / "user" / "ADMIN_PASSWORD"  # where it was when the user service could read it
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
    """Return what the file holds, and write the value into it if it is not there.

    Others in the same container may read it: PostgreSQL's is another user than the one that makes it.
    """
    if not file.is_file():
        draft = file.with_suffix(".new")
        draft.write_text(value)
        draft.chmod(0o444)
        draft.rename(file)
    return file.read_text()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
