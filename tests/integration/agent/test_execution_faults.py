"""What goes wrong beside an execution neither keeps it running for ever nor keeps the agent from starting."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import Refused
from agent.executions.executions import Executions
from agent.executions.methods import prepare_work_dir
from agent.fences import Fences
from agent.settings import AgentSettings
from agent.wire.executions import ExecuteRequest, ExecutionState
from tests.agents import ROOT, AgentProcess, agent, command_for
from tests.real_processes import wait_until

__all__ = ["agent"]


@asynccontextmanager
async def executions_in(folder: Path, *callbacks, clock=lambda: datetime.now(UTC)):
    """Executions within this process, as the agent has them."""
    settings = AgentSettings(client_id="web-1", state_dir=folder / "state", token="t")
    settings.state_dir.mkdir(mode=0o700, exist_ok=True)
    executions = Executions(settings, Fences(settings.state_dir), clock)
    for callback in callbacks:
        executions.on_success(callback)
    async with executions.lifespan():
        yield executions


def request(folder: Path, execution_id: str, script: str) -> ExecuteRequest:
    return ExecuteRequest.model_validate(command_for(folder, execution_id, script, detach_method="setsid"))


async def test_callback_that_raises_neither_holds_the_end_nor_the_others_up(tmp_path: Path, caplog):
    heard = []

    def broken(_record, _execution):
        raise RuntimeError("broken on purpose")

    async with executions_in(
        tmp_path, broken, lambda record, _: heard.append(record.execution_id)
    ) as executions:
        await executions.execute(request(tmp_path, "e1", "true"))
        assert (await executions.wait("e1", 60)).state == ExecutionState.SUCCEEDED
        await executions.execute(request(tmp_path, "e2", "true"))
        assert (await executions.wait("e2", 60)).state == ExecutionState.SUCCEEDED
    assert heard == ["e1", "e2"]
    assert "broken on purpose" in caplog.text


def test_output_that_cannot_be_bounded_does_not_hold_the_end_up(agent: AgentProcess):
    output = agent.state_dir / "executions" / "e1" / "output"
    script = f"""
        cp "$(command -v sleep)" {output}.new
        truncate -s 20M {output}.new
        mv {output}.new {output}
        {output} 600 >/dev/null 2>&1 &  # ETXTBSY for whoever opens it to write
        while [ "$(readlink /proc/$!/exe)" != {output} ]; do sleep 0.05; done
    """
    ended = agent.run("e1", script, detach_method="setsid")
    assert (ended["state"], ended["error"]) == ("succeeded", None)
    assert "cannot bound the output of execution e1" in (agent.folder / "agent.log").read_text()
    assert agent.run("e2", "true")["state"] == "succeeded"


def test_output_that_cannot_be_read_says_so(agent: AgentProcess):
    output = agent.state_dir / "executions" / "e1" / "output"
    ended = agent.run("e1", f"rm {output}; mkdir {output}", detach_method="setsid")
    assert ended["state"] == "succeeded"
    assert "cannot read the output" in ended["output_tail"]


@pytest.mark.parametrize("damage", ["", "truncated", "\xff\x00", "another's", "a directory"])
def test_damaged_journal_entry_is_set_aside_and_the_others_go_on(
    agent: AgentProcess, tmp_path: Path, damage: str
):
    for number in (1, 2, 3):
        agent.execute(f"e{number}", "sleep 600", project_id=f"p{number}")
        wait_until(lambda name=f"e{number}": agent.get(f"/v1/executions/{name}")["pid"])
    agent.kill()
    record = agent.state_dir / "executions" / "e2" / "record.json"
    content = record.read_text()
    if damage == "a directory":
        record.unlink()
        record.mkdir()
    else:
        other = json.dumps({**json.loads(content), "execution_id": "../e3"})
        record.write_text({"truncated": content[:100], "another's": other}.get(damage, damage), "latin-1")
    for _ in range(2):
        agent.start()
        assert [agent.get(f"/v1/executions/e{number}")["state"] for number in (1, 3)] == ["running"] * 2
        assert agent.http.get("/v1/executions/e2").status_code == 404
        body = command_for(tmp_path, "e2", f"touch {tmp_path}/ran", project_id="p2")
        refused = agent.post("/v1/commands/release.execute", body)
        assert (refused.status_code, "may have run" in refused.json()["detail"]) == (409, True)
        agent.kill()
    assert not (tmp_path / "ran").exists()
    assert "the journal's entry e2" in (agent.folder / "agent.log").read_text()
    agent.start()
    assert agent.run("e4", "true", project_id="p2")["state"] == "succeeded"


async def test_record_that_cannot_be_picked_up_is_lost_and_the_others_go_on(tmp_path: Path):
    async with executions_in(tmp_path) as executions:
        for name in ("e1", "e2"):
            await executions.execute(request(tmp_path, name, "true"))
            await executions.wait(name, 60)
    folder = tmp_path / "state" / "executions" / "e1"
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "state": "running", "finished_at": None}))
    answers = iter([OSError(5, "broken on purpose")])

    def clock() -> datetime:
        for error in answers:
            raise error
        return datetime.now(UTC)

    async with executions_in(tmp_path, clock=clock) as executions:
        ended = await executions.wait("e1", 60)
        assert (ended.state, "broken on purpose" in (ended.error or "")) == (ExecutionState.LOST, True)
        assert (await executions.wait("e2", 60)).state == ExecutionState.SUCCEEDED
        await executions.execute(request(tmp_path, "e3", "true"))
        assert (await executions.wait("e3", 60)).state == ExecutionState.SUCCEEDED
        with pytest.raises(Refused):
            await executions.wait("e4", 0)


@pytest.mark.parametrize("content", ["x y z .\n", "² 1 b .\n", "99999999999999999999999 1 b .\n", "\0\0\0"])
async def test_damaged_identity_of_a_wrapper_is_no_wrapper(tmp_path: Path, content: str):
    async with executions_in(tmp_path) as executions:
        await executions.execute(request(tmp_path, "e1", "true"))
        await executions.wait("e1", 60)
    folder = tmp_path / "state" / "executions" / "e1"
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "state": "running", "finished_at": None}))
    (folder / "started").write_text(content)
    (folder / "pid").write_text("²")
    async with executions_in(tmp_path) as executions:
        assert (await executions.wait("e1", 60)).state == ExecutionState.SUCCEEDED
        assert executions.own_pids()


_WATCH_WITHOUT_A_DESCRIPTOR = """
import asyncio, os, resource, subprocess
from agent.executions.watching import wait_for_exit

async def watch():
    child = subprocess.Popen(["sleep", "1"])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass
    await wait_for_exit(child.pid, child)
    assert child.returncode == 0

asyncio.run(watch())
print("seen to its end")
"""


def test_script_is_watched_also_where_no_descriptor_is_left():
    command = [sys.executable, "-c", _WATCH_WITHOUT_A_DESCRIPTOR]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "seen to its end\n", done.stderr


def test_work_dir_that_several_executions_make_at_once_is_made_once(tmp_path: Path):
    at_once = threading.Barrier(8)

    def prepare(name: str) -> None:
        at_once.wait(60)
        prepare_work_dir(
            request(tmp_path, "e", "true").model_copy(update={"work_dir": f"{tmp_path}/{name}/a/b"})
        )

    with ThreadPoolExecutor(8) as threads:
        for number in range(60):
            for done in [threads.submit(prepare, str(number)) for _ in range(8)]:
                done.result()
