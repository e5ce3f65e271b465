"""The same question asked of psutil and of `ps` with `ss`: which processes match by name, arguments or port, and how are they?"""

import re
import subprocess

import psutil

from benchmarks.processes.crowd import Crowd


def by_psutil(crowd: Crowd) -> set[int]:
    holders = {
        c.pid
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == crowd.port
    }
    found = set()
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                matches = (
                    process.pid in holders
                    or process.name() == crowd.name
                    or crowd.marker in " ".join(process.cmdline())
                )
                if matches:
                    found.add(process.pid)
                    (
                        process.status(),
                        process.create_time(),
                        process.cpu_times(),
                        process.memory_info(),
                        process.ppid(),
                    )
        except psutil.Error:
            continue
    return found


def by_ps_and_ss(crowd: Crowd) -> set[int]:
    columns = "pid=,ppid=,stat=,lstart=,time=,rss=,comm:32=,args="
    listed = subprocess.run(
        ["ps", "-ww", "-e", "-o", columns], capture_output=True, text=True, check=True
    ).stdout
    sockets = subprocess.run(
        ["ss", "-Hltnp", f"sport = :{crowd.port}"], capture_output=True, text=True, check=True
    ).stdout
    found = {int(pid) for pid in re.findall(r"pid=(\d+)", sockets)}
    for line in listed.splitlines():
        fields = line.split(None, 10)
        if len(fields) > 10 and (fields[10].split()[0] == crowd.name or crowd.marker in fields[10]):
            found.add(int(fields[0]))
    return found


def ports_by_psutil(crowd: Crowd) -> set[int]:
    return {
        c.pid or 0
        for c in psutil.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN and c.laddr.port == crowd.port
    }


def ports_by_ss(crowd: Crowd) -> set[int]:
    sockets = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True, check=True).stdout
    return {
        int(pid)
        for line in sockets.splitlines()
        if f":{crowd.port} " in line
        for pid in re.findall(r"pid=(\d+)", line)
    }
