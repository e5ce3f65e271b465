"""PEM files that settings name: one that can't be used is refused by its setting's name, which OpenSSL doesn't know."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agent.errors import SettingsError


@contextmanager
def loading(files: Mapping[str, str | Path | None]) -> Iterator[None]:
    """Within it `files`, by their settings, are loaded. Raises SettingsError naming the one that can't be read, else all."""
    try:
        yield
    except OSError as error:
        raise SettingsError(_refusal({name: path for name, path in files.items() if path}, error)) from error


def _refusal(files: Mapping[str, str | Path], error: OSError) -> str:
    for name, path in files.items():
        try:
            with Path(path).open("rb"):
                pass
        except OSError as unreadable:
            return f"cannot use {name}: cannot read {path}: {unreadable.strerror}"
    return f"cannot use {' and '.join(files)}: {error.strerror or error.args[0]}"
