"""Prometheus' text format 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.counters import Counters
from api.fleet_metrics import Sample, fleet_families
from db.models import Client, DeployResult, DeployTask, Installation, Project, utc_now


def render_metrics(session: Session, counters: Counters) -> str:
    """Everything that is counted, in the fleet's database and in this process."""
    requests = [
        ({"method": method, "status": str(status)}, count)
        for (method, status), count in sorted(counters.requests().items())
    ]
    families = [
        _family("hoist_projects", "gauge", "Registered projects.", [({}, _count(session, Project.id))]),
        _family("hoist_clients", "gauge", "Registered clients.", [({}, _count(session, Client.client_id))]),
        _family(
            "hoist_installations",
            "gauge",
            "Installations by status.",
            _by_status(session, Installation.status),
        ),
        _family(
            "hoist_deploy_tasks", "gauge", "Deploy tasks by status.", _by_status(session, DeployTask.status)
        ),
        _family(
            "hoist_deploy_results", "gauge", "Results by status.", _by_status(session, DeployResult.status)
        ),
        _family("hoist_api_requests_total", "counter", "Requests answered by this process.", requests),
    ]
    families += [
        _family(one.name, one.kind, one.about, one.samples) for one in fleet_families(session, utc_now())
    ]
    return "".join(families)


def _count(session: Session, column: Any) -> int:
    return session.scalar(select(func.count(column))) or 0


def _by_status(session: Session, column: Any) -> list[Sample]:
    query = select(column, func.count()).group_by(column).order_by(column)
    return [({"status": status}, count) for status, count in session.execute(query)]


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
