"""What runs are called and tagged."""

from collections.abc import Callable

from prefect.runtime import flow_run

from db.documents.plan import Plan


def run_name(project: str, from_version: str | None, to_version: str | None, environment: str | None) -> str:
    """`shop 1.4 → 1.5 prod`; whatever is not known is left out."""
    if from_version and to_version and from_version != to_version:
        versions = f"{from_version} → {to_version}"
    else:
        versions = f"→ {to_version}" if to_version else ""
    where = "" if environment in (None, "*") else environment
    return " ".join(part for part in (project, versions, where) if part)


def common_from_version(plan: Plan) -> str | None:
    """The one version that all of the plan's clients come from, or None."""
    versions = {client.from_version for client in plan.clients}
    return versions.pop() if len(versions) == 1 else None


def run_tags(project: str, environment: str | None, operation: str) -> list[str]:
    """The run's tags: to filter by in Prefect's UI."""
    return ["hoist", f"project:{project}", f"operation:{operation}"] + (
        [f"environment:{environment}"] if environment else []
    )


def named_by_time(flow: str) -> Callable[[], str]:
    """For `flow_run_name` of a scheduled flow: `heartbeat 2030-01-02 03:05`, the time (UTC) that it was meant for."""

    def name() -> str:
        meant_for = flow_run.scheduled_start_time
        return f"{flow} {meant_for:%Y-%m-%d %H:%M}"

    return name
