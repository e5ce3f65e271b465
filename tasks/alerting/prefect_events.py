"""Every piece of news is an event in Prefect too, so that automations can act on it: `hoist.alert.firing`, and so on.

https://docs.prefect.io/v3/concepts/events: an event's id is its news', so one that is sent twice is one.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from db.models import Alert, News

NAME = "prefect events"
"""What its deliveries are recorded under."""
SWITCH = "HOIST_PREFECT_EVENTS"
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class PrefectEvents:
    """A channel of its own: it wants everything, ungrouped. `url`: Prefect's API; `auth`: PREFECT_API_AUTH_STRING."""

    url: str
    auth: str | None = field(default=None, repr=False)
    name: str = NAME

    def wants(self, event: str, level: str, project: str | None) -> bool:  # noqa: ARG002 (a channel's)
        """All of it."""
        return True

    def post(self, events: Sequence[dict[str, Any]]) -> str | None:
        """Send them; answers why that did not work, or None."""
        headers = {}
        if self.auth:
            headers["Authorization"] = "Basic " + base64.b64encode(self.auth.encode()).decode()
        try:
            answer = httpx.post(
                f"{self.url.rstrip('/')}/events", json=list(events), headers=headers, timeout=TIMEOUT_S
            )
        except httpx.HTTPError as error:
            return type(error).__name__
        return None if answer.is_success else f"Prefect answers {answer.status_code}"


def prefect_events(
    url: str | None, auth: str | None, environ: Mapping[str, str] = os.environ
) -> PrefectEvents | None:
    """Where Prefect's address is known, it hears of everything; HOIST_PREFECT_EVENTS=off keeps it from that."""
    return None if url is None or environ.get(SWITCH) == "off" else PrefectEvents(url, auth)


def event_of(news: News, alert: Alert | None, project: str | None) -> dict[str, Any]:
    """The event, as Prefect's API takes it. Its resource is the alert (by fingerprint), or the deploy task."""
    if alert is not None:
        kind, resource_id = "alert", f"hoist.alert.{alert.fingerprint}"
    else:
        kind, resource_id = "deploy-task", f"hoist.deploy-task.{news.deploy_task_id}"
    labels = {
        "hoist.level": news.level,
        "hoist.project": project,
        "hoist.client": news.client_id,
        "hoist.type": alert.type if alert is not None else None,
    }
    title = news.title.removeprefix("resolved: ")  # that it did is the event's name
    said = {name: value for name, value in labels.items() if value}
    return {
        "id": news.id,
        "occurred": _text(news.at),
        "event": f"hoist.{kind}.{news.event.replace('_', '-')}",
        "resource": {"prefect.resource.id": resource_id, "prefect.resource.name": title, **said},
        "payload": {"title": title, "message": news.body, "labels": dict(alert.labels) if alert else {}},
    }


def _text(at: datetime) -> str:
    return at.isoformat()
