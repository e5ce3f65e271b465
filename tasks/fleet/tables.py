"""The fleet's two tables in Prefect: who is not well, and what fires. At most 100 rows, the worst first; then how many more."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from db.models import Alert, Client, Installation, Project

MAX_ROWS = 100
LEVELS = ("critical", "warning", "info")
_FIRES = and_(Alert.fired_at.is_not(None), Alert.resolved_at.is_(None))


@dataclass(frozen=True, slots=True)
class Tables:
    """Rows for people. `summary`: the fleet in one line."""

    health: list[dict[str, str]]
    alerts: list[dict[str, str]]
    summary: str
    firing: int


def read_tables(session: Session, now: datetime) -> Tables:
    """As it is now. What the tables leave out counts all the same."""
    clients = session.scalars(select(Client).order_by(Client.client_id)).all()
    alerts = _count_alerts(session)
    firing = sum(sum(levels.values()) for levels in alerts.values())
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
        f"{firing} alerts fire"
    )
    health = [
        _health_row(one, installed[one.client_id], alerts[one.client_id], now) for one in ordered[:MAX_ROWS]
    ]
    worst = [_alert_row(alert) for alert in _worst_alerts(session)]
    return Tables(
        _with_rest(health, "client", len(ordered)), _with_rest(worst, "alert", firing), summary, firing
    )


def _count_alerts(session: Session) -> defaultdict[str, dict[str, int]]:
    """How many fire, by client and level."""
    query = select(Alert.client_id, Alert.level, func.count()).where(_FIRES)
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for client_id, level, count in session.execute(query.group_by(Alert.client_id, Alert.level)):
        found[client_id or ""][level] = count
    return found


def _worst_alerts(session: Session) -> Sequence[Alert]:
    """Critical first, then the oldest."""
    worst = case({level: place for place, level in enumerate(LEVELS)}, value=Alert.level)
    return session.scalars(select(Alert).where(_FIRES).order_by(worst, Alert.fired_at).limit(MAX_ROWS)).all()


def _with_rest(rows: list[dict[str, str]], column: str, count: int) -> list[dict[str, str]]:
    """A last row says how many of so many the table leaves out."""
    left_out = count - len(rows)
    return [*rows, {**dict.fromkeys(rows[0], ""), column: f"and {left_out} more"}] if left_out > 0 else rows


def _order(client: Client, alerts: Mapping[str, int]) -> tuple[bool, int, int, str]:
    worst = min((LEVELS.index(level) for level in alerts), default=len(LEVELS))
    return (client.online is not False, worst, -sum(alerts.values()), client.client_id)


def _health_row(
    client: Client, installed: Sequence[str], alerts: Mapping[str, int], now: datetime
) -> dict[str, str]:
    state = {True: "online", False: "OFFLINE", None: "never heard of"}[client.online]
    more = f" and {len(installed) - 5} more" if len(installed) > 5 else ""
    return {
        "client": client.client_id,
        "is": state,
        "since": _time(client.online_since),
        "last heard of": _time(client.heard_at),
        "alerts": ", ".join(f"{alerts[level]} {level}" for level in LEVELS if level in alerts) or "–",
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
