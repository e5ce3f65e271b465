"""How a rollout stands, read for its next decision: its results are the run's own, the rest is what people have said."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import Alert, DeployResult, DeployTask, Environment, utc_now
from db.queries.deploy_tasks import clients_going_back, get_deploy_task
from db.queries.freezes import find_freeze
from tasks.decisions.regressions import find_regression
from tasks.decisions.rollout import Rules, Situation
from tasks.decisions.windows import opens_at
from tasks.planning.controls import freeze_text
from tasks.planning.going_back import ways_back
from tasks.planning.lease import environments_of
from tasks.planning.steering import approval_required, is_approved
from tasks.rollout import Rollout
from tasks.usage import read_changes
from tasks.work import Release


def rules_of(session: Session, task: DeployTask, release: Release) -> Rules:
    """What the deploy task was made with, and what its environments ask for."""
    strategy = release.strategy
    return Rules(
        waves=release.waves,
        max_failures=strategy.max_failures,
        max_failures_per_wave=strategy.max_failures_per_wave,
        failure_strategy=release.failure_strategy,
        auto_rollback=release.auto_rollback,
        canary=strategy.canary_percent is not None,
        canary_auto_promote=strategy.canary_auto_promote,
        pause_after=strategy.pause_after,
        approval_required=approval_required(session, task),
        not_before=release.schedule_from,
        not_after=release.schedule_to,
    )


def read_situation(session: Session, rollout: Rollout, now: datetime | None = None) -> Situation:
    """How it stands now."""
    task, moment = get_deploy_task(session, rollout.release.deploy_task_id), now or utc_now()
    release = rollout.release
    freeze = find_freeze(session, task.project_id, environments_of(task), moment)
    goes_back = task.going_back or release.auto_rollback != "off"
    return Situation(
        statuses=rollout.all_statuses,
        now=moment,
        forgiven=task.forgiven_failures,
        promoted_waves=task.promoted_waves,
        approved=is_approved(task) or not approval_required(session, task),
        can_go_back=frozenset(ways_back(session, task)) if goes_back else frozenset(),
        going_back=task.going_back,
        in_flight_back=tuple(clients_going_back(session, task.id)),
        cancelled=task.cancel_running is not None,
        stopped=task.stopped_reason,
        paused_by=task.paused_by,
        frozen=freeze_text(freeze) if freeze is not None else None,
        window_opens_at=_window_opens(session, task, moment),
        canary_until=_canary_until(session, task, release),
        canary_trouble=_canary_trouble(session, task, release),
        regression=regression_of(session, task, release),
    )


def regression_of(session: Session, task: DeployTask, release: Release) -> str | None:
    """What is said of clients that use more than before, where they are enough; None where they are not."""
    strategy = release.strategy
    found = find_regression(
        read_changes(session, release, since=task.usage_accepted_at),
        strategy.regression_percent,
        strategy.regression_min_clients,
    )
    return found.reason if found is not None else None


def _window_opens(session: Session, task: DeployTask, now: datetime) -> datetime | None:
    """When the last of the environments' windows opens that are closed now."""
    query = select(Environment).where(Environment.id.in_(environments_of(task)))
    closed = [opens_at(one.release_window, now) for one in session.scalars(query)]
    return max((one for one in closed if one is not None), default=None)


def _canary_until(session: Session, task: DeployTask, release: Release) -> datetime | None:
    strategy = release.strategy
    if strategy.canary_percent is None or strategy.canary_duration_s is None:
        return None
    ended = session.scalar(
        select(func.max(DeployResult.finished_at)).where(
            DeployResult.deploy_task_id == task.id, DeployResult.wave == 0
        )
    )
    return ended + timedelta(seconds=strategy.canary_duration_s) if ended is not None else None


def _canary_trouble(session: Session, task: DeployTask, release: Release) -> str | None:
    """Why the canary can't promote itself: one of its clients failed, or has an alert that fires."""
    if release.strategy.canary_percent is None or not release.strategy.canary_auto_promote:
        return None
    canary = list(release.waves[0])
    failed = session.scalar(
        select(func.count()).where(
            DeployResult.deploy_task_id == task.id,
            DeployResult.client_id.in_(canary),
            DeployResult.status != "success",
        )
    )
    if failed:
        return f"{failed} of {len(canary)} canary clients are not upgraded"
    return _alerts_of(session, task, canary)


def _alerts_of(session: Session, task: DeployTask, clients: Sequence[str]) -> str | None:
    alert = session.scalars(
        select(Alert)
        .where(
            Alert.project_id == task.project_id,
            Alert.client_id.in_(clients),
            Alert.fired_at.is_not(None),
            Alert.resolved_at.is_(None),
        )
        .order_by(Alert.fired_at)
        .limit(1)
    ).first()
    return f"an alert fires: {alert.title}" if alert is not None else None
