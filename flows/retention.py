"""Retention: drops by age what is kept of reports, alerts and news, and the old runs of the scheduled flows."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from tasks.fleet.dropping import Ages
from tasks.fleet.retention import drop_what_is_old, kept_report_days
from tasks.run_names import named_by_time
from tasks.upgrade_run import REFUSALS, refuse

Days = Annotated[int, Field(ge=1, le=3650)]


@flow(
    name="retention",
    flow_run_name=named_by_time("retention"),
    description="Drop old reports, alerts, news and runs of the scheduled flows.",
    persist_result=False,
    timeout_seconds=280,
)
async def retention(
    report_days: Days | None = None,
    alert_days: Days = 90,
    news_days: Days = 90,
    audit_days: Days | None = None,
    flow_run_days: Days = 2,
) -> State[Any]:
    """Drop what is old.

    Args:
        report_days: history of reports that is kept; empty: HOIST_API_REPORT_HISTORY_DAYS, as the release API has it, or 30.
        alert_days: alerts that resolved, and silences and freezes that are over.
        news_days: what was sent, and to whom.
        audit_days: the audit trail; empty: for ever.
        flow_run_days: runs of the flows that are tagged `system`, in Prefect.
    """
    try:
        return await drop_what_is_old(
            Ages(report_days or kept_report_days(), alert_days, news_days, audit_days), flow_run_days
        )
    except REFUSALS as error:
        return refuse(error)
