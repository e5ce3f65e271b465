"""Asks the application itself which version it is."""

import asyncio
import os
import stat

from agent.patterns import search
from agent.releases.commands import run_command
from agent.releases.errors import CannotAsk
from agent.releases.fetching import fetch
from agent.releases.identity import identity_of
from agent.wire.releases import VersionProbe

MAX_VERSION_CHARACTERS = 100
"""As long as a version may be in a report."""

_SEARCHED_CHARACTERS = 64 * 1024
_FILE_LIMIT_BYTES = 64 * 1024


async def probe_version(probe: VersionProbe, work_dir: str, run_as: str | None) -> str:
    """The version that answers; raises CannotAsk, with the reason, when none does."""
    if probe.type == "command":
        text = await _ask_command(probe, work_dir, run_as)
    elif probe.type == "http":
        text = await _ask_http(probe)
    else:
        text = await asyncio.to_thread(read_regular_file, probe.path or "")
    return find_version(text, probe.pattern)


def find_version(text: str, pattern: str | None) -> str:
    """`pattern`'s first group (or its whole match) in the first 64 KiB of `text`; without a pattern all, stripped."""
    text = text[:_SEARCHED_CHARACTERS].replace("\0", "")
    if pattern is None:
        version: str | None = text.strip()
    else:
        version = search(pattern, text)
        if version is None:
            raise CannotAsk("the answer does not match the probe's pattern")
    if not version:
        raise CannotAsk("the answer names no version")
    if len(version) > MAX_VERSION_CHARACTERS:
        raise CannotAsk(
            f"the answer is longer than {MAX_VERSION_CHARACTERS} characters: the probe needs a pattern"
        )
    return version


def read_regular_file(path: str) -> str:
    """The first 64 KiB of a regular file; raises CannotAsk."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise CannotAsk(f"cannot read {path}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CannotAsk(f"cannot read {path}: not a regular file")
        return os.read(fd, _FILE_LIMIT_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise CannotAsk(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(fd)


async def _ask_command(probe: VersionProbe, work_dir: str, run_as: str | None) -> str:
    done = await run_command(
        probe.command or "", work_dir=work_dir, identity=identity_of(run_as), timeout_s=probe.timeout_s
    )
    if done.exit_code != 0:
        raise CannotAsk(f"the command exited with {done.exit_code}")
    return done.stdout if done.stdout.strip() else done.stderr


async def _ask_http(probe: VersionProbe) -> str:
    answer = await fetch(str(probe.url), probe.timeout_s)
    if not 200 <= answer.status < 300:
        raise CannotAsk(f"the application answered {answer.status}")
    return answer.body
