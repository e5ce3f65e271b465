"""What a version needs of its client's agent."""

from datetime import UTC, datetime

import pytest

from agent.wire.info import FEATURES, AgentInfo
from db.documents.evidence import EvidenceConfig
from tasks.decisions.compatibility import what_is_lacking

PROBE = {"type": "command", "command": "shop --version"}
FILE = {"type": "file", "path": "/srv/shop/VERSION"}
CHECK = {"type": "tcp", "port": 80}


def lacking(evidence, *, has=(), operation="update", run_as=None, container=False):
    info = AgentInfo(
        client_id="web-1",
        agent_version="0.0.9",
        features=has,
        hostname="web-1",
        boot_id="b",
        started_at=datetime(2030, 1, 1, tzinfo=UTC),
        detach_methods=("setsid",),
    )
    config = EvidenceConfig.model_validate(evidence)
    return what_is_lacking(info, config, operation, run_as, container=container)


@pytest.mark.parametrize(
    ("evidence", "asked", "feature"),
    [
        ({"checks": [CHECK]}, {}, "evidence_checks"),
        ({"version_probe": PROBE}, {"run_as": "shop"}, "check_run_as"),
        ({"version_probe": PROBE, "source": "exit_code"}, {"run_as": "shop"}, "check_run_as"),
        ({"checks": [{"type": "command", "command": "true"}]}, {"run_as": "shop"}, "check_run_as"),
        ({}, {"container": True}, "containers"),
        ({}, {"container": True, "operation": "uninstall"}, "containers"),
    ],
)
def test_what_proves_a_version_is_needed(evidence, asked, feature):
    why = lacking(evidence, **asked)
    assert f"feature {feature}" in why
    assert "0.0.9" in why
    others = tuple(one for one in FEATURES if one != feature)
    assert f"feature {feature}" in lacking(evidence, has=others, **asked)
    assert lacking(evidence, has=FEATURES, **asked) is None


@pytest.mark.parametrize(
    ("evidence", "asked"),
    [
        ({}, {}),
        ({"version_probe": PROBE}, {}),
        ({"version_probe": FILE}, {"run_as": "shop"}),
        ({"checks": [CHECK], "source": "exit_code"}, {}),
        ({"checks": [CHECK], "version_probe": PROBE}, {"operation": "uninstall", "run_as": "shop"}),
    ],
)
def test_an_agent_of_the_oldest_wire_does_for_the_rest(evidence, asked):
    assert lacking(evidence, **asked) is None
