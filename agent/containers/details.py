"""What the engine's list does not say of a container, inspected again only when something changed."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.containers.cgroups import Cgroups, Group

if TYPE_CHECKING:
    from docker import APIClient

_NEVER = "0001-01-01"
_FRACTION = re.compile(r"\.(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Detail:
    """`key`: what was listed when it was inspected. `pid` 0: it doesn't run.

    `state`: the list's comes a tenth of a second after the event of a start or an end, and this is no older.
    """

    key: tuple[str, ...]
    state: str
    pid: int
    started_at: datetime | None
    restart_count: int | None
    exit_code: int | None
    group: Group | None

    def holds(self, key: tuple[str, ...]) -> bool:
        """Whether it is still true: listed the same, and its control group is the same one."""
        if key != self.key or key[0] in ("restarting", "removing"):
            return False
        if self.group is None:
            return key[0] not in ("running", "paused")  # nothing would tell of a restart
        return self.group.current_identity() == self.group.identity


def key_of(listed: dict[str, Any]) -> tuple[str, ...]:
    """State and health; where it doesn't run the whole sentence, which tells of another end (`Exited (1) 2 hours ago`)."""
    state, status = str(listed.get("State", "")), str(listed.get("Status", ""))
    if state == "running":
        return state, status.partition("(")[2]
    return state, status


def inspect(api: "APIClient", listed: dict[str, Any], cgroups: Cgroups | None) -> Detail | None:
    """Ask the engine; None where the container is gone meanwhile, and nothing known where it can't tell."""
    import docker.errors

    try:
        seen = api.inspect_container(listed["Id"])
    except docker.errors.NotFound:
        return None
    except docker.errors.APIError as error:
        if "client version" in str(error):
            raise  # not about the container: see Engine.api
        # On its way out: asked again next time.
        return Detail(("removing",), str(listed.get("State", "")), 0, None, None, None, None)
    state = seen["State"]
    # One that waits for its next restart is "running" too, to the engine.
    running = bool(state.get("Running")) and not state.get("Restarting")
    pid = int(state.get("Pid") or 0) if running else 0
    detail = Detail(
        key=key_of(listed),
        state=str(state.get("Status") or listed.get("State", "")),
        pid=pid,
        started_at=as_time(state.get("StartedAt")),
        restart_count=int(seen.get("RestartCount") or 0),
        exit_code=None if running or state.get("Status") == "created" else int(state.get("ExitCode") or 0),
        group=None,
    )
    return (
        replace(detail, group=cgroups.group_of(pid, listed["Id"])) if pid and cgroups is not None else detail
    )


def as_nanoseconds(text: str | None) -> int:
    """The engine's time as Unix time in nanoseconds, all that it says; 0 for its zero."""
    at = as_time(text)
    if at is None:
        return 0
    fraction = _FRACTION.search(text or "")
    digits = fraction.group(1)[:9].ljust(9, "0") if fraction else "0"
    return int(at.replace(microsecond=0).timestamp()) * 10**9 + int(digits)


def as_time(text: str | None) -> datetime | None:
    """The engine's RFC 3339 with nanoseconds; None for its zero."""
    if not text or text.startswith(_NEVER):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
