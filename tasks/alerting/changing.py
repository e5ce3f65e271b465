"""Alerts, changed by what was seen or by time alone; what people are to be told is written in the same transaction."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.history.dialects import is_one_of
from db.models import Alert, Client, News
from db.queries.alerts import due_alerts, fingerprint_of
from db.queries.clients import newest_reports
from db.queries.deployments import last_deployed
from db.queries.news import look_again_at
from tasks.decisions.alerts import AlertState, Observation, Reason, Timing, decide_alert, due_at
from tasks.decisions.client_watching import OFFLINE
from tasks.decisions.observed import LEVELS, Observed


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was seen. `project_id` None: it is the client's own business."""

    client_id: str | None
    client_labels: Mapping[str, str] = field(default_factory=dict)
    project_id: str | None = None
    project: str | None = None
    version: str | None = None
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """When something was seen, and when that is judged. `heard_at`: by our clock; None: now."""

    at: datetime
    now: datetime
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Change:
    """What is being changed `now` by what was seen `at`, and who of it people are to be told of."""

    session: Session
    now: datetime
    at: datetime
    heard_at: datetime | None = None
    fired: list[Alert] = field(default_factory=list)


def apply_observations(
    session: Session, place: Place, observed: Sequence[Observed], live: Collection[Alert], look: Look
) -> list[Alert]:
    """Change the place's alerts by what was seen there. `live`: those that wait or fire, of the observed kinds.

    One that is not observed any more (its rule, its container, its limit is gone) ends. Answers who is live now.
    """
    by_key = {(alert.type, alert.subject): alert for alert in live}
    change = _Change(session, look.now, look.at, look.heard_at)
    after = [_apply(change, place, one, by_key.pop(one.key, None)) for one in observed]
    gone = Observation(look.at, False)
    after.extend(_change(change, alert, gone) for alert in by_key.values())
    _tell(change)
    return [alert for alert in after if alert is not None]


def apply_time(session: Session, now: datetime) -> int:
    """Change what only time changes; answers how many alerts were looked at.

    A client that has reported since it was found offline is not offline: nobody is told that it is.
    """
    alerts, change = due_alerts(session, now), _Change(session, now, now)
    back = _who_is_back(session, alerts)
    for alert in alerts:
        _change(change, alert, Observation(now, False) if alert.id in back else None)
    _tell(change)
    return len(alerts)


def _who_is_back(session: Session, alerts: Sequence[Alert]) -> set[str]:
    """The ids of those that wait for a client that is there again."""
    waiting = [one for one in alerts if one.type == OFFLINE and one.fired_at is None]
    if not waiting:
        return set()
    theirs = is_one_of(Client.client_id, [one.client_id or "" for one in waiting])
    newest = newest_reports(session, theirs)
    online = set(session.scalars(select(Client.client_id).where(theirs, Client.online.is_(True))))
    return {one.id for one in waiting if one.client_id in online} | {
        one.id
        for one in waiting
        if (at := newest.get(one.client_id or "")) and at > (one.heard_at or one.since)
    }


def end_alert(session: Session, alert: Alert, now: datetime) -> None:
    """What it was about is gone: it resolves now, however long it would be kept firing."""
    if alert.fired_at is None:
        session.delete(alert)
        return
    alert.holds, alert.due_at, alert.resolved_at = False, None, now
    look_again_at(session, alert.id)
    session.add(_news(alert, "resolved", now))


def _apply(change: _Change, place: Place, one: Observed, alert: Alert | None) -> Alert | None:
    """The alert, or None where there is none."""
    seen = Observation(change.at, one.holds, change.heard_at)
    if alert is not None:
        _set_timing(alert, one.timing)
        if one.holds:
            alert.message, alert.value, alert.threshold = _said(one, alert), one.value, one.threshold
        return _change(change, alert, seen, one.timing)
    decision = decide_alert(None, seen, change.now, one.timing)
    if decision.state is None:
        return None
    alert = _new_alert(place, one)
    _put(alert, decision.state, one.timing)
    change.session.add(alert)
    if decision.reason is Reason.FIRED:
        change.fired.append(alert)
    return alert


