"""TEST-004: the container collector, against a real Docker engine and `docker stats`."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from agent.containers.cgroups import Cgroups
from agent.containers.collector import ContainerCollector
from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable
from agent.containers.service import count_by_prefix
from agent.wire.containers import ContainerInfo
from tests.docker_engine import DockerEngine
from tests.real_processes import wait_until

MIB = 1024 * 1024


def _nowhere() -> Cgroups:
    """Control groups that can't be read from here: of an empty /proc."""
    return Cgroups(Path("/var/empty-proc"))


@pytest.fixture(scope="module")
def image(session_docker_engine: DockerEngine) -> str:
    session_docker_engine.build("app:1.0")
    session_docker_engine.build("app:plain", health=False)
    return "app:1.0"


@pytest.fixture
def run(docker_engine: DockerEngine, image: str):
    """Starts a container of the application; its id."""

    def start(name: str, tag: str = "app:plain", started: bool = True, **values: Any) -> str:
        config = docker_engine.api.create_host_config(**values.pop("host", {}))
        made = docker_engine.api.create_container(tag, name=name, host_config=config, **values)
        if started:
            docker_engine.api.start(made["Id"])
        return str(made["Id"])

    return start


@pytest.fixture
def collector(docker_engine: DockerEngine) -> ContainerCollector:
    return ContainerCollector(Engine(docker_engine.url))


def _by_name(collector: ContainerCollector, *prefixes: str) -> dict[str, ContainerInfo]:
    return {one.container_name: one for one in collector.collect(prefixes).containers}


def _docker_stats(engine: DockerEngine, name: str) -> tuple[float, float]:
    """CPU % and MiB of memory as docker's own command has them now."""
    command = [
        *(shutil.which("docker") or "docker", "-H", engine.url, "stats", "--no-stream"),
        *("--format", "{{json .}}", name),
    ]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    return float(said["CPUPerc"].rstrip("%")), float(said["MemUsage"].partition("MiB")[0])


def _read_pages(engine: DockerEngine, container_id: str) -> int:
    """Bytes of files in the kernel's cache that it charges to the container, and would take back first."""
    stats = engine.api.stats(container_id, stream=False, one_shot=True)["memory_stats"]["stats"]
    return int(stats.get("total_inactive_file", stats.get("inactive_file", 0)))


@pytest.mark.parametrize("readable", [True, False], ids=["cgroups", "statistics"])
def test_cpu_and_memory_agree_with_docker_stats_under_load(docker_engine, run, readable: bool):
    """Memory within 5 %, without the pages of a file that was read; CPU within 5 points and 5 %, as it is never the same twice."""
    limit = 400 * MIB
    container = run(
        "busy",
        environment={"BURN": "1", "EAT_MB": "200", "READ_MB": "100"},
        host={"mem_limit": limit, "nano_cpus": 500_000_000},
    )
    collector = ContainerCollector(Engine(docker_engine.url), None if readable else _nowhere())
    wait_until(lambda: _read_pages(docker_engine, container) > 90 * MIB)

    def agree() -> bool:
        collector.collect()
        cpu, memory = _docker_stats(docker_engine, "busy")
        mine = _by_name(collector)["busy"]
        assert mine.memory_limit == limit
        assert abs(mine.memory_usage / MIB - memory) <= 0.05 * memory
        assert mine.memory_percent == pytest.approx(100 * mine.memory_usage / limit, abs=0.1)
        assert 200 <= memory < 250
        # Two looks at a moving thing: docker's second is within ours, but no more than half of it.
        return abs(mine.cpu_percent - cpu) <= 5 + 0.05 * cpu

    wait_until(agree)


def test_limit_without_one_is_the_hosts_memory(docker_engine, run, collector):
    run("free")
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert _by_name(collector)["free"].memory_limit == total


def test_first_collection_looks_twice_so_that_it_has_cpu_too(docker_engine, run):
    run("busy", environment={"BURN": "1"})
    once = _by_name(ContainerCollector(Engine(docker_engine.url)))["busy"]
    assert once.cpu_percent > 20
    unhurried = ContainerCollector(Engine(docker_engine.url), first_interval_s=0)
    assert _by_name(unhurried)["busy"].cpu_percent is None
    assert wait_until(lambda: _by_name(unhurried)["busy"].cpu_percent) > 20


