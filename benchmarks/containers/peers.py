"""The same figures from docker's own command and from its SDK, and the floor: the kernel's files, read and nothing else."""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

THREADS = 16


def by_docker_stats(url: str) -> int:
    command = [
        shutil.which("docker") or "docker",
        "-H",
        url,
        "stats",
        "--no-stream",
        "--format",
        "{{json .}}",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    return len([line for line in said.splitlines() if json.loads(line)["CPUPerc"]])


def by_sdk_stats(sdk: docker.DockerClient) -> int:
    with ThreadPoolExecutor(THREADS) as threads:
        stats = threads.map(lambda container: container.stats(stream=False), sdk.containers.list())
        return len([one for one in stats if one["memory_stats"]["usage"]])


def by_sdk_list(sdk: docker.DockerClient) -> int:
    return len(sdk.containers.list(all=True))


def floor_files(pids: list[int]) -> list[str]:
    """Of each container: CPU, memory, limit, memory's statistics, and its network."""
    files = []
    for pid in pids:
        groups = dict(_groups(pid))
        if "memory" in groups:
            memory = Path("/sys/fs/cgroup/memory") / groups["memory"]
            names = ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat")
            files.append(str(Path("/sys/fs/cgroup/cpuacct") / groups["cpuacct"] / "cpuacct.usage"))
        else:
            memory = Path("/sys/fs/cgroup") / groups[""]
            names = ("memory.current", "memory.max", "memory.stat", "cpu.stat")
        files += [str(memory / name) for name in names]
        files.append(f"/proc/{pid}/net/dev")
    return files


def read_all(files: list[str]) -> int:
    read = 0
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        read += len(os.read(descriptor, 16_384))
        os.close(descriptor)
    return read


def _groups(pid: int) -> list[tuple[str, str]]:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    parts = [line.split(":", 2) for line in lines]
    return [(name, path.lstrip("/")) for _, names, path in parts for name in names.split(",")]
