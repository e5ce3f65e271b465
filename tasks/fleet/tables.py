"""The fleet's two tables in Prefect: who is not well, and what fires. At most 100 rows, the worst first."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Alert, Client, Installation, Project
from tasks.fleet.offline import firing

MAX_ROWS = 100
LEVELS = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows for people. `summary`: the fleet in one line."""

    health: list[dict[str, str]]
    alerts: list[dict[str, str]]
    summary: str
    firing: int


def read_tables(session: Session, now: datetime) -> Tables:
    """As it is now."""
    clients = session.scalars(select(Client).order_by(Client.client_id)).all()
    alerts: dict[str, list[Alert]] = defaultdict(list)
    live = firing(session, limit=1000)
    for alert in live:
        alerts[alert.client_id or ""].append(alert)
    installed: dict[str, list[str]] = defaultdict(list)
    failed = 0
    query = select(Installation, Project.name).join(Project, Project.id == Installation.project_id)
    for installation, project in session.execute(query.where(Installation.status != "uninstalled")):
        said = f"{project} {installation.version}"
        failed += installation.status == "failed"
        installed[installation.client_id].append(
            f"{said} (failed)" if installation.status == "failed" else said
        )
    ordered = sorted(clients, key=lambda one: _order(one, alerts[one.client_id]))
    offline = sum(client.online is False for client in clients)
    held = sum(client.is_held(now) for client in clients)
    summary = (
        f"{len(clients)} clients: {offline} offline, {held} held; {failed} failed installations; "
        f"{len(live)} alerts fire"
    )
    return Tables(
        [
            _health_row(one, installed[one.client_id], alerts[one.client_id], now)
            for one in ordered[:MAX_ROWS]
        ],
        [_alert_row(alert) for alert in live[:MAX_ROWS]],
        summary,
        len(live),
    )


def _order(client: Client, alerts: Sequence[Alert]) -> tuple[bool, int, int, str]:
    worst = min((LEVELS.index(alert.level) for alert in alerts), default=len(LEVELS))
    return (client.online is not False, worst, -len(alerts), client.client_id)


def _health_row(
    client: Client, installed: Sequence[str], alerts: Sequence[Alert], now: datetime
) -> dict[str, str]:
    state = {True: "online", False: "OFFLINE", None: "never heard of"}[client.online]
    more = f" and {len(installed) - 5} more" if len(installed) > 5 else ""
    counted = [(level, sum(alert.level == level for alert in alerts)) for level in LEVELS]
    return {
        "client": client.client_id,
        "is": state,
        "since": _time(client.online_since),
        "last heard of": _time(client.heard_at),
        "alerts": ", ".join(f"{count} {level}" for level, count in counted if count) or "–",
        "installed": ", ".join(installed[:5]) + more or "–",
        "held": (client.held_reason or "held") if client.is_held(now) else "",
    }


def _alert_row(alert: Alert) -> dict[str, str]:
    return {
        "level": alert.level,
        "alert": alert.title,
        "since": _time(alert.fired_at),
        "client": alert.client_id or "–",
        "says": alert.message.partition("\n")[0],
    }


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at is not None else "–"
