"""Whom an ending may reach, and that it goes on without a file."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from agent.executions.ending import claim_ending, started_by
from agent.executions.paths import ExecutionPaths
from agent.executions.tree import boot_id, read_process


@pytest.fixture
def stranger():
    """A process with a child in its own session, which no execution has anything to do with."""
    program = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    child = int(process.stdout.readline())
    yield process.pid, child
    os.killpg(process.pid, 9)
    process.communicate()


@pytest.mark.parametrize(
    ("ticks_off", "boot", "reached"), [(0, None, True), (1, None, False), (0, "an-earlier-boot", False)]
)
def test_pid_is_the_wrappers_only_with_its_start_and_boot(
    tmp_path: Path, stranger, ticks_off: int, boot: str | None, reached: bool
):
    pid, child = stranger
    paths = ExecutionPaths(tmp_path)
    ticks = read_process(pid).ticks + ticks_off
    paths.started.write_text(f"{pid} {ticks} {boot or boot_id()} .\n")
    assert started_by(f"nobody-{uuid4()}", paths).own == (frozenset({child}) if reached else frozenset())


def test_first_reason_stands(tmp_path: Path):
    paths = ExecutionPaths(tmp_path)
    claim_ending(paths, "timed_out")
    claim_ending(paths, "cancelled")
    assert paths.read_ended_by() == "timed_out"


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow: what is written fails as on a full disk.

    Never around a whole test: pytest's own output may be a file too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_reason_that_cannot_be_written_keeps_nothing_from_being_ended(tmp_path: Path):
    paths = ExecutionPaths(tmp_path)
    with full_disk():
        claim_ending(paths, "cancelled")
    assert paths.ended_by.exists()
    assert paths.read_ended_by() is None
