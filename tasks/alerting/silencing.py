"""Which alerts nobody is told of now."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Alert, Project, Silence
from db.queries.alerts import active_silences
from tasks.decisions.silences import is_matched


class Silencing:
    """The silences that hold now, read once."""

    def __init__(self, session: Session, now: datetime) -> None:
        self._silences: Sequence[Silence] = active_silences(session, now)
        self._names = (
            {row.id: row.name for row in session.execute(select(Project.id, Project.name))}
            if self._silences
            else {}
        )

    def silences(self, alert: Alert) -> bool:
        """Whether one of them matches the alert."""
        if not self._silences:
            return False
        facts = {
            **alert.labels,
            "type": alert.type,
            "level": alert.level,
            "client_id": alert.client_id or "",
            "project": self._names.get(alert.project_id or "", ""),
        }
        return any(is_matched(one.matchers, facts) for one in self._silences)
