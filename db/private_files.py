"""Files that only their owner may read: made atomically, by whichever of several processes comes first."""

import os
from pathlib import Path

from db.errors import PermanentDatabaseError


def make_private_directory(path: Path) -> None:
    """Make a directory and its parents, 0700; one that is there already stays as it is."""
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)


def read_or_create(path: Path, content: str) -> str:
    """The file's text; if there is none, it is made with `content`, 0600, and whoever loses the race reads it.

    Raises PermanentDatabaseError where others than the owner may read or write it, or it can't be made.
    """
    try:
        if not path.exists():
            make_private_directory(path.parent)
            _create(path, content)
        if path.stat().st_mode & 0o077:
            raise PermanentDatabaseError(f"cannot use {path}: others can read it; chmod 600 it")
        return path.read_text().strip()
    except OSError as error:
        raise PermanentDatabaseError(f"cannot use {path}: {error.strerror}") from error


def _create(path: Path, content: str) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(scratch)
        except FileExistsError:
            return
    finally:
        scratch.unlink()