def test_urgent_collection_waits_for_no_cpu_and_the_next_one_has_it(docker_engine, run):
    run("busy", environment={"BURN": "1"})
    collector = ContainerCollector(Engine(docker_engine.url), first_interval_s=20)
    begun = time.monotonic()
    [found] = collector.collect(urgent=True).containers
    assert time.monotonic() - begun < 20
    assert found.cpu_percent is None
    assert found.memory_usage, "only CPU takes two looks"
    again = wait_until(lambda: collector.collect(urgent=True).containers[0].cpu_percent)
    assert again > 20


def _ended_as(one: ContainerInfo) -> tuple[str, int | None]:
    return one.state, one.exit_code


def test_container_that_the_kernel_killed_for_its_memory_tells(run, collector):
    limits = {"mem_limit": 20 * MIB, "memswap_limit": 20 * MIB}
    run("hungry", environment={"EAT_MB": "200"}, host=limits)
    wait_until(lambda: _ended_as(_by_name(collector)["hungry"]) == ("exited", 137))


def test_remote_engine_is_asked_for_statistics(docker_engine, run):
    """Over TCP nothing is known of the engine's host: its limit is not this host's memory, its pids not ours."""
    run("app-1", host={"mem_limit": 64 * MIB})
    run("alone", host={"network_mode": "none"})
    with _forwarded(docker_engine.socket) as url:
        found = _by_name(ContainerCollector(Engine(url)))
    assert found["app-1"].memory_limit == 64 * MIB
    assert found["app-1"].memory_usage > 0
    assert found["app-1"].cpu_percent is not None
    assert found["app-1"].network_rx is not None
    assert (found["alone"].network_rx, found["alone"].network_tx) == (None, None)


@contextlib.contextmanager
def _forwarded(socket_path: Path):
    """The engine's socket at a TCP port of this machine, each connection by a process that carries it."""
    code = """
import socket, sys, threading
def carry(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    finally:
        b.close()
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    near, _ = server.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[1])
    for pair in ((near, far), (far, near)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
"""
    command = [sys.executable, "-c", code, str(socket_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"tcp://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def test_every_state_is_told(docker_engine, run, collector):
    run("made", started=False)
    run("runs")
    docker_engine.api.pause(run("held"))
    run("ended", environment={"DIE": "1"})
    run("again", environment={"DIE": "1"}, host={"restart_policy": {"Name": "always"}})
    wait_until(lambda: _by_name(collector)["ended"].state == "exited")
    wait_until(lambda: (_by_name(collector)["again"].restart_count or 0) > 1)
    found = _by_name(collector)
    assert (found["made"].state, found["made"].started_at, found["made"].exit_code) == ("created", None, None)
    assert (found["runs"].state, found["runs"].exit_code) == ("running", None)
    assert found["held"].state == "paused"
    assert found["held"].memory_usage > 0
    assert (found["ended"].state, found["ended"].exit_code) == ("exited", 3)
    assert found["ended"].memory_usage is None
    wait_until(lambda: _ended_as(_by_name(collector)["again"]) == ("restarting", 3))
    docker_engine.api.unpause("held")


def test_health_is_told(run, collector, docker_engine):
    docker_engine.build("app:sick", UNHEALTHY="1")
    run("well", "app:1.0")
    run("sick", "app:sick")
    run("none")
    assert _by_name(collector)["well"].health in ("starting", "healthy")
    wait_until(lambda: _by_name(collector)["well"].health == "healthy")
    wait_until(lambda: _by_name(collector)["sick"].health == "unhealthy")
    assert _by_name(collector)["none"].health is None


def test_restart_between_two_looks_is_seen(docker_engine, run, collector):
    container = run("app-1")
    before = _by_name(collector)["app-1"]
    docker_engine.api.restart(container, timeout=2)
    after = _by_name(collector)["app-1"]
    assert after.started_at > before.started_at
    assert after.cpu_percent < 50  # its CPU time began anew: it is no share of what the run before had


def test_crash_that_the_engine_restarts_is_counted(docker_engine, run, collector):
    run("app-1", host={"restart_policy": {"Name": "always"}})
    first = _by_name(collector)["app-1"]
    assert first.restart_count == 0
    pid = docker_engine.api.inspect_container("app-1")["State"]["Pid"]
    os.kill(pid, 9)
    wait_until(lambda: _by_name(collector)["app-1"].started_at > first.started_at)
    after = _by_name(collector)["app-1"]
    assert (after.state, after.restart_count) == ("running", 1)


def test_network_counts_what_came_and_went(docker_engine, run, collector):
    run("app-1", ports=[8080], host={"port_bindings": {8080: ("127.0.0.1", None)}})
    run("hosts", environment={"PORT": "18999"}, host={"network_mode": "host"})
    [port] = docker_engine.api.port("app-1", 8080)
    before = _by_name(collector)["app-1"]

    def ask() -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port['HostPort']}") as answer,
        ):
            return bool(answer.read())
        return False

    wait_until(ask)
    found = _by_name(collector)
    assert found["app-1"].network_rx > before.network_rx
    assert found["app-1"].network_tx > before.network_tx
    assert found["hosts"].network_rx is None


