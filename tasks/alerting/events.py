"""A Prefect event for each alert that fires or resolves, so that Prefect's automations can act on it.

Events leave like messages to a channel: what is silenced waits, what the server does not take is sent again, and each is
written down in `deliveries`. An event's id is its news': one that is sent twice is one event to the server.
https://docs.prefect.io/v3/concepts/events
"""

import base64
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy.orm import Session

from db.models import Alert, News, Project
from db.queries import news as queries
from db.session import Database
from tasks.alerting.settling import settle

EVENTS = "prefect events"
"""The channel that they are delivered to; no other may be called so."""
NAMES = {"firing": "hoist.alert.fired", "resolved": "hoist.alert.resolved"}
MOST_AT_ONCE = 200
TIMEOUT_S = 5.0

Event = dict[str, Any]
Post = Callable[[Sequence[Event]], str | None]
"""Sends events; answers why it did not, or None."""


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """Where events go. `url`: of its API; None: none is known. `ca_file`: whom to trust, in the place of the usual authorities."""

    url: str | None
    auth_string: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    def post(self, events: Sequence[Event]) -> str | None:
        """Send them in one request."""
        if self.url is None:
            return "no Prefect server is configured: set PREFECT_API_URL"
        headers = {}
        if self.auth_string:
            headers["Authorization"] = f"Basic {base64.b64encode(self.auth_string.encode()).decode()}"
        address = f"{self.url.rstrip('/')}/events"
        try:
            tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True
            answer = httpx.post(address, json=list(events), headers=headers, timeout=TIMEOUT_S, verify=tls)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"the Prefect server can't be reached ({type(error).__name__})"
        return None if answer.is_success else f"the Prefect server answers {answer.status_code}"


def is_for_events(news: News) -> bool:
    """Whether a piece of news is an alert's."""
    return news.alert_id is not None and news.event in NAMES


def send_events(database: Database, post: Post, now: datetime) -> int:
    """Send the events that are due; answers how many left."""
    with database.write() as session:
        taken = [
            (delivery_id, event_of(session, news))
            for delivery_id, news in queries.claim(session, EVENTS, now, limit=MOST_AT_ONCE)
        ]
    if not taken:
        return 0
    ids = [delivery_id for delivery_id, _ in taken]
    failure = post([event for _, event in taken])
    return len(taken) if settle(database, EVENTS, ids, failure, now) else 0


def event_of(session: Session, news: News) -> Event:
    """The event, as Prefect's API takes it. Its resource is the alert's fingerprint: the same for fired and resolved."""
    alert = session.get(Alert, news.alert_id)
    project = session.get(Project, news.project_id) if news.project_id is not None else None
    known = {
        "alert_id": news.alert_id,
        "level": news.level,
        "client_id": news.client_id,
        "project_id": news.project_id,
        "project": project.name if project is not None else None,
        "title": news.title.removeprefix("resolved: "),
        "message": news.body,
    }
    return {
        "id": news.id,
        "occurred": news.at.isoformat(),
        "event": NAMES[news.event],
        "resource": _resource(alert, known),
        "related": _related(alert, known),
        "payload": {**known, **_measured(alert)},
    }


def _resource(alert: Alert | None, known: Event) -> dict[str, str]:
    """Its labels are what a trigger matches."""
    labels = {
        "prefect.resource.id": f"hoist.alert.{alert.fingerprint if alert is not None else known['alert_id']}",
        "prefect.resource.name": known["title"],
        "hoist.type": alert.type if alert is not None else None,
        "hoist.level": known["level"],
        "hoist.client": known["client_id"],
        "hoist.project": known["project"],
        "hoist.environment": alert.labels.get("environment") if alert is not None else None,
    }
    return {name: value for name, value in labels.items() if value}


def _related(alert: Alert | None, known: Event) -> list[dict[str, str]]:
    deploy_task = alert.labels.get("deploy_task") if alert is not None else None
    ids = (("client", known["client_id"]), ("project", known["project_id"]), ("deploy-task", deploy_task))
    return [
        {"prefect.resource.id": f"hoist.{role}.{id_}", "prefect.resource.role": role}
        for role, id_ in ids
        if id_
    ]


def _measured(alert: Alert | None) -> Event:
    if alert is None:
        return {}
    return {
        "type": alert.type,
        "subject": alert.subject,
        "labels": alert.labels,
        "value": alert.value,
        "threshold": alert.threshold,
        "fired_at": alert.fired_at.isoformat() if alert.fired_at is not None else None,
        "resolved_at": alert.resolved_at.isoformat() if alert.resolved_at is not None else None,
    }
