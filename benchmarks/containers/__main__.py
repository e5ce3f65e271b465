"""50 running containers with CPU, memory and network: the collector, its peers and the floor, side by side in one run.

`python -m benchmarks.containers [COUNT]`, as root, with Debian's docker.io; an engine of its own is started and ended.
Three figures each, medians: `wall`; `cpu` of the process that asks (its children included); `engine_cpu`, what the
engine spent meanwhile (dockerd, containerd and shims, by the 10 ms tick, so a mean over the rounds). Some three minutes.
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker

from agent.containers.collector import ContainerCollector
from agent.containers.engine import Engine
from benchmarks.containers import peers
from benchmarks.processes.__main__ import cpu_ms
from benchmarks.results import at_least, at_most, write_results
from tests.docker_engine import DockerEngine

COUNT = 50
ROUNDS = 50
PEER_ROUNDS = 5
INTERVAL_S = 0.6
"""Between our rounds: closer ones would share a CPU sample."""
TARGET_MS, TARGET_RATIO = 25, 100
Figures = dict[str, float]


def engine_cpu_ms(folder: Path) -> float:
    """CPU time until now of every process that has the engine's folder in its arguments: not of the containers."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return ticks * 10.0


def measure(job: Callable[[], int], count: int, folder: Path, rounds: int, interval_s: float = 0) -> Figures:
    walls, cpus, engines = [], [], []
    for _ in range(rounds):
        time.sleep(interval_s)
        engine, cpu, wall = engine_cpu_ms(folder), cpu_ms(), time.perf_counter()
        found = job()
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(cpu_ms() - cpu)
        engines.append(engine_cpu_ms(folder) - engine)
        assert found >= count, f"found {found} of {count}"
    return {
        "wall": round(statistics.median(walls), 2),
        "cpu": round(statistics.median(cpus), 2),
        "engine_cpu": round(statistics.mean(engines), 2),
    }


def start_containers(engine: DockerEngine, count: int) -> list[int]:
    """Their pids. Every fifth keeps 20 MB, so that there is something to see."""
    engine.build("app:bench", health=False)
    pids = []
    for number in range(count):
        environment = {"EAT_MB": "20" if number % 5 == 0 else "0"}
        made = engine.api.create_container("app:bench", name=f"bench-{number + 1}", environment=environment)
        engine.api.start(made["Id"])
        pids.append(int(engine.api.inspect_container(made["Id"])["State"]["Pid"]))
    return pids


def collect(collector: ContainerCollector) -> int:
    containers = collector.collect().containers
    measured = [
        one
        for one in containers
        if None not in (one.cpu_percent, one.memory_usage, one.memory_limit, one.network_rx, one.network_tx)
    ]
    return len(measured)


def measure_all(engine: DockerEngine, count: int) -> dict[str, Figures]:
    files = peers.floor_files(start_containers(engine, count))
    sdk = docker.DockerClient(base_url=engine.url, timeout=300, max_pool_size=peers.THREADS)
    folder = engine.folder
    firsts = [ContainerCollector(Engine(engine.url)) for _ in range(PEER_ROUNDS)]
    collector = ContainerCollector(Engine(engine.url))
    collect(collector)
    return {
        "hoist_steady": measure(lambda: collect(collector), count, folder, ROUNDS, INTERVAL_S),
        "hoist_first": measure(lambda: collect(firsts.pop()), count, folder, PEER_ROUNDS),
        "docker_stats_no_stream": measure(
            lambda: peers.by_docker_stats(engine.url), count, folder, PEER_ROUNDS
        ),
        "sdk_stats_in_16_threads": measure(lambda: peers.by_sdk_stats(sdk), count, folder, PEER_ROUNDS),
        "sdk_list": measure(lambda: peers.by_sdk_list(sdk), count, folder, 4 * PEER_ROUNDS),
        "floor_kernel_files": measure(lambda: peers.read_all(files), count, folder, ROUNDS),
        "hoist_steady_again": measure(lambda: collect(collector), count, folder, ROUNDS, INTERVAL_S),
    }


def compare(figures: dict[str, Figures]) -> dict[str, Any]:
    # The worse of the two series: one before, one after the peers.
    series = (figures["hoist_steady"], figures["hoist_steady_again"])
    ours = {name: max(one[name] for one in series) for name in series[0]}
    stats = figures["docker_stats_no_stream"]
    ratios = {name: round(stats[name] / ours[name], 1) for name in ours}
    whole = (stats["cpu"] + stats["engine_cpu"]) / (ours["cpu"] + ours["engine_cpu"])
    return {
        "docker_stats_over_hoist": {**ratios, "cpu_with_the_engine": round(whole, 1)},
        "targets_met": {
            "steady_cpu": _steady(figures, ours, "cpu"),
            "steady_wall": _steady(figures, ours, "wall"),
            "docker_stats_over_ours_by_wall": at_least(ratios["wall"], TARGET_RATIO, "×"),
        },
    }


def _steady(figures: dict[str, Figures], ours: Figures, kind: str) -> dict[str, Any]:
    names = ("docker_stats_no_stream", "sdk_stats_in_16_threads", "sdk_list")
    peers = {name: figures[name][kind] for name in names}
    floor = figures["floor_kernel_files"][kind]
    return at_most(ours[kind], TARGET_MS, f"ms {kind}", peers=peers, floor=floor)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    folder = Path(tempfile.mkdtemp(prefix="hoist-bench-"))
    engine = DockerEngine(folder)
    try:
        engine.start()
        version = str(engine.api.version()["Version"])
        figures = measure_all(engine, count)
        engine.remove_all()
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)
    settings = {"containers": count, "rounds": ROUNDS, "peer_rounds": PEER_ROUNDS, "docker_version": version}
    write_results("containers", {**settings, "milliseconds": figures, **compare(figures)})


if __name__ == "__main__":
    main()
