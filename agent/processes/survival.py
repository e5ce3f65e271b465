"""Would a process outlive the agent, and a reboot? Decided from facts: pure, with the reason in words."""

from dataclasses import dataclass

KILLS_ALL = ("control-group", "mixed")
"""The KillModes with which systemd kills every process of a unit that it stops (man 5 systemd.kill)."""


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What the agent is: its session, its control group, its unit and that unit's KillMode (None: unknown)."""

    pid: int
    session: int
    has_terminal: bool
    control_group: str
    unit: str | None
    kill_mode: str | None
    pipes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What matters of one process. `outputs` is what descriptors 1 and 2 refer to."""

    session: int
    control_group: str
    outputs: tuple[str, ...]
    ignores_hangup: bool
    unit: str | None = None
    unit_enabled: bool = False


@dataclass(frozen=True, slots=True)
class Survival:
    """`survives_agent_stop` is None where it can't be told."""

    survives_agent_stop: bool | None
    reason: str
    survives_reboot: bool


def judge_survival(agent: AgentFacts, process: ProcessFacts) -> Survival:
    """What becomes of the process when the agent stops, restarts or is killed, and when the host reboots."""
    survives, reason = _agent_stop(agent, process)
    return Survival(survives, reason, process.unit_enabled and process.unit != agent.unit)


def _agent_stop(agent: AgentFacts, process: ProcessFacts) -> tuple[bool | None, str]:
    if agent.pid == 1:
        return False, "the agent is process 1 of its namespace: everything in it ends with the agent"
    if any(output.startswith("pipe:") and output in agent.pipes for output in process.outputs):
        return False, "its output is a pipe to the agent, which breaks when the agent is gone"
    shares_group = _inside(process.control_group, agent.control_group)
    if agent.unit and shares_group:
        return _shared_unit(agent)
    if process.session == agent.session and agent.has_terminal and not process.ignores_hangup:
        return (
            False,
            f"it shares the agent's session ({agent.session}): the terminal's hang-up takes it along",
        )
    session = (
        "the agent's session"
        if process.session == agent.session
        else f"a session of its own ({process.session})"
    )
    group = f"control group {process.control_group or '/'}"
    return (
        True,
        f"{session}, {group}{'' if shares_group else ', not the agent’s'}; its output is not the agent's"[
            :500
        ],
    )


def _shared_unit(agent: AgentFacts) -> tuple[bool | None, str]:
    if agent.kill_mode is None:
        return None, f"it is in the agent's control group ({agent.unit}), whose KillMode could not be read"
    if agent.kill_mode in KILLS_ALL:
        return False, (
            f"it is in the agent's control group ({agent.unit}), "
            f"which systemd kills with the agent (KillMode={agent.kill_mode})"
        )
    return (
        True,
        f"it is in the agent's control group ({agent.unit}), which is left alone (KillMode={agent.kill_mode})",
    )


def _inside(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent.rstrip("/") + "/")


def parse_control_group(raw: str) -> str:
    """The path in the unified hierarchy, or in systemd's own on a v1 host (man 7 cgroups); empty when unknown."""
    unified = named = ""
    for line in raw.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "name=systemd":
            named = path
        elif hierarchy == "0" and not controllers:
            unified = path
    return named if named not in ("", "/") else unified or named


def unit_of(control_group: str) -> str | None:
    """The innermost service of a control group's path, or None: a scope or a slice starts nothing at boot."""
    services = [part for part in control_group.split("/") if part.endswith(".service")]
    return services[-1] if services else None


def ignores_hangup(status: str) -> bool:
    """Whether SIGHUP (bit 0) is ignored, from the SigIgn line of /proc/<pid>/status."""
    for line in status.splitlines():
        if line.startswith("SigIgn:"):
            return bool(int(line.split()[1], 16) & 1)
    return False
