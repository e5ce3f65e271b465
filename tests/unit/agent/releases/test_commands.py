"""A command's group is ended with it, its own exit status stands, and nothing of it is left open."""

import errno
import os
from pathlib import Path

import pytest

from agent.releases.commands import run_command
from agent.releases.errors import CannotAsk
from agent.releases.identity import Identity
from tests.real_processes import wait_until

IDENTITY = Identity({"PATH": os.environ["PATH"]})


@pytest.fixture(autouse=True, params=["pidfd", "no pidfd"])
def kernel(request, monkeypatch):
    """Before Linux 5.3 there is none, and a process that has too many files open gets none."""
    if request.param == "no pidfd":

        def pidfd_open(_pid):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(os, "pidfd_open", pidfd_open)


def is_gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


async def run(folder: Path, command: str, timeout_s: float = 60):
    return await run_command(command, work_dir=str(folder), identity=IDENTITY, timeout_s=timeout_s)


@pytest.mark.parametrize("outputs", ["", ">/dev/null 2>&1"], ids=["holds the pipes", "holds nothing"])
async def test_child_left_behind_is_ended_and_the_exit_status_stands(tmp_path: Path, outputs: str):
    ended = await run(tmp_path, f"sleep 300 {outputs} & echo $! >child; echo said; exit 7")
    assert (ended.exit_code, ended.stdout) == (7, "said\n")
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: is_gone(child))


async def test_command_that_closes_its_outputs_is_waited_for(tmp_path: Path):
    ended = await run(tmp_path, "exec >&- 2>&-; sleep 0.3; exit 5")
    assert ended.exit_code == 5


async def test_command_that_takes_too_long_is_killed(tmp_path: Path):
    with pytest.raises(CannotAsk, match="longer than"):
        await run(tmp_path, "echo $$ >pid; exec >&- 2>&-; exec sleep 300", timeout_s=1)
    pid = int((tmp_path / "pid").read_text())
    assert is_gone(pid)


async def test_nothing_is_left_open(tmp_path: Path):
    await run(tmp_path, "true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await run(tmp_path, "true")
    assert len(os.listdir("/proc/self/fd")) == before
