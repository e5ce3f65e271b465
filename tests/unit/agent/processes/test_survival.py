from dataclasses import replace

import pytest

from agent.processes.survival import (
    AgentFacts,
    ProcessFacts,
    ignores_hangup,
    judge_survival,
    parse_control_group,
    unit_of,
)

UNIT = "/system.slice/hoist-agent.service"
AGENT = AgentFacts(
    pid=100,
    session=100,
    has_terminal=False,
    control_group=UNIT,
    unit="hoist-agent.service",
    kill_mode="process",
    pipes=frozenset({"pipe:[7]"}),
)
PROCESS = ProcessFacts(session=200, control_group=UNIT, outputs=("/var/log/app",), ignores_hangup=False)


@pytest.mark.parametrize("kill_mode", ["control-group", "mixed"])
def test_process_in_the_agents_unit_dies_with_it(kill_mode):
    survival = judge_survival(replace(AGENT, kill_mode=kill_mode), PROCESS)
    assert survival.survives_agent_stop is False
    assert f"KillMode={kill_mode}" in survival.reason
    assert "hoist-agent.service" in survival.reason


@pytest.mark.parametrize("kill_mode", ["process", "none"])
def test_unit_that_leaves_its_processes_alone_lets_them_live(kill_mode):
    assert judge_survival(replace(AGENT, kill_mode=kill_mode), PROCESS).survives_agent_stop is True


def test_group_below_the_agents_counts_as_the_agents():
    agent = replace(AGENT, kill_mode="control-group")
    assert judge_survival(agent, replace(PROCESS, control_group=UNIT + "/child")).survives_agent_stop is False
    assert judge_survival(agent, replace(PROCESS, control_group=UNIT + "2")).survives_agent_stop is True


def test_unknown_kill_mode_is_told_as_unknown():
    assert judge_survival(replace(AGENT, kill_mode=None), PROCESS).survives_agent_stop is None


def test_unit_of_its_own_survives():
    survival = judge_survival(
        replace(AGENT, kill_mode="control-group"),
        replace(PROCESS, control_group="/system.slice/app.service", unit="app.service", unit_enabled=True),
    )
    assert survival.survives_agent_stop is True
    assert survival.survives_reboot is True


def test_agents_own_enabled_unit_brings_no_application_back():
    assert not judge_survival(AGENT, replace(PROCESS, unit=AGENT.unit, unit_enabled=True)).survives_reboot


def test_pipe_to_the_agent_is_a_reason_to_die():
    survival = judge_survival(AGENT, replace(PROCESS, outputs=("/dev/null", "pipe:[7]")))
    assert survival.survives_agent_stop is False
    assert "pipe" in survival.reason
    assert judge_survival(AGENT, replace(PROCESS, outputs=("pipe:[8]",))).survives_agent_stop is True


def test_shared_session_matters_only_with_a_terminal():
    plain = replace(AGENT, unit=None, control_group="/", kill_mode=None)
    child = replace(PROCESS, session=100, control_group="/")
    assert judge_survival(plain, child).survives_agent_stop is True
    terminal = replace(plain, has_terminal=True)
    assert judge_survival(terminal, child).survives_agent_stop is False
    assert judge_survival(terminal, replace(child, ignores_hangup=True)).survives_agent_stop is True
    assert judge_survival(terminal, replace(child, session=300)).survives_agent_stop is True


def test_first_process_of_a_namespace_takes_everything_along():
    assert judge_survival(replace(AGENT, pid=1), PROCESS).survives_agent_stop is False


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("1:name=systemd:/system.slice/a.service\n0::/\n", "/system.slice/a.service"),
        ("9:name=systemd:/\n4:memory:/x\n0::/b\n", "/b"),
        ("", ""),
    ],
)
def test_control_group_of_both_hierarchies(raw, path):
    assert parse_control_group(raw) == path


def test_unit_is_the_innermost_service():
    assert unit_of("/user.slice/user@0.service/app.slice/shop.service/x") == "shop.service"
    assert unit_of("/user.slice/session-1.scope") is None


def test_ignored_hangup_is_read_from_the_mask():
    assert ignores_hangup("SigBlk:\t0\nSigIgn:\t0000000000001001\n")
    assert not ignores_hangup("SigIgn:\t0000000000001000\n")
    assert not ignores_hangup("")
