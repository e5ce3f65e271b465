"""Gathers the facts that survival is judged by: /proc for sessions, control groups and outputs, systemd for units."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.processes.procfs import Proc
from agent.processes.stat import Stat
from agent.processes.survival import (
    AgentFacts,
    ProcessFacts,
    Survival,
    ignores_hangup,
    judge_survival,
    parse_control_group,
    unit_of,
)

_UNIT_FACTS_GOOD_FOR_S = 30.0
_SYSTEMCTL_TIMEOUT_S = 5.0
_MAX_UNITS = 1000


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """What systemd says of a unit; None where it could not be asked."""

    kill_mode: str | None = None
    enabled: bool = False


def ask_systemd(unit: str) -> UnitFacts:
    """Ask systemd about a unit; nothing is known where there is no systemd or it does not answer within 5 s."""
    if not Path("/run/systemd/system").is_dir():
        return UnitFacts()
    command = ["systemctl", "show", "--property=KillMode,UnitFileState", "--", unit]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return UnitFacts()
    values = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    return UnitFacts(values.get("KillMode") or None, values.get("UnitFileState") == "enabled")


class Surroundings:
    """Answers what would become of a process. One per collector; blocking."""

    def __init__(self, ask: Callable[[str], UnitFacts] = ask_systemd, agent_pid: int | None = None) -> None:
        """`agent_pid`: whose end is meant (this process)."""
        self._ask = ask
        self._agent_pid = agent_pid or os.getpid()
        self._units: dict[str, tuple[float, UnitFacts]] = {}

    def agent(self, proc: Proc) -> AgentFacts:
        """The facts about the agent itself."""
        pid = str(self._agent_pid)
        stat = proc.stat(pid)
        group = _control_group(proc, pid)
        unit = unit_of(group)
        pipes = [(fd, target) for fd, target in proc.open_files(pid).items() if target.startswith("pipe:")]
        return AgentFacts(
            pid=self._agent_pid,
            session=stat.session if stat else 0,
            has_terminal=bool(stat and stat.tty),
            control_group=group,
            unit=unit,
            kill_mode=self._unit(unit).kill_mode if unit else None,
            pipes=frozenset(target for fd, target in pipes if proc.can_read_from(pid, fd)),
        )

    def survival(self, proc: Proc, agent: AgentFacts, stat: Stat) -> Survival:
        """What would become of one process."""
        pid = str(stat.pid)
        group = _control_group(proc, pid)
        unit = unit_of(group)
        outputs = (proc.readlink(pid, "fd/1"), proc.readlink(pid, "fd/2"))
        facts = ProcessFacts(
            session=stat.session,
            control_group=group,
            outputs=tuple(output for output in outputs if output),
            ignores_hangup=ignores_hangup((proc.read(pid, "status") or b"").decode("utf-8", "replace")),
            unit=unit,
            unit_enabled=self._unit(unit).enabled if unit else False,
        )
        return judge_survival(agent, facts)

    def _unit(self, unit: str) -> UnitFacts:
        now = time.monotonic()
        known = self._units.get(unit)
        if known is None or now - known[0] > _UNIT_FACTS_GOOD_FOR_S:
            if len(self._units) >= _MAX_UNITS:
                self._units.clear()
            known = (now, self._ask(unit))
            self._units[unit] = known
        return known[1]


def _control_group(proc: Proc, pid: str) -> str:
    return parse_control_group((proc.read(pid, "cgroup") or b"").decode("utf-8", "replace"))
