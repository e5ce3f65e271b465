"""A login to a registry: from a Prefect Secret block through the flow and the agent to the engine, and nowhere else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.demo.environment import CODE
from tests.e2e.container_shop import ContainerShop
from tests.e2e.shop import flow_logs
from tests.oci_registry import OciRegistry

USER, PASSWORD = "shop-puller", "hunter2-of-the-registry"
MAKE_BLOCK = (
    "import sys; from prefect.blocks.system import Secret; Secret(value=sys.stdin.read()).save(sys.argv[1])"
)


@pytest.fixture
def registry(docker_engine):
    made = OciRegistry(USER, PASSWORD)
    yield made
    made.close()
    docker_engine.remove_all()
    docker_engine.api.remove_image(made.image("2.0"), force=True)


def test_login_is_used_and_left_nowhere(fleet, docker_engine, registry):
    digest = registry.add("2.0", "2.0")
    login = {"username": USER, "password": PASSWORD, "server": f"127.0.0.1:{registry.port}"}
    subprocess.run(
        [sys.executable, "-c", MAKE_BLOCK, "shop-registry"],
        input=json.dumps(login),
        text=True,
        env=fleet.env,
        cwd=CODE,
        check=True,
        timeout=120,
    )
    shop = ContainerShop(fleet, docker_engine, ("web-1",))
    config = {"image": registry.image("2.0"), "pull": "always", "registry": "shop-registry"}
    config["ports"] = [{"container_port": 8080, "host_ip": "127.0.0.1"}]
    shop.api.post(
        "/versions",
        project_id=shop.project,
        version="2.0",
        status="active",
        timeout_s=60,
        deploy_config=config,
    )
    task = shop.deploy("install", version="2.0", client_ids=["web-1"])
    assert task["status"] == "completed", shop.results(task)
    assert shop.results(task)["web-1"]["evidence"]["containers"][0]["image_id"] == digest
    assert shop.serving("web-1") == ["2.0"]
    assert PASSWORD not in flow_logs(fleet, task["flow_run_id"], "web-1")
    assert PASSWORD not in json.dumps(shop.api.get(f"/tasks/{task['id']}"))
    assert places_with(PASSWORD.encode(), fleet.root, Path(fleet.prefect.process.log).parent.parent) == []


def places_with(secret: bytes, *roots: Path) -> list[Path]:
    """Files that have it in clear: logs, journals, both databases, homes, states."""
    files = (path for root in roots for path in root.rglob("*"))
    return [
        path
        for path in files
        if path.is_file()
        and not path.is_symlink()
        and path.stat().st_size < 200_000_000
        and secret in path.read_bytes()
    ]
