"""Clients that are offline, as alerts; and alerts of what is not there any more."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Alert, Client
from db.queries.alerts import container_orphans, orphans, pod_orphans
from tasks.alerting import containers, processes
from tasks.alerting.changing import Look, Place, apply_observations, end_alert
from tasks.decisions.client_watching import OFFLINE, STALE_AFTER_S, observe_client
from tasks.decisions.pod_watching import TYPES as POD_TYPES

NOT_REPORTED_FOR = timedelta(minutes=15)
"""A client that reported no containers, or no pods, for so long ends no alert of them itself."""


def judge_offline(session: Session, now: datetime, for_s: float, keep_firing_s: float = 0.0) -> int:
    """Fire for every client that has been offline for so long, resolve for those that are back; answers how many are offline.

    A client that was never asked nor heard of is neither.
    """
    live = _live(session)
    clients = session.scalars(select(Client).where(Client.online.is_not(None))).all()
    known = {client.client_id for client in clients}
    for client in clients:
        alert = live.get(client.client_id)
        if client.online and alert is None:
            continue
        since = client.online_since or now
        observed = observe_client(
            client.client_id,
            online=client.online is True,
            since=since,
            heard_at=client.heard_at,
            for_s=for_s,
            keep_firing_s=keep_firing_s,
        )
        place = Place(client.client_id, client.labels)
        alerts = [alert] if alert is not None else []
        if alert is None and not client.online:
            # It has been offline since then: that is when waiting began, however long nobody watched.
            seen_at = max(since, now - timedelta(seconds=STALE_AFTER_S))
            alerts = apply_observations(session, place, [observed], [], Look(seen_at, now, since))
        apply_observations(session, place, [observed], alerts, Look(now, now))
    for client_id, alert in live.items():
        if client_id not in known:
            end_alert(session, alert, now)
    return sum(not client.online for client in clients)


def end_orphans(session: Session, now: datetime) -> int:
    """Alerts of what is not installed any more, and that no report will end, end; answers how many."""
    reported_before = now - NOT_REPORTED_FOR
    found = [
        *orphans(session, processes.TYPES),
        *container_orphans(session, containers.TYPES, reported_before),
        *pod_orphans(session, POD_TYPES, reported_before),
    ]
    for alert in found:
        end_alert(session, alert, now)
    return len(found)


def _live(session: Session) -> dict[str, Alert]:
    query = select(Alert).where(Alert.type == OFFLINE, Alert.resolved_at.is_(None)).with_for_update()
    return {alert.client_id or "": alert for alert in session.scalars(query)}


def firing(session: Session, limit: int) -> Sequence[Alert]:
    """What fires now: critical first, then the oldest."""
    query = select(Alert).where(Alert.fired_at.is_not(None), Alert.resolved_at.is_(None))
    found = session.scalars(query.order_by(Alert.fired_at).limit(limit * 10)).all()
    order = ("critical", "warning", "info")
    return sorted(found, key=lambda alert: order.index(alert.level))[:limit]
