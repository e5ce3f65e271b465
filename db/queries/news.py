"""News and its deliveries: what is to be sent, and to whom it went."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from db.ids import new_id
from db.models import Delivery, News

CLAIM = timedelta(minutes=2)
"""How long a sender has for what it took up; then another may take it."""
_CHANNELS = 0x6E657773
"""Of the advisory locks on channels."""
_LOCK = text("SELECT pg_advisory_xact_lock(:namespace, hashtext(:channel))")
_ROUTING = 0x686F6973743034  # "hoist04": who gives news to the channels holds it
_TRY = text(
    "SELECT pg_try_advisory_xact_lock(:lock) FROM set_config('idle_in_transaction_session_timeout', '30s', true)"
)
"""Whoever hangs with the lock loses it: nobody would be told anything."""


def is_anything_due(session: Session, now: datetime) -> bool:
    """Whether there is something to route or to send."""
    unrouted = select(News.id).where(_is_unrouted(now)).limit(1)
    return session.scalar(unrouted) is not None or bool(channels_due(session, now))


def channels_due(session: Session, now: datetime) -> set[str]:
    """The channels that have something to send and may: none of theirs is in a sender's hand, or was just refused.

    So one message after the other leaves for a channel, in order, and new ones are no reason to try it earlier.
    """
    waiting = select(Delivery.channel).where(Delivery.status == "waiting")
    return set(session.scalars(waiting.group_by(Delivery.channel).having(func.max(Delivery.next_at) <= now)))


def unrouted(session: Session, now: datetime, limit: int = 500) -> Sequence[News]:
    """News that no channel has been given, in order, without what is postponed; nothing while another process is at it:
    two that share what waits would make two groups of it.
    """
    if session.get_bind().dialect.name == "postgresql" and not session.scalar(_TRY, {"lock": _ROUTING}):
        return []
    query = select(News).where(_is_unrouted(now)).order_by(News.id).limit(limit)
    return session.scalars(query.with_for_update(skip_locked=True)).all()


def _is_unrouted(now: datetime) -> ColumnElement[bool]:
    due = or_(News.postponed_until.is_(None), News.postponed_until <= now)
    return and_(News.routed_at.is_(None), due)


def look_again_at(session: Session, alert_id: str) -> None:
    """The alert has changed: what was postponed of it is due."""
    those = (News.alert_id == alert_id) & News.postponed_until.is_not(None)
    session.execute(update(News).where(those).values(postponed_until=None))


def give_up(session: Session, created_before: datetime) -> None:
    """What has waited for longer will not leave any more; whoever it was for, a channel that is gone, too.

    Nor will the end of an alert whose beginning was given up.
    """
    waiting = update(Delivery).where(Delivery.status == "waiting")
    nobody = func.coalesce(Delivery.error, "no channel of this name took it up")
    session.execute(waiting.where(Delivery.created_at < created_before).values(status="failed", error=nobody))
    session.execute(
        waiting.where(_is_end_of_what_was_given_up())
        .values(status="failed", error="that it fires was given up")
        .execution_options(synchronize_session=False)
    )


def _is_end_of_what_was_given_up() -> ColumnElement[bool]:
    end, firing, given_up = aliased(News), aliased(News), aliased(Delivery)
    return exists().where(
        end.id == Delivery.news_id,
        end.event == "resolved",
        firing.alert_id == end.alert_id,
        firing.event == "firing",
        given_up.news_id == firing.id,
        given_up.channel == Delivery.channel,
        given_up.status == "failed",
    )


def channels_told(session: Session, alert_id: str) -> set[str]:
    """The channels that were given the alert's firing, and have not given it up."""
    query = select(Delivery.channel).join(News, News.id == Delivery.news_id)
    firing = (News.alert_id == alert_id, News.event == "firing", Delivery.status != "failed")
    return set(session.scalars(query.where(*firing)))


def is_firing_unrouted(session: Session, alert_id: str) -> bool:
    """Whether the alert's firing is still to be given to channels, by another process just now perhaps."""
    query = select(News.id).where(News.alert_id == alert_id, News.event == "firing", News.routed_at.is_(None))
    return session.scalar(query.limit(1)) is not None


def last_sent(session: Session, channel: str) -> datetime | None:
    """When the channel got its last message."""
    return session.scalar(select(func.max(Delivery.sent_at)).where(Delivery.channel == channel))


def claim(
    session: Session, channel: str, now: datetime, *, group: timedelta = timedelta(), limit: int = 1000
) -> list[tuple[str, News]]:
    """Take up what waits for the channel, in order: a delivery's id and its news. Nobody else takes any for a while.

    Nothing before the channel may be sent to, nor before its last message is `group` old.
    """
    if session.get_bind().dialect.name == "postgresql":  # on SQLite who writes is alone
        session.execute(_LOCK, {"namespace": _CHANNELS, "channel": channel})
    last = last_sent(session, channel)
    if channel not in channels_due(session, now) or (last is not None and now - last < group):
        return []
    query = (
        select(Delivery, News)
        .join(News, News.id == Delivery.news_id)
        .where(Delivery.channel == channel, Delivery.status == "waiting")
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


def mark_tried(session: Session, delivery_ids: Sequence[str], error: str, next_at: datetime) -> None:
    """They did not leave: again at `next_at`."""
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(delivery_ids))
        .values(attempts=Delivery.attempts + 1, error=error[:500], next_at=next_at)
    )


def attempts_of(session: Session, delivery_ids: Sequence[str]) -> int:
    """How often the one that was tried most was tried."""
    return session.scalar(select(func.max(Delivery.attempts)).where(Delivery.id.in_(delivery_ids))) or 0
