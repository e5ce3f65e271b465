"""The flow `upgrade` on clients whose agents are one wire version behind."""

import pytest

from agent.wire.releases import Check, VersionProbe
from db.documents.evidence import EvidenceConfig
from db.models import Version
from flows.upgrade import upgrade
from tests.integration.tasks.conftest import serve_agents
from tests.integration.tasks.older_agents import OlderFleet

PROBE = VersionProbe(type="command", command="app --version")


@pytest.fixture
def served():
    """Eight clients, of which the first two have older agents."""
    clients = [f"c{number}" for number in range(1, 9)]
    yield from serve_agents(OlderFleet(clients, version="1.4", older={"c1", "c2"}))


def give_1_5(shop, **values):
    with shop.database.write() as session:
        version = session.query(Version).filter_by(version="1.5").one()
        for name, value in values.items():
            setattr(version, name, value)


async def run(task_id):
    return await upgrade(deploy_task_id=task_id, return_state=True)


async def test_older_agents_are_upgraded_like_the_others(shop):
    task_id = shop.plan(strategy={"waves": ["100%"], "stable_for_s": 0.5, "health_timeout_s": 20})

    state = await run(task_id)

    assert state.is_completed(), state.message
    assert shop.statuses(task_id) == {f"c{number}": "success" for number in range(1, 5)}
    results = shop.results(task_id)
    for client in ("c1", "c2"):
        evidence = results[client].evidence
        assert (evidence.verdict, evidence.version_proven, evidence.boot_id) == ("held", True, None)
        assert [process.start_ticks for process in evidence.processes] == [None]
        assert shop.client(client).monitors[shop.project_id].keys() >= {"version", "process_config"}
        assert "version_probe" not in shop.client(client).monitors[shop.project_id]
    assert results["c3"].evidence.processes[0].start_ticks is not None
    assert "version_probe" in shop.client("c3").monitors[shop.project_id]
    assert {row.version for row in shop.installations().values()} == {"1.5"}
    assert shop.fleet.refused == []


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        ({"evidence": EvidenceConfig(version_probe=PROBE, checks=(Check(type="tcp", port=80),))}, "evidence_checks"),
        ({"run_as": "shop"}, "check_run_as"),
    ],
    ids=["checks", "run_as"],
)  # fmt: skip
async def test_version_that_an_older_agent_can_not_prove_is_refused_before_its_script_starts(
    quick_shop, values, feature
):
    give_1_5(quick_shop, **values)
    task_id = quick_shop.plan(failure_strategy="continue")

    state = await run(task_id)

    assert state.name == "2 of 8 failed"
    results = quick_shop.results(task_id)
    for client in ("c1", "c2"):
        assert results[client].status == "failed"
        assert f"feature {feature}" in results[client].error
        assert quick_shop.client(client).scripts_run == []
        assert quick_shop.client(client).requests == {}
        assert quick_shop.installations()[client].version == "1.4"
        assert quick_shop.installations()[client].status == "installed"
    for number in range(3, 9):
        assert results[f"c{number}"].status == "success"
    assert quick_shop.fleet.refused == []