def test_longest_prefix_at_a_separator_has_a_container(run, collector):
    for name in ("shop-1", "shop-api-1", "shop2-1", "shop_x", "shop"):
        run(name, started=False)
    found = collector.collect(("shop", "shop-api")).containers
    matched = {one.container_name: one.matched_prefix for one in found}
    assert matched == {"shop-1": "shop", "shop-api-1": "shop-api", "shop_x": "shop", "shop": "shop"}
    counts = {
        one.prefix: (one.count, one.running, one.states)
        for one in count_by_prefix(("shop", "shop-api"), found)
    }
    assert counts == {"shop": (3, 0, {"created": 3}), "shop-api": (1, 0, {"created": 1})}


def test_labels_tell_project_version_and_client(run, collector):
    run("shop-1", labels={"hoist.project": "p", "hoist.version": "1.5", "hoist.client": "web-1"})
    one = _by_name(collector)["shop-1"]
    assert (one.project_id, one.version, one.client_id) == ("p", "1.5", "web-1")
    assert one.image_id.startswith("sha256:")


def test_container_that_goes_between_list_and_look_is_left_out(docker_engine, run, collector):
    stays = run("stays")
    for number in range(15):
        docker_engine.api.remove_container(run(f"goes-{number}"), force=True)
        assert "stays" in _by_name(collector)
    assert set(collector._details) == {stays}


def test_engine_that_is_absent_down_or_slow_is_a_clear_answer(docker_engine, run, collector, tmp_path):
    run("app-1")
    collector.collect()
    with pytest.raises(EngineUnavailable, match="there is no"):
        ContainerCollector(Engine(f"unix://{tmp_path}/none.sock")).collect()
    with pytest.raises(EngineUnavailable, match="nothing listens"):
        ContainerCollector(Engine("tcp://127.0.0.1:1")).collect()
    docker_engine.suspend()
    began = time.monotonic()
    try:
        with pytest.raises(EngineUnavailable, match="does not answer in time"):
            collector.collect()
        assert time.monotonic() - began < 15
    finally:
        docker_engine.resume()
    assert "app-1" in _by_name(collector)


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content + "\n")


def test_figures_of_cgroup_version_2_are_read(tmp_path):
    """A tree as the kernel documents it, written here: the machines at hand have memory and CPU under version 1 alone."""
    group, below = "cgroup/system.slice/docker-c1.scope", "cgroup/system.slice/docker-c1.scope/init.scope"
    mount = f"30 23 0:26 / {tmp_path}/cgroup rw,nosuid - cgroup2 cgroup2 rw"
    _write(tmp_path, {"self/mountinfo": mount, "meminfo": "MemTotal: 4000 kB\nMemFree: 1 kB"})
    _write(tmp_path, {"7/cgroup": "0::/system.slice/docker-c1.scope/init.scope"})
    stat = "anon 5\nfile 1\nactive_inactive_file 9\ninactive_file 300000\nslab 1"
    for folder, usage in ((group, 1_000_000), (below, 500_000)):
        figures = {"memory.current": f"{usage}", "memory.max": "max", "memory.stat": stat}
        _write(tmp_path / folder, figures | {"cpu.stat": f"usage_usec {usage}\nuser_usec 1"})
    found = Cgroups(tmp_path).group_of(7, "c1")
    usage = found.read()
    assert (usage.cpu_ns, usage.memory_usage, usage.memory_limit) == (10**9, 700_000, 4_096_000)
    for limit, effective in (("2000000", 2_000_000), ("9000000", 4_096_000)):
        _write(tmp_path / group, {"memory.max": limit})
        assert found.read().memory_limit == effective
    assert Cgroups(tmp_path).group_of(7, "c2") is None  # the engine's pid is somebody else here
    assert Cgroups(tmp_path).group_of(8, "c1") is None
    shutil.rmtree(tmp_path / group)
    assert found.read() is None
    assert found.current_identity() is None
