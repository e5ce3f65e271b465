"""Drift, as alerts and as a table: who has something else than what is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Alert, Client, Project
from db.queries.alerts import Pair
from db.queries.deployments import deploying_pairs
from tasks.alerting.changing import Look, Place, apply_observations, end_alert
from tasks.decisions.alerts import Timing
from tasks.decisions.drift import ALERTS
from tasks.decisions.observed import Observed
from tasks.planning.drifting import DriftRow, NewestReports, read_drift

DRIFT = "drift"
HELD_S = 300.0
"""A report that is under way may still be of before: what has drifted has done so in two rounds of the watch."""
STALE_AFTER_S = 86_400.0
MAX_ROWS = 100


@dataclass(frozen=True, slots=True)
class Drifted:
    """What one client has of one project."""

    project_id: str
    project: str
    row: DriftRow

    @property
    def pair(self) -> Pair:
        """The client and the project."""
        return (self.row.client_id, self.project_id)


def read_drifts(session: Session, now: datetime) -> list[Drifted]:
    """Every client of every project, by project."""
    reports = NewestReports(session)
    return [
        Drifted(project.id, project.name, row)
        for project in session.scalars(select(Project).order_by(Project.name))
        for row in read_drift(session, project, now, reports)
    ]


def judge_drifts(
    session: Session, found: Sequence[Drifted], now: datetime, for_s: float = HELD_S
) -> list[Drifted]:
    """Fire for whoever has drifted for so long, resolve for whoever has not; answers who has, worst first.

    What is being deployed is not judged. An alert whose client is neither installed nor seen any more ends.
    """
    labels = {row.client_id: row.labels for row in session.execute(select(Client.client_id, Client.labels))}
    live = _live(session)
    drifted = [one for one in found if one.row.drift in ALERTS and one.row.client_id in labels]
    deploying = deploying_pairs(session, {one.row.client_id for one in drifted}, now)
    judged = {one.pair for one in drifted} | live.keys()
    for one in found:
        if one.pair not in judged or one.row.client_id not in labels:
            continue
        alert = live.pop(one.pair, None)
        place = Place(
            one.row.client_id,
            labels[one.row.client_id],
            project_id=one.project_id,
            project=one.project,
            version=one.row.recorded_version,
            environment=one.row.environment,
        )
        observed = _observed(one.project, one.row, for_s, judged=one.pair not in deploying)
        apply_observations(session, place, [observed], [alert] if alert else [], Look(now, now))
    for alert in live.values():
        end_alert(session, alert, now)
    return sorted(drifted, key=lambda one: (ALERTS.index(one.row.drift), one.project, one.row.client_id))


def drift_table(found: Sequence[Drifted]) -> list[dict[str, str]]:
    """At most 100 rows."""
    return [
        {
            "project": one.project,
            "client": one.row.client_id,
            "environment": one.row.environment or "–",
            "drift": one.row.drift.replace("_", " "),
            "recorded": one.row.recorded_version or "nothing",
            "observed": one.row.observed_version or "–",
            "seen at": f"{one.row.observed_at:%Y-%m-%d %H:%M:%S} UTC" if one.row.observed_at else "–",
        }
        for one in found[:MAX_ROWS]
    ]


def _observed(project: str, row: DriftRow, for_s: float, *, judged: bool) -> Observed:
    seen = {
        "missing": "nothing of it runs",
        "wrong_version": f"{row.observed_version} runs",
        "extra": f"{row.observed_version or 'something of it'} runs",
    }.get(row.drift, "")
    return Observed(
        DRIFT,
        project,
        row.drift in ALERTS if judged and row.drift != "stale" else None,
        Timing(for_s, 0.0, STALE_AFTER_S),
        f"{project}: {row.recorded_version or 'nothing'} is recorded, {seen}",
    )


def _live(session: Session) -> dict[tuple[str, str], Alert]:
    query = select(Alert).where(Alert.type == DRIFT, Alert.resolved_at.is_(None)).with_for_update()
    return {(alert.client_id or "", alert.project_id or ""): alert for alert in session.scalars(query)}
