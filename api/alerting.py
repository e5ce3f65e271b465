"""Alerts in the release API: reports are judged as they are kept, and what only time changes is looked after."""

import threading
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.containers import ContainerReport
from agent.wire.processes import ProcessReport
from api.ingest.incoming import Accepted
from api.parts import Parts
from db.models import Alert, utc_now
from tasks.alerting.changing import apply_time
from tasks.alerting.containers import ContainersSeen, judge_containers
from tasks.alerting.processes import ProcessesSeen, judge_processes


def judge_process_reports(session: Session, accepted: Sequence[Accepted[ProcessReport]]) -> None:
    """Judge those that are their clients' newest, in the transaction that keeps them."""
    seen = [
        ProcessesSeen(
            one.report.client_id,
            one.project_id,
            one.report.release_id,
            one.report.processes,
            one.reported_at,
            one.received_at,
        )
        for one in accepted
        if one.newest and one.project_id is not None
    ]
    judge_processes(session, seen)


def judge_container_reports(session: Session, accepted: Sequence[Accepted[ContainerReport]]) -> None:
    """The same for containers."""
    seen = [
        ContainersSeen(one.report.client_id, one.report.containers, one.reported_at, one.received_at)
        for one in accepted
        if one.newest
    ]
    judge_containers(session, seen)


def look_after_alerts(parts: Parts, _ending: threading.Event) -> None:
    """Fire what has waited long enough, resolve what was kept firing. Asked often: mostly there is nothing to write."""
    now = utc_now()
    due = select(Alert.id).where(Alert.resolved_at.is_(None), Alert.due_at <= now).limit(1)
    with parts.database.read() as session:
        if session.scalar(due) is None:
            return
    with parts.database.write() as session:
        apply_time(session, now)
