"""A swap that needs no gap: who polls the application through a network alias sees no failed request."""

import json
import sys
from pathlib import Path

import pytest

from tests.integration.agent.container_agent import ContainerAgent
from tests.real_processes import wait_until

# Every request resolves the name anew and, as clients do, tries all the addresses that it gets.
_POLLER = """
import collections, json, os, socket, time
seen, failed, ended = collections.Counter(), [], "/out/end"
while not os.path.exists(ended):
    try:
        with socket.create_connection(("shop", 8080), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
        seen[answer.rpartition(b"\\r\\n\\r\\n")[2].decode().strip() or "empty"] += 1
    except OSError as error:
        failed.append(repr(error))
    with open("/out/seen.new", "w") as file:
        json.dump({"seen": seen, "failed": failed}, file)
    os.replace("/out/seen.new", "/out/seen")
    time.sleep(0.005)
"""


@pytest.fixture
def agent(tmp_path: Path, docker_engine):
    for version in ("1.0", "1.1"):
        docker_engine.build(f"shop:{version}")
    process = ContainerAgent(tmp_path / "one", docker_engine)
    try:
        yield process.start()
    finally:
        process.close()


@pytest.fixture
def network(docker_engine):
    name = "shop-net"
    made = docker_engine.api.create_network(name, check_duplicate=True)
    yield name
    docker_engine.remove_all()
    docker_engine.api.remove_network(made["Id"])


@pytest.fixture
def poll(docker_engine, network, tmp_path: Path):
    """Starts a client in the network: this machine's own Python, in a container made from the test's image."""

    def start() -> Path:
        out = tmp_path / "out"
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
        api = docker_engine.api
        host = api.create_host_config(binds=[*binds, f"{out}:/out"], network_mode=network)
        python = str(
            Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        )
        made = api.create_container(
            "shop:1.0", name="poller", entrypoint=[python], command=["/out/poll.py"], host_config=host
        )
        api.start(made)
        return out

    return start


def test_client_of_an_alias_sees_no_failed_request(agent, network, poll, docker_engine):
    config = {"networks": [{"name": network, "aliases": ["shop"]}]}
    assert agent.deploy("e1", "1.0", config=config)["state"] == "succeeded"
    out = poll()

    def answers(version: str, least: int) -> bool:
        try:
            said = json.loads((out / "seen").read_text())
        except FileNotFoundError:
            return False
        return said["seen"].get(version, 0) >= least

    wait_until(lambda: answers("1.0", 200))
    done = agent.deploy("e2", "1.1", config=config)
    assert (done["state"], done["container"]["gap_ms"]) == ("succeeded", 0)
    wait_until(lambda: answers("1.1", 200))
    failed = agent.deploy("e3", "1.0", config={**config, "env": {"UNHEALTHY": "1"}})
    assert failed["state"] == "failed"
    (out / "end").touch()
    said = json.loads((out / "seen").read_text())
    assert said["failed"] == []
    assert set(said["seen"]) == {"1.0", "1.1"}, said["seen"]
    aliases = docker_engine.api.inspect_container("shop-prod-2")["NetworkSettings"]["Networks"][network]
    assert "shop" in aliases["Aliases"]
