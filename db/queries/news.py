"""News and its deliveries: what is to be sent, and to whom it went."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.ids import new_id
from db.models import Delivery, News

CLAIM = timedelta(minutes=2)
"""How long a sender has for what it took up; then another may take it."""


def is_anything_due(session: Session, now: datetime) -> bool:
    """Whether there is something to route or to send."""
    unrouted = select(News.id).where(News.routed_at.is_(None)).limit(1)
    waiting = select(Delivery.id).where(Delivery.status == "waiting", Delivery.next_at <= now).limit(1)
    return session.scalar(unrouted) is not None or session.scalar(waiting) is not None


def unrouted(session: Session, limit: int = 500) -> Sequence[News]:
    """News that no channel has been given, in order; what another sender has in hand is passed over."""
    query = select(News).where(News.routed_at.is_(None)).order_by(News.id).limit(limit)
    return session.scalars(query.with_for_update(skip_locked=True)).all()


def channels_told(session: Session, alert_id: str) -> set[str]:
    """The channels that were given the alert's firing."""
    query = select(Delivery.channel).join(News, News.id == Delivery.news_id)
    return set(session.scalars(query.where(News.alert_id == alert_id, News.event == "firing")))


def is_firing_unrouted(session: Session, alert_id: str) -> bool:
    """Whether the alert's firing is still to be given to channels, by another sender just now perhaps."""
    query = select(News.id).where(News.alert_id == alert_id, News.event == "firing", News.routed_at.is_(None))
    return session.scalar(query.limit(1)) is not None


def last_sent(session: Session, channel: str) -> datetime | None:
    """When the channel got its last message."""
    return session.scalar(select(func.max(Delivery.sent_at)).where(Delivery.channel == channel))


def claim(session: Session, channel: str, now: datetime, limit: int = 1000) -> list[tuple[str, News]]:
    """Take up what waits for the channel, in order: a delivery's id and its news. Nobody else takes it for a while."""
    query = (
        select(Delivery, News)
        .join(News, News.id == Delivery.news_id)
        .where(Delivery.channel == channel, Delivery.status == "waiting", Delivery.next_at <= now)
        .order_by(Delivery.news_id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Delivery)
    )
    found = []
    for delivery, news in session.execute(query):
        delivery.next_at = now + CLAIM
        found.append((delivery.id, news))
    return found


def mark_sent(session: Session, delivery_ids: Sequence[str], now: datetime) -> None:
    """They left, in one message."""
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(delivery_ids))
        .values(status="sent", sent_at=now, batch_id=new_id(), attempts=Delivery.attempts + 1, error=None)
    )


def mark_failed(
    session: Session, delivery_ids: Sequence[str], error: str, next_at: datetime, give_up_before: datetime
) -> None:
    """They did not leave: again at `next_at`; those made before `give_up_before` never."""
    those = Delivery.id.in_(delivery_ids)
    session.execute(
        update(Delivery)
        .where(those)
        .values(attempts=Delivery.attempts + 1, error=error[:500], next_at=next_at)
    )
    session.execute(
        update(Delivery).where(those, Delivery.created_at < give_up_before).values(status="failed")
    )


def attempts_of(session: Session, delivery_ids: Sequence[str]) -> int:
    """How often the one that was tried most was tried."""
    return session.scalar(select(func.max(Delivery.attempts)).where(Delivery.id.in_(delivery_ids))) or 0
