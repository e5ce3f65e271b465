"""A deploy task's own news: started, needs a person, failed, done. Written with the change that it tells of."""

import os
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import DeployTask, News, Project
from db.queries.deploy_tasks import Counts, counts_of

Event = Literal["started", "needs_person", "failed", "done", "rolled_back"]
LEVELS: dict[Event, str] = {
    "started": "info",
    "needs_person": "warning",
    "failed": "critical",
    "done": "info",
    "rolled_back": "warning",
}


def tell(
    session: Session,
    task: DeployTask,
    event: Event,
    said: str,
    now: datetime,
    *,
    flow_run_id: str | None = None,
) -> None:
    """Have people told; `said`: what happened, in a few words. `flow_run_id`: the run, where the row has it not yet."""
    session.flush()
    project = session.get_one(Project, task.project_id)
    counts = counts_of(session, task.id)
    where = f" {task.environment}" if task.environment else ""
    what = " ".join(filter(None, (project.name, task.operation, task.version)))
    lines = [
        _numbers(counts),
        task.status_reason,
        f"deploy task {task.id}",
        _link(flow_run_id or task.flow_run_id),
    ]
    session.add(
        News(
            event=event,
            level=_level(event, counts),
            project_id=task.project_id,
            deploy_task_id=task.id,
            title=f"{what}{where}: {said}"[:300],
            body="\n".join(filter(None, lines)),
            at=now,
        )
    )


def was_told_of(session: Session, task: DeployTask) -> bool:
    """Whether people have heard of it: that it was started, or that it needed a person before that."""
    told = select(News.id).where(News.deploy_task_id == task.id).limit(1)
    return task.started_at is not None or session.scalar(told) is not None


def _level(event: Event, counts: Counts) -> str:
    """One that was cancelled is done, however many failed: it has the level of a failed one then."""
    left_failed = event == "done" and (counts.failed or counts.unknown)
    return LEVELS["failed" if left_failed else event]


def _numbers(counts: Counts) -> str:
    named = {
        "upgraded": counts.success,
        "failed": counts.failed - counts.unreachable,
        "unreachable": counts.unreachable,
        "unknown": counts.unknown,
        "rolled back": counts.rolled_back,
        "skipped": counts.skipped,
        "running": counts.running,
    }
    found = [f"{number} {name}" for name, number in named.items() if number]
    return f"{', '.join(found) or '0'} of {counts.total} clients"


def _link(flow_run_id: str | None) -> str | None:
    """Where Prefect shows its run: by PREFECT_UI_URL, or the API's address."""
    base = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api")
    return f"{base.rstrip('/')}/runs/flow-run/{flow_run_id}" if base and flow_run_id else None
