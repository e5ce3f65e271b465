"""Whether a new container is well: its health check says so, or it ran long enough without a restart. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from agent.containers.details import as_time


class Health(StrEnum):
    """WAIT: not yet, ask again. FAILED is final."""

    WELL = "well"
    WAIT = "wait"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` is for the operator: what was seen. `since`: when it began to serve, as far as that is known."""

    health: Health
    why: str
    since: datetime


def judge(seen: dict[str, Any], stable_for_s: float, now: datetime) -> Verdict:
    """What the engine says of the container (GET /containers/{id}/json), judged."""
    state = seen["State"]
    status, restarts = state["Status"], int(seen.get("RestartCount") or 0)
    if restarts or status == "restarting":
        # Once it runs again the engine says 0, which is not how it ended.
        code = f" with {state.get('ExitCode')}" if status != "running" else ""
        return Verdict(Health.FAILED, f"it ended{code}, and was started again", now)
    if status in ("exited", "dead"):
        killed = ", for want of memory" if state.get("OOMKilled") else ""
        return Verdict(Health.FAILED, f"it ended with {state.get('ExitCode')}{killed}", now)
    if status != "running":
        return Verdict(Health.WAIT, f"it is {status}", now)
    check = state.get("Health")
    if check and check.get("Status") not in (None, "none"):
        return _judge_check(check, now)
    started_at = as_time(state.get("StartedAt"))
    ran_s = (now - started_at).total_seconds() if started_at else 0.0
    if ran_s >= stable_for_s:
        return Verdict(
            Health.WELL,
            f"it has no health check, and ran {stable_for_s:g} s without a restart",
            started_at or now,
        )
    return Verdict(
        Health.WAIT, f"it has no health check, and runs since {ran_s:.0f} of {stable_for_s:g} s", now
    )


def has_been_checked(seen: dict[str, Any], since: datetime) -> bool | None:
    """Whether its health check has begun, and ended, once more since then; None where it has none."""
    check = seen["State"].get("Health")
    if not check or check.get("Status") in (None, "none"):
        return None
    last = (check.get("Log") or [{}])[-1]
    began = as_time(last.get("Start"))
    return began is not None and began >= since


def _judge_check(check: dict[str, Any], now: datetime) -> Verdict:
    status = check["Status"]
    if status == "healthy":
        return Verdict(Health.WELL, "its health check passes", now)
    log = check.get("Log") or []
    said = str(log[-1].get("Output") or "").strip()[:300] if log else ""
    said = f": {said}" if said else ""
    if status == "unhealthy":
        return Verdict(
            Health.FAILED, f"it is unhealthy after {check.get('FailingStreak')} failed checks{said}", now
        )
    return Verdict(Health.WAIT, f"its health check has not passed yet{said}", now)
