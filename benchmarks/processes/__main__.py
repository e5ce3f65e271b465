"""Collection by 4 rules with 3 matches among 2,000 and 5,000 processes: CPU time of the whole job, medians, ratios.

`python -m benchmarks.processes [COUNT …]`. Needs gcc, ps and ss. Bounded: two minutes on two cores.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.processes.collector import ProcessCollector
from agent.processes.memory import FULL_SCAN_EVERY
from agent.processes.ports import PortOwners
from agent.processes.procfs import Proc
from agent.wire.processes import Rule
from benchmarks.processes import peers
from benchmarks.processes.crowd import Crowd, compile_c, crowd
from benchmarks.results import at_most, write_results

COUNTS = (2000, 5000)
ROUNDS = 9
TARGET_FLOORS, TARGET_STEADY_MS, TARGET_PORT_MS = 1.3, 10, 1


def cpu_ms() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return 1000 * sum(usage.ru_utime + usage.ru_stime for usage in usages)


def median_cpu_ms(job: Callable[[], object], rounds: int = ROUNDS) -> float:
    spent = []
    for _ in range(rounds):
        before = cpu_ms()
        job()
        spent.append(cpu_ms() - before)
    return statistics.median(spent)


def per_call_cpu_ms(job: Callable[[], object], calls: int) -> float:
    """For jobs shorter than the clock's tick: the mean of many calls, and the median of those."""
    return median_cpu_ms(lambda: [job() for _ in range(calls)]) / calls


def floor_ms(binary: Path) -> float:
    done = subprocess.run([str(binary), str(ROUNDS)], capture_output=True, text=True, check=True)
    return statistics.median(float(line) for line in done.stdout.split())


def rules_of(members: Crowd) -> list[Rule]:
    return [
        Rule(type="name", pattern=members.name, name="name"),
        Rule(type="cmdline", pattern=members.marker, name="cmdline"),
        Rule(type="port", pattern=str(members.port), name="port"),
        Rule(type="pidfile", pattern="/nonexistent/bench.pid", name="pidfile"),
    ]


def check(found: set[int], members: Crowd, who: str) -> None:
    assert found == members.pids, f"{who} found {found}, not {set(members.pids)}"


def measure_ours(members: Crowd) -> dict[str, float]:
    rules = rules_of(members)
    firsts = [median_cpu_ms(lambda: ProcessCollector(own_pids=set).collect(rules), 1) for _ in range(5)]
    collector = ProcessCollector(own_pids=set)
    for _ in range(3):
        check({p.pid for p in collector.collect(rules).processes}, members, "hoist")
    full = median_cpu_ms(lambda: collector.collect(rules, fresh=True))
    # Whole cycles, so that the full scan of every tenth round is in it.
    mean = (
        median_cpu_ms(lambda: [collector.collect(rules) for _ in range(FULL_SCAN_EVERY)], 5) / FULL_SCAN_EVERY
    )
    steady = statistics.median(
        median_cpu_ms(lambda: collector.collect(rules), 1) for _ in range(4 * FULL_SCAN_EVERY)
    )
    return {
        "first_scan_with_port_search": statistics.median(firsts),
        "full_scan": full,
        "steady_round": steady,
        "mean_round_with_its_share_of_full_scans": mean,
    }


def measure_ports(members: Crowd) -> dict[str, float]:
    owners = PortOwners()
    with Proc() as proc:
        pids = frozenset(proc.pids())

        def known() -> None:
            found = owners.owners(proc, pids, {members.port}, owners.sockets())
            assert found[members.port]

        first = median_cpu_ms(known, 1)
        return {
            "hoist_first": first,
            "hoist_known": per_call_cpu_ms(known, 50),
            "psutil": median_cpu_ms(lambda: peers.ports_by_psutil(members), 5),
            "ss": median_cpu_ms(lambda: peers.ports_by_ss(members), 5),
        }


def measure(count: int, spawner: Path, floor: Path) -> dict[str, Any]:
    with crowd(spawner, count) as members:
        check(peers.by_psutil(members), members, "psutil")
        check(peers.by_ps_and_ss(members), members, "ps and ss")
        floors = [floor_ms(floor)]
        ours = measure_ours(members)
        floors.append(floor_ms(floor))
        psutil_ms = median_cpu_ms(lambda: peers.by_psutil(members), 5)
        ps_ms = median_cpu_ms(lambda: peers.by_ps_and_ss(members), 5)
        floors.append(floor_ms(floor))
        ports = measure_ports(members)
    figures = {**ours, "psutil_oneshot": psutil_ms, "ps_and_ss": ps_ms, "c_floor": statistics.median(floors)}
    return compare(
        {name: round(value, 2) for name, value in figures.items()},
        {name: round(value, 3) for name, value in ports.items()},
    )


def compare(cpu: dict[str, float], ports: dict[str, float]) -> dict[str, Any]:
    """The ratios, and the targets; milliseconds of CPU, rounded to what is kept."""
    times = {name: round(value / cpu["c_floor"], 2) for name, value in cpu.items()}
    names = ("psutil_oneshot", "ps_and_ss")
    peers, peer_times = ({name: of[name] for name in names} for of in (cpu, times))
    by_port = {name: ports[name] for name in ("psutil", "ss")}
    return {
        "cpu_ms": cpu,
        "times_the_floor": times,
        "psutil_over_hoist": {
            name: round(cpu["psutil_oneshot"] / cpu[name], 1) for name in ("full_scan", "steady_round")
        },
        "port_to_pid_cpu_ms": ports,
        "targets_met": {
            "full_scan": at_most(
                times["full_scan"], TARGET_FLOORS, "× the floor", peers=peer_times, floor=1.0
            ),
            "steady_round": at_most(
                cpu["steady_round"], TARGET_STEADY_MS, "ms CPU", peers=peers, floor=cpu["c_floor"]
            ),
            "known_port_to_pid": at_most(ports["hoist_known"], TARGET_PORT_MS, "ms CPU", peers=by_port),
        },
    }


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or list(COUNTS)
    with tempfile.TemporaryDirectory(prefix="hoist-bench-") as folder:
        spawner, floor = compile_c("spawner", Path(folder)), compile_c("floor", Path(folder))
        figures = {f"{count}_processes": measure(count, spawner, floor) for count in counts}
    write_results("processes", {"rules": 4, "matches": 3, "rounds": ROUNDS, **figures})


if __name__ == "__main__":
    main()
