"""A batch of pod reports, kept in one transaction."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from agent.wire.pods import PodReport
from api.ingest.incoming import Incoming, Judge, Outcome
from api.ingest.process_reports import report_day
from api.ingest.whole_reports import store_whole_reports
from db.history.batches import PODS
from db.history.pod_selections import selection_key


def store_pod_reports(
    session: Session, batch: Sequence[Incoming[PodReport]], kept_for: timedelta, judge: Judge[PodReport]
) -> list[Outcome]:
    """Keep the reports, each of a selection of its client's pods. Answers each one's outcome."""
    return store_whole_reports(session, batch, kept_for, judge, kind=PODS, row_of=_row_of)


def _row_of(incoming: Incoming[PodReport], kept_for: timedelta) -> dict[str, Any]:
    report = incoming.report
    return {
        "day": report_day(incoming, kept_for),
        "client_id": report.client_id,
        "report_key": incoming.report_key,
        "selection_key": selection_key(report.namespace, report.label_selector),
        "namespace": report.namespace,
        "label_selector": report.label_selector,
        "truncated": report.truncated,
        "pods": report.pods,
        "reported_at": incoming.reported_at,
        "received_at": incoming.received_at,
        "dropped_reports": report.dropped_reports or 0,
    }
