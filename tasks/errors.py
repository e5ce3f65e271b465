"""What can go wrong in tasks and planning. Transient ones are asked again; the rest say what the caller must change."""

from datetime import datetime


class TaskError(Exception):
    """Something that a task or the planning was asked for could not be done."""


class TransientTaskError(TaskError):
    """Asking again later may help."""


class PermanentTaskError(TaskError):
    """Asking again won't help."""


class PlanningError(PermanentTaskError):
    """The request can't become a deploy task (422); `field` is the request's field that is to blame."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFoundError(PermanentTaskError):
    """What the request names is not there (404)."""


class WrongStateError(PermanentTaskError):
    """The deploy task's status doesn't allow it (409)."""


class NotAllowedError(PermanentTaskError):
    """Somebody may, but not this caller (403)."""


class FrozenError(PermanentTaskError):
    """A freeze stops deployments there (409)."""


class FleetChangedError(PermanentTaskError):
    """The fleet is not what the plan was made for (409); `changes` are sentences, one for each change."""

    def __init__(self, changes: list[str]) -> None:
        super().__init__(
            f"cannot start: the fleet changed since the plan was made: {'; '.join(changes[:20])}"
        )
        self.changes = changes


LEASE_LASTS = "whose lease lasts until"
"""In a LeaseHeldError's message, by which api/flow_runs.py knows a run that was put off: Prefect keeps nothing else of it."""


class LeaseHeldError(PermanentTaskError):
    """Another deploy task (or another run of this one) holds the lease (409). `standing`: the same each time it is renewed."""

    def __init__(self, holder: str, deploy_task_id: str, expires_at: datetime) -> None:
        self.standing = f"deploy task {deploy_task_id} is being run by {holder}"
        super().__init__(f"{self.standing}, {LEASE_LASTS} {expires_at.isoformat(timespec='seconds')}")
        self.holder = holder
        self.deploy_task_id = deploy_task_id
        self.expires_at = expires_at


class LeaseLostError(PermanentTaskError):
    """The lease that this run held is somebody else's now: it must not touch another client."""


class RegistryError(PermanentTaskError):
    """The credentials that a version names are not there, or are none."""
