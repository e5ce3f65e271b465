"""What became of an execution, from the files that its wrapper left."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.executions.outcome import outcome
from agent.executions.paths import GIVEN_UP, STATUS_PLACEHOLDER, ExecutionPaths
from agent.executions.record import Record, digest_of
from agent.executions.tree import Started
from agent.wire.executions import ExecuteRequest

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
NOTHING = Started(frozenset(), ())


def request(**fields) -> ExecuteRequest:
    needed = {
        "execution_id": "e1",
        "release_id": "r",
        "project_id": "shop",
        "target_id": "t",
        "operation": "update",
    }
    return ExecuteRequest(
        **{**needed, "version": "2", "script": "true", "work_dir": "/srv", "timeout_s": 9} | fields
    )


@pytest.fixture
def paths(tmp_path: Path) -> ExecutionPaths:
    left = ExecutionPaths(tmp_path)
    left.status.write_bytes(STATUS_PLACEHOLDER)
    left.started.write_text("4711 99 boot .\n")
    left.output.write_text("hello")
    return left


def judge(paths: ExecutionPaths, left: Started = NOTHING, boot_id: str = "boot") -> Record:
    record = Record.of(request(), "setsid", "boot", NOW)
    return outcome(record, paths, left, boot_id=boot_id, now=NOW)


@pytest.mark.parametrize(
    ("status", "state", "code"), [("0", "succeeded", 0), ("3", "failed", 3), ("137", "failed", 137)]
)
def test_exit_status_decides(paths: ExecutionPaths, status: str, state: str, code: int):
    paths.status.write_text(f"{status:<14}.\n")
    ended = judge(paths)
    assert (ended.state, ended.exit_code, ended.output_bytes) == (state, code, 5)


@pytest.mark.parametrize("torn", ["", "0", "0    ", "----------", "0-------------.\n"])
def test_status_that_is_not_completely_written_is_lost(paths: ExecutionPaths, torn: str):
    paths.status.write_text(torn)
    assert judge(paths).state == "lost"


def test_reboot_is_named(paths: ExecutionPaths):
    assert "rebooted" in (judge(paths, boot_id="another").error or "")


@pytest.mark.parametrize(
    ("reason", "state"),
    [("timed_out", "timed_out"), ("cancelled", "cancelled"), ("agent_stopped", "cancelled")],
)
def test_reason_of_the_ending_decides_also_over_exit_zero(paths: ExecutionPaths, reason: str, state: str):
    paths.status.write_text(f"{0:<14}.\n")
    paths.ended_by.write_text(reason + "\n")
    ended = judge(paths, Started(frozenset({5}), ((6, "app"),)))
    assert ended.state == state
    assert "start_detached started it: app (pid 6)" in (ended.error or "")
    assert "could not be ended: 5" in (ended.error or "")


def test_script_that_was_given_up_before_it_began_did_not_run(paths: ExecutionPaths):
    paths.started.write_text(GIVEN_UP)
    ended = judge(paths)
    assert (ended.state, ended.exit_code) == ("failed", None)


def test_same_request_under_another_lease_is_the_same():
    same = digest_of(request(client_id="web-1", fence=4))
    assert same == digest_of(request())
    assert digest_of(request(script="false")) != same
    assert digest_of(request(env={"A": "b"})) != same


def test_script_whose_beginning_a_power_cut_may_have_erased_is_lost(paths: ExecutionPaths):
    paths.started.write_text(GIVEN_UP)
    ended = judge(paths, boot_id="another")
    assert (ended.state, ended.exit_code) == ("lost", None)
    assert "did not run" not in (ended.error or "")


def test_exit_status_decides_also_after_a_reboot(paths: ExecutionPaths):
    paths.started.write_text(GIVEN_UP)
    paths.status.write_text(f"{0:<14}.\n")
    assert judge(paths, boot_id="another").state == "succeeded"
