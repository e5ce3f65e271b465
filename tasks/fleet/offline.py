"""Clients that are offline, as alerts; and alerts of what is not there any more."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Alert, Client
from db.queries.alerts import container_orphans, orphans, pod_orphans
from tasks.alerting import containers, processes
from tasks.alerting.changing import Look, Place, apply_observations, end_alert
from tasks.decisions.client_watching import OFFLINE, STALE_AFTER_S, observe_client
from tasks.decisions.pod_watching import TYPES as POD_TYPES
from tasks.fleet.silence import mark_heard

NOT_REPORTED_FOR = timedelta(minutes=15)
"""A client that reported no containers, or no pods, for so long ends no alert of them itself."""


def judge_offline(session: Session, now: datetime, for_s: float, keep_firing_s: float = 0.0) -> int:
    """Fire for every client that has been offline for so long, resolve for those that are back; answers how many are offline.

    One that has reported since it was found offline is back. A client that was never asked nor heard of is neither.
    """
    mark_heard(session, Client.online.is_(False))
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
        if alert is not None and alert.fired_at is None and (alert.heard_at or alert.since) < since:
            end_alert(session, alert, now)  # it was back in between, and is offline anew
            session.flush()
            alert = None
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