def _said(one: Observed, alert: Alert) -> str:
    last = alert.message.partition("\n")[2]
    return f"{one.message}\n{last}" if last else one.message


def _change(
    change: _Change, alert: Alert, seen: Observation | None, timing: Timing | None = None
) -> Alert | None:
    """The alert, or None where it is one no more. `timing`: None: as it was when it was seen last."""
    timing = timing or Timing(alert.for_s, alert.keep_firing_s, alert.stale_after_s)
    was = AlertState(alert.since, alert.seen_at, alert.held_at, alert.holds, alert.fired_at, alert.heard_at)
    decision = decide_alert(was, seen, change.now, timing)
    if decision.reason is Reason.RESOLVED or decision.state is None:
        end_alert(change.session, alert, change.now)
        return None
    if decision.reason is Reason.STALE:
        alert.due_at = None  # until it is seen again
    elif decision.state != was:
        _put(alert, decision.state, timing)
        if decision.reason is Reason.FIRED:
            change.fired.append(alert)
    return alert


def _tell(change: _Change) -> None:
    """News of what fired, with what was deployed there last: few statements, however many they are."""
    by_place: dict[tuple[str, str], list[Alert]] = defaultdict(list)
    for alert in change.fired:
        if alert.project_id is not None and alert.client_id is not None:
            by_place[alert.client_id, alert.project_id].append(alert)
    for (client_id, project_id), alerts in by_place.items():
        _name_last_deployment(change.session, alerts, client_id, project_id)
    change.session.flush()
    change.session.add_all(_news(alert, "firing", change.now) for alert in change.fired)


def _name_last_deployment(session: Session, alerts: Sequence[Alert], client_id: str, project_id: str) -> None:
    last = last_deployed(session, client_id, project_id)
    if last is None:
        return
    deploy_task_id, version = last
    for alert in alerts:
        alert.message = f"{alert.message}\nlast deployed: {version}, by deploy task {deploy_task_id}"
        alert.labels = {**alert.labels, "deploy_task": deploy_task_id, "deployed_version": version}


def _news(alert: Alert, event: str, now: datetime) -> News:
    return News(
        event=event,
        level=alert.level,
        project_id=alert.project_id,
        client_id=alert.client_id,
        alert_id=alert.id,
        title=f"{'resolved: ' if event == 'resolved' else ''}{alert.title}",
        body=alert.message,
        at=now,
    )


def _new_alert(place: Place, one: Observed) -> Alert:
    where = f"{place.project} on {place.client_id}" if place.project else place.client_id or "the fleet"
    subject = f" ({one.subject})" if one.subject and one.subject != place.client_id else ""
    labels = {
        "project": place.project,
        "environment": place.environment,
        "version": place.version,
        "subject": one.subject,
    }
    return Alert(
        fingerprint=fingerprint_of(place.project_id, place.client_id, one.subject, one.type),
        type=one.type,
        level=LEVELS[one.type],
        source=one.type.partition("_")[0],
        client_id=place.client_id,
        project_id=place.project_id,
        subject=one.subject[:253],
        title=f"{where}: {one.type.replace('_', ' ')}{subject}"[:300],
        message=one.message,
        labels={**place.client_labels, **{name: value for name, value in labels.items() if value}},
        value=one.value,
        threshold=one.threshold,
    )


def _set_timing(alert: Alert, timing: Timing) -> None:
    alert.for_s, alert.keep_firing_s, alert.stale_after_s = (
        timing.for_s,
        timing.keep_firing_s,
        timing.stale_after_s,
    )


def _put(alert: Alert, state: AlertState, timing: Timing) -> None:
    _set_timing(alert, timing)
    alert.since, alert.seen_at, alert.held_at = state.since, state.seen_at, state.held_at
    alert.holds, alert.fired_at, alert.due_at = state.holds, state.fired_at, due_at(state, timing)
    alert.heard_at = state.heard_at
