"""The copy of hoist.sh that scripts read: whole, whatever a crash left there before."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.executions.files import LIBRARY, files_of
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Record
from agent.settings import AgentSettings
from agent.wire.executions import ExecuteRequest

REQUEST = ExecuteRequest(
    execution_id="e1",
    release_id="r1",
    project_id="shop",
    target_id="t1",
    operation="update",
    version="2.0",
    script="true",
    work_dir="/srv/shop",
)


def write_library(folder: Path) -> Path:
    """Prepare an execution; where its library is then."""
    settings = AgentSettings(client_id="web-1", state_dir=folder, token="agent-token-for-tests")
    record = Record.of(REQUEST, "setsid", "boot", datetime(2026, 5, 4, tzinfo=UTC))
    files_of(REQUEST, record, ExecutionPaths(folder / "executions" / "e1"), settings)
    (library,) = (folder / "lib").iterdir()
    return library


@pytest.mark.parametrize("left", [None, b"", b"\x00" * 4096, LIBRARY.read_bytes()[:-1]])
def test_library_is_whole(tmp_path: Path, left: bytes | None):
    library = write_library(tmp_path)
    if left is not None:
        library.write_bytes(left)
    assert write_library(tmp_path) == library
    assert library.read_bytes() == LIBRARY.read_bytes()
    assert library.stat().st_mode & 0o777 == 0o644


def test_library_that_is_whole_is_left_alone(tmp_path: Path):
    before = write_library(tmp_path).stat().st_ino
    assert write_library(tmp_path).stat().st_ino == before
