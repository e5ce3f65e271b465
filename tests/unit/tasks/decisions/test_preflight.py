from datetime import UTC, datetime

import pytest

from agent.wire.info import FEATURES, AgentInfo
from db.documents.evidence import EvidenceConfig
from tasks.decisions.preflight import Need, judge_readiness


def info(**fields) -> AgentInfo:
    values = {
        "client_id": "web-1",
        "agent_version": "1.0",
        "features": FEATURES,
        "hostname": "web-1",
        "boot_id": "b",
        "started_at": datetime(2030, 1, 1, tzinfo=UTC),
        "detach_methods": ("systemd", "setsid"),
        "free_bytes": 5_000_000_000,
        "min_free_bytes": 64_000_000,
    }
    return AgentInfo(**values | fields)


def need(**fields) -> Need:
    return Need(**{"client_id": "web-1", "operation": "update", "evidence": EvidenceConfig(), **fields})


def test_ready_client_has_no_problem():
    found = judge_readiness(need(), info(), None)
    assert (found.agent, found.method, found.free, found.problems) == ("1.0", "systemd", "5.0 GB", ())


@pytest.mark.parametrize(
    ("wanted", "seen", "says"),
    [
        ({}, {"client_id": "web-2"}, "web-2's"),
        ({"detach_method": "nohup"}, {}, "can't do nohup: it has systemd, setsid"),
        ({"container": True}, {}, "no container engine"),
        ({"container": True}, {"features": (), "docker_version": "27"}, "too old"),
        ({}, {"free_bytes": 63_000_000}, "disk is full: 63 MB free"),
    ],
)
def test_what_stands_in_the_way_is_said(wanted, seen, says):
    (problem,) = judge_readiness(need(**wanted), info(**seen), None).problems
    assert says in problem


def test_client_that_does_not_answer():
    found = judge_readiness(need(), None, "connection refused")
    assert found.problems == ("its agent does not answer: connection refused",)


def test_older_agent_that_does_not_say_how_much_is_free_is_ready():
    found = judge_readiness(need(), info(free_bytes=None, min_free_bytes=None), None)
    assert (found.free, found.problems) == ("–", ())
