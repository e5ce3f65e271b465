"""The same one-line script on 200 hosts: through agents (HTTP, journalled, detached), asyncssh, pyinfra; and the floor.

The hosts are all this machine: 200 executions over a few real agents, 200 connections to one sshd. Wall clock, medians.
`python -m benchmarks.fanout [--hosts 200] [--parallel 25] [--rounds 3]`
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.fanout.agents import running_agents, through_agents
from benchmarks.fanout.peers import fork_exec, over_asyncssh, over_pyinfra
from benchmarks.fanout.sshd import running_sshd
from benchmarks.results import at_least, write_results

AGENTS = 2
TARGET_HOSTS_PER_S, TARGET_TO_PYINFRA = 250, 3


async def measure(hosts: int, parallel: int, rounds: int) -> dict[str, float]:
    """Hosts per second for each way of doing it: the median of `rounds`, taken in turns."""
    seconds: dict[str, list[float]] = {"fork_exec": [], "agents": [], "asyncssh": [], "pyinfra": []}
    with tempfile.TemporaryDirectory() as folder, running_sshd() as sshd:
        async with running_agents(AGENTS, Path(folder)) as urls:
            await through_agents(20, parallel, urls, "warm-up", Path(folder))
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", flush=True)
                seconds["fork_exec"].append(await fork_exec(hosts, parallel))
                seconds["agents"].append(
                    await through_agents(hosts, parallel, urls, f"round-{number}", Path(folder))
                )
                seconds["asyncssh"].append(await over_asyncssh(hosts, parallel, sshd))
                seconds["pyinfra"].append(await over_pyinfra(hosts, parallel, sshd, sys.executable))
    return {name: hosts / statistics.median(taken) for name, taken in seconds.items()}


def compare(rates: Mapping[str, float]) -> dict[str, Any]:
    """The ratios, and the targets; hosts per second, rounded to what is kept."""
    ours, floor = rates["agents"], rates["fork_exec"]
    peers = {name: rates[name] for name in ("asyncssh", "pyinfra")}
    ratios = {f"ours_to_{name}": round(ours / rate, 2) for name, rate in peers.items()}
    return {
        "hosts_per_s": dict(rates),
        **ratios,
        "ours_to_floor": round(ours / floor, 2),
        "targets_met": {
            "hosts_per_s": at_least(ours, TARGET_HOSTS_PER_S, "hosts/s", peers=peers, floor=floor),
            "rate_over_pyinfra": at_least(ratios["ours_to_pyinfra"], TARGET_TO_PYINFRA, "×"),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--parallel", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    measured = asyncio.run(measure(given.hosts, given.parallel, given.rounds))
    rates = {name: round(rate, 1) for name, rate in measured.items()}
    settings = {"hosts": given.hosts, "parallel": given.parallel, "agents": AGENTS}
    write_results("fanout", {**settings, **compare(rates)})


if __name__ == "__main__":
    main()
