"""Starting the wrapper: one way per detach method."""

import asyncio
import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.executions.environment import DEFAULT_PATH
from agent.executions.paths import ExecutionPaths, Started
from agent.executions.record import Record
from agent.executions.tree import boot_id, read_process

WRAPPER = Path(__file__).parent.parent / "lib" / "wrapper.sh"
_STARTUP_S = 30.0


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A wrapper that runs; `child` where it is the agent's own child and must be reaped."""

    started: Started
    child: subprocess.Popen[bytes] | None = None


async def spawn(record: Record, paths: ExecutionPaths) -> Wrapper | None:
    """Start the wrapper; None where it can't be started (the reason is then in the output) or is through already."""
    if record.method == "systemd":
        return await _as_unit(record, paths)
    child = subprocess.Popen(  # noqa: ASYNC220 (vfork: about a millisecond; asyncio's own takes three times as long)
        ["/bin/sh", str(WRAPPER), str(paths.directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": DEFAULT_PATH},
        start_new_session=record.method == "setsid",
        process_group=None if record.method == "setsid" else 0,
    )
    process = read_process(child.pid)
    ticks = process.ticks if process is not None else 0
    return Wrapper(Started(child.pid, ticks, boot_id()), child)


def unit_name(directory: Path) -> str:
    """A unit's name is a lock: one per execution of one agent."""
    return f"hoist-exec-{hashlib.sha256(str(directory).encode()).hexdigest()[:32]}.service"


async def _as_unit(record: Record, paths: ExecutionPaths) -> Wrapper | None:
    # KillMode=process: what is left in the unit's control group when the script ends is never stopped with it.
    properties = ["KillMode=process", "SendSIGHUP=no", "TasksMax=infinity", "LimitNOFILE=65536"]
    if systemd_version() >= 243:
        properties.append("OOMPolicy=continue")
    process = await asyncio.create_subprocess_exec(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit_name(paths.directory)}",
        f"--description=Hoist: {record.operation} of project {record.project_id}",
        *(f"--property={one}" for one in properties),
        "/bin/sh",
        str(WRAPPER),
        str(paths.directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", DEFAULT_PATH)},
    )
    _, complaint = await process.communicate()
    if process.returncode != 0:
        with paths.output.open("ab") as output:
            output.write(b"hoist: systemd-run refused: " + complaint[:4096])
        return None
    started = await wait_until_started(paths, _STARTUP_S)
    return None if started is None else Wrapper(started)


async def wait_until_started(paths: ExecutionPaths, limit_s: float) -> Started | None:
    """The wrapper's identity as soon as it has written it; None after `limit_s` seconds."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + limit_s, 0.002
    while (started := paths.read_started()) is None and loop.time() < deadline:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return started


@cache
def systemd_version() -> int:
    """The running systemd's version, 0 where it can't be told."""
    answer = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"systemd (\d+)", answer.stdout)
    return int(found.group(1)) if found else 0
