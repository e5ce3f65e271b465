"""A client in a container network that asks an alias again and again: what it was answered, and what failed."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.docker_engine import DockerEngine

# Every request resolves the name anew and, as clients do, tries all the addresses that it gets.
_POLLER = """
import collections, json, os, socket, time
seen, failed, ended = collections.Counter(), [], "/out/end"
while not os.path.exists(ended):
    began, answer, where = time.time(), b"", None
    try:
        with socket.create_connection(("shop", 8080), timeout=10) as connection:
            where = connection.getpeername()[0]
            connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            while chunk := connection.recv(4096):
                answer += chunk
        seen[answer.rpartition(b"\\r\\n\\r\\n")[2].decode().strip() or "empty"] += 1
    except OSError as error:
        after = time.time() - began
        failed.append(f"{error!r} at {began:.3f}, after {after:.3f} s, by {where}, {len(answer)} bytes answered")
    with open("/out/seen.new", "w") as file:
        json.dump({"seen": seen, "failed": failed}, file)
    os.replace("/out/seen.new", "/out/seen")
    time.sleep(0.005)
"""


class AliasPoller:
    """This machine's own Python, in a container made from `image`; it asks `shop`, port 8080."""

    def __init__(self, engine: DockerEngine, network: str, image: str, out: Path) -> None:
        self._out = out
        out.mkdir()
        (out / "poll.py").write_text(_POLLER)
        shared = {
            Path(place) for place in ("/usr", "/lib", "/lib64", sys.base_prefix) if Path(place).exists()
        }
        binds = [
            f"{place}:{place}:ro"
            for place in sorted(shared)
            if place == Path("/usr") or Path("/usr") not in place.parents
        ]
        host = engine.api.create_host_config(binds=[*binds, f"{out}:/out"], network_mode=network)
        python = str(
            Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        )
        made = engine.api.create_container(
            image, name=f"poller-{network}", entrypoint=[python], command=["/out/poll.py"], host_config=host
        )
        engine.api.start(made)

    def answers(self, version: str, least: int) -> bool:
        """Whether it was answered by that version so often."""
        try:
            said = json.loads((self._out / "seen").read_text())
        except FileNotFoundError:
            return False
        return int(said["seen"].get(version, 0)) >= least

    def end(self) -> dict[str, Any]:
        """What it saw: `seen` (how often each version answered) and `failed`."""
        (self._out / "end").touch()
        return dict(json.loads((self._out / "seen").read_text()))
