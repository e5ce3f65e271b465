"""The peers and the floor: the same one-line script, run `hosts` times."""

import asyncio
import logging
import time

from benchmarks.fanout.sshd import USER, Sshd

SCRIPT = "echo done > /dev/null"


async def fork_exec(hosts: int, parallel: int) -> float:
    """The floor: one shell per host, nothing between. Returns seconds."""
    slots = asyncio.Semaphore(parallel)

    async def run() -> None:
        async with slots:
            process = await asyncio.create_subprocess_exec("/bin/bash", "-c", SCRIPT)
            assert await process.wait() == 0

    begun = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(hosts)))
    return time.perf_counter() - begun


async def over_asyncssh(hosts: int, parallel: int, sshd: Sshd) -> float:
    """One connection and one command per host. Returns seconds."""
    import asyncssh

    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    slots = asyncio.Semaphore(parallel)

    async def run() -> None:
        async with slots:
            connection = await asyncssh.connect(
                "127.0.0.1",
                sshd.port,
                username=USER,
                client_keys=[str(sshd.key)],
                known_hosts=None,
                config=None,
            )
            async with connection:
                done = await connection.run(f"/bin/bash -c '{SCRIPT}'")
                assert done.exit_status == 0, done.stderr

    begun = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(hosts)))
    return time.perf_counter() - begun


PYINFRA_PROGRAM = """
# Run by a process of its own: pyinfra patches the standard library for gevent.
import sys, time
from gevent import monkey
monkey.patch_all()
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.operations import server
hosts, parallel, port, key, script = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
data = {"ssh_user": "hoist-bench", "ssh_port": port, "ssh_key": key, "ssh_hostname": "127.0.0.1",
        "ssh_strict_host_key_checking": "off", "ssh_known_hosts_file": "/dev/null", "ssh_config_file": "/dev/null"}
begun = time.perf_counter()
inventory = Inventory(([(f"host-{n}", data) for n in range(hosts)], {}))
state = State(inventory, Config(PARALLEL=parallel))
connect_all(state)
add_op(state, server.shell, commands=[script])
run_ops(state)
assert len(state.active_hosts) == hosts, f"only {len(state.active_hosts)} of {hosts} hosts"
print(time.perf_counter() - begun)
"""


async def over_pyinfra(hosts: int, parallel: int, sshd: Sshd, python: str) -> float:
    """Pyinfra's own way: connect to all, one shell operation. Returns seconds."""
    process = await asyncio.create_subprocess_exec(
        python, "-c", PYINFRA_PROGRAM, str(hosts), str(parallel), str(sshd.port), str(sshd.key), SCRIPT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 300)
    if process.returncode != 0:
        raise SystemExit(f"pyinfra failed: {err.decode()[-1500:]}")
    return float(out.decode().strip().splitlines()[-1])
