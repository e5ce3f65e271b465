"""Serves simulated agents, each on a port of its own: prints the ports as JSON, then answers until it is ended."""

import json
import resource
import socket
import sys

import uvicorn

from benchmarks.rollout.agents import SimulatedFleet


def allow_many_files() -> None:
    """A port and a connection for each client: more than the usual soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    allow_many_files()
    clients = [f"c{number:04}" for number in range(int(sys.argv[1]))]
    sockets = []
    for _ in clients:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        sockets.append(listener)
    print(json.dumps({c: s.getsockname()[1] for c, s in zip(clients, sockets, strict=True)}), flush=True)
    config = uvicorn.Config(SimulatedFleet(clients, "1.4").app, log_level="error", lifespan="off")
    uvicorn.Server(config).run(sockets=sockets)


if __name__ == "__main__":
    main()
