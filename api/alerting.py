"""Alerts in the release API: reports are judged as they are kept, and what only time changes is looked after."""

import logging
import os
import threading
import time
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.containers import ContainerReport
from agent.wire.pods import PodReport
from agent.wire.processes import ProcessReport
from api.ingest.incoming import Accepted
from api.parts import Parts
from db.models import Alert, utc_now
from tasks.alerting.changing import apply_time
from tasks.alerting.channels import Channel, load_channels
from tasks.alerting.containers import ContainersSeen, judge_containers
from tasks.alerting.pods import PodsSeen, judge_pods
from tasks.alerting.prefect_events import PrefectEvents, prefect_events
from tasks.alerting.processes import ProcessesSeen, judge_processes
from tasks.alerting.sending import Sending
from tasks.decisions.pod_reports import Coverage
from tasks.errors import PermanentTaskError

READ_AGAIN_S = 60.0
log = logging.getLogger("api")


def judge_process_reports(session: Session, accepted: Sequence[Accepted[ProcessReport]]) -> None:
    """Judge those that are their clients' newest, in the transaction that keeps them."""
    seen = [
        ProcessesSeen(
            one.report.client_id,
            one.project_id,
            one.report.version,
            one.report.release_id,
            one.report.processes,
            one.reported_at,
            one.received_at,
            one.report.unmatched_rules if "unmatched_rules" in one.report.model_fields_set else None,
            one.said,
        )
        for one in accepted
        if one.newest and one.project_id is not None
    ]
    judge_processes(session, seen)


def judge_container_reports(session: Session, accepted: Sequence[Accepted[ContainerReport]]) -> None:
    """The same for containers."""
    seen = [
        ContainersSeen(
            one.report.client_id,
            one.report.containers,
            one.reported_at,
            one.received_at,
            one.report.truncated,
        )
        for one in accepted
        if one.newest
    ]
    judge_containers(session, seen)


def judge_pod_reports(session: Session, accepted: Sequence[Accepted[PodReport]]) -> None:
    """The same for pods."""
    seen = [
        PodsSeen(
            one.report.client_id,
            Coverage(one.report.namespace, one.report.label_selector, one.report.truncated),
            one.report.pods,
            one.reported_at,
            one.received_at,
        )
        for one in accepted
        if one.newest
    ]
    judge_pods(session, seen)


def look_after_alerts(parts: Parts, _ending: threading.Event) -> None:
    """Fire what has waited long enough, resolve what was kept firing. Asked often: mostly there is nothing to write."""
    now = utc_now()
    due = select(Alert.id).where(Alert.resolved_at.is_(None), Alert.due_at <= now).limit(1)
    with parts.database.read() as session:
        if session.scalar(due) is None:
            return
    with parts.database.write() as session:
        apply_time(session, now)


class Messenger:
    """Sends what is news to the channels of HOIST_NOTIFY_FILE, which is read again every minute.

    A file that can't be used is said in the log: the channels stay as they were read last; before that, news is kept.
    """

    def __init__(self) -> None:
        self._channels: tuple[Channel, ...] | None = None
        self._read_at: float | None = None
        self._sending = Sending()

    def send(self, parts: Parts, _ending: threading.Event) -> None:
        """Route what is due, and begin to send it."""
        if self._read_at is None or time.monotonic() - self._read_at > READ_AGAIN_S:
            self._read_at = time.monotonic()
            if (channels := _channels()) is not None:
                self._channels = channels
        if self._channels is not None:
            self._sending.begin(parts.database, self._channels, utc_now(), events=_events(parts))


def _events(parts: Parts) -> PrefectEvents | None:
    return prefect_events(parts.settings.prefect_url, os.environ.get("PREFECT_API_AUTH_STRING"))


def _channels() -> tuple[Channel, ...] | None:
    try:
        return load_channels()
    except PermanentTaskError as error:
        log.error("%s", error)
        return None
