"""What is dropped by age: reports, alerts that resolved, news and its deliveries, the trail."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.history.dropping import keep_house, repeat_in_batches
from db.models import Alert, AuditEntry, Freeze, News, Silence
from db.session import Database


@dataclass(frozen=True, slots=True)
class Ages:
    """Days. None: kept for ever."""

    reports: int = 30
    alerts: int = 90
    news: int = 90
    audit: int | None = None


def drop_by_age(database: Database, ages: Ages, now: datetime, ending: threading.Event) -> dict[str, int]:
    """Drop what is older, in small transactions; answers how many rows of what (reports on PostgreSQL: partitions)."""
    dropped = {"reports": keep_house(database, now, timedelta(days=ages.reports), ending)}

    def drop(name: str, key: "InstrumentedAttribute[str]", condition: "ColumnElement[bool]") -> None:
        dropped[name] = repeat_in_batches(_some(key, condition), database, ending)

    drop("alerts", Alert.id, Alert.resolved_at < now - timedelta(days=ages.alerts))
    drop("news", News.id, _is_old_news(now - timedelta(days=ages.news)))
    drop("silences", Silence.id, Silence.ends_at < now - timedelta(days=ages.alerts))
    drop("freezes", Freeze.id, Freeze.until < now - timedelta(days=ages.alerts))
    if ages.audit is not None:
        drop("audit entries", AuditEntry.id, AuditEntry.at < now - timedelta(days=ages.audit))
    return {name: count for name, count in dropped.items() if count}


def _is_old_news(before: datetime) -> "ColumnElement[bool]":
    """What was told, and whose alert is over for as long: who was told that it fires is told its end."""
    fires = or_(Alert.resolved_at.is_(None), Alert.resolved_at >= before)
    goes_on = exists().where(Alert.id == News.alert_id, fires)
    return and_(News.routed_at.is_not(None), News.at < before, ~goes_on)


def _some(
    key: "InstrumentedAttribute[str]", condition: "ColumnElement[bool]"
) -> Callable[[Session, int], int]:
    def delete_some(session: Session, limit: int) -> int:
        ids = list(session.scalars(select(key).where(condition).limit(limit)))
        if ids:
            session.execute(delete(key.class_).where(key.in_(ids)))
        return len(ids)

    return delete_some
