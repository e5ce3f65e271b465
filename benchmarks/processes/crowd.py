"""Thousands of sleeping processes, and the three that the rules match; all of them die with the benchmark."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent


@dataclass(frozen=True)
class Crowd:
    name: str
    marker: str
    port: int
    pids: frozenset[int]


def compile_c(name: str, folder: Path) -> Path:
    binary = folder / name
    subprocess.run(["gcc", "-O2", "-o", str(binary), str(SOURCES / f"{name}.c")], check=True)
    return binary


@contextlib.contextmanager
def crowd(spawner: Path, count: int) -> Iterator[Crowd]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    def line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    try:
        named = spawner.with_name("bench-named")
        shutil.copy2(spawner, named)
        by_name = start(str(named), "sleep")
        many = start(str(spawner), str(count))
        assert line(many) == "ready", f"cannot start {count} processes"
        by_marker = start(str(spawner), "sleep", "--bench-marker", "one")
        by_port = start(str(spawner), "listen")
        port = int(line(by_port))
        pids = frozenset(process.pid for process in (by_name, by_marker, by_port))
        yield Crowd("bench-named", "--bench-marker one", port, pids)
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()
