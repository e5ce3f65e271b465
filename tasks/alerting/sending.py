"""News leaves: each piece is given to the channels that want it, and those send what they have in few messages.

The first message of a group leaves at once, the rest are collected for 30 s: a rack that loses power is two messages.
Sent at least once: a sender that dies between the sending and the writing of it sends again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import apprise
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Alert, Delivery, News, Project
from db.queries import news as queries
from db.session import Database
from tasks.alerting.channels import Channel
from tasks.alerting.prefect_events import PrefectEvents, event_of
from tasks.alerting.silencing import Silencing

GROUP_S = 30.0
GIVE_UP_AFTER = timedelta(hours=24)
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0
LOOK_AGAIN = timedelta(seconds=10)
"""After so long it is seen whether what was silenced still is."""
MOST_LINES = 50
MOST_EVENTS = 200
"""In one request."""
log = logging.getLogger("hoist.alerting")


@dataclass(frozen=True, slots=True)
class Message:
    """What leaves: `level` is the highest of what it tells."""

    title: str
    body: str
    level: str


Send = Callable[[Channel, Message], str | None]
"""Sends; answers why it did not, or None."""


def send_with_apprise(channel: Channel, message: Message) -> str | None:
    """By apprise."""
    if channel.trouble is not None:
        return channel.trouble
    kinds = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
    sender = apprise.Apprise()
    if not sender.add(channel.url):
        return "apprise does not know the URL"
    kind = kinds.get(message.level, apprise.NotifyType.INFO)
    try:
        sent = sender.notify(title=message.title, body=message.body, notify_type=kind)
    except Exception as error:  # noqa: BLE001 (whatever its plugin raises is why nothing was sent)
        return type(error).__name__
    return None if sent else "the channel did not take it"


def send_news(
    database: Database,
    channels: Sequence[Channel],
    now: datetime,
    send: Send = send_with_apprise,
    *,
    events: PrefectEvents | None = None,
) -> int:
    """Route and send what is due; answers how many messages left. `events`: Prefect hears of all of it, too."""
    with database.read() as session:
        if not queries.is_anything_due(session, now):
            return 0
    with database.write() as session:
        queries.give_up(session, now - GIVE_UP_AFTER)
        route_news(session, (*channels, *([events] if events else [])), now)
    sent = sum(_send_to(database, channel, now, send) for channel in channels)
    return sent + (emit_events(database, events, now) if events is not None else 0)


def route_news(session: Session, channels: Sequence[Channel | PrefectEvents], now: datetime) -> None:
    """Give each piece of news to the channels that want it. What is silenced is looked at again, and does not hold up the rest."""
    waiting = queries.unrouted(session, now)
    if not waiting:
        return
    silencing = Silencing(session, now)
    names = {row.id: row.name for row in session.execute(select(Project.id, Project.name))}
    for one in waiting:
        wanting = [
            channel.name
            for channel in channels
            if channel.wants(one.event, one.level, names.get(one.project_id or ""))
        ]
        told = _who_is_told(session, one, wanting, silencing)
        if told is not None:
            one.routed_at = now
            session.add_all(
                Delivery(news_id=one.id, channel=name, created_at=now, next_at=now) for name in told
            )
            session.flush()
        else:
            one.postponed_until = now + LOOK_AGAIN


def _who_is_told(
    session: Session, one: News, wanting: Sequence[str], silencing: Silencing
) -> Sequence[str] | None:
    """Of an alert's end those who were told that it fires; None: nobody yet, it is silenced."""
    alert = session.get(Alert, one.alert_id) if one.alert_id is not None else None
    if alert is None:
        return wanting
    if one.event == "resolved":
        if queries.is_firing_unrouted(session, alert.id):
            return None
        told = queries.channels_told(session, alert.id)
        return [name for name in wanting if name in told]
    if silencing.silences(alert):
        return None if alert.resolved_at is None else ()
    return wanting


def _send_to(database: Database, channel: Channel, now: datetime, send: Send) -> int:
    with database.write() as session:
        last = queries.last_sent(session, channel.name)
        if last is not None and now - last < timedelta(seconds=GROUP_S):
            return 0
        taken = [
            (delivery_id, _line(one), one.level)
            for delivery_id, one in queries.claim(session, channel.name, now)
        ]
    if not taken:
        return 0
    ids = [delivery_id for delivery_id, _, _ in taken]
    failure = send(channel, message_of([(line, level) for _, line, level in taken]))
    _write_down(database, channel.name, ids, failure, now)
    return 0 if failure else 1


def emit_events(database: Database, events: PrefectEvents, now: datetime) -> int:
    """Send Prefect what waits for it, at most a request's worth; answers how many events left."""
    with database.write() as session:
        names = {row.id: row.name for row in session.execute(select(Project.id, Project.name))}
        taken = [
            (delivery_id, event_of(one, _alert_of(session, one), names.get(one.project_id or "")))
            for delivery_id, one in queries.claim(session, events.name, now, limit=MOST_EVENTS)
        ]
    if not taken:
        return 0
    failure = events.post([event for _, event in taken])
    _write_down(database, events.name, [delivery_id for delivery_id, _ in taken], failure, now)
    return 0 if failure else len(taken)


def _alert_of(session: Session, one: News) -> Alert | None:
    return session.get(Alert, one.alert_id) if one.alert_id is not None else None


def _write_down(
    database: Database, channel: str, ids: Sequence[str], failure: str | None, now: datetime
) -> None:
    with database.write() as session:
        if failure is None:
            queries.mark_sent(session, ids, now)
            return
        wait_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(queries.attempts_of(session, ids), 10))
        log.warning("cannot notify %s: %s; trying again in %.0f s", channel, failure, wait_s)
        queries.mark_tried(session, ids, failure, now + timedelta(seconds=wait_s))


def _line(one: News) -> tuple[str, str]:
    return one.title, one.body


def message_of(news: Sequence[tuple[tuple[str, str], str]]) -> Message:
    """One message of one or many pieces of news: (title, body), level."""
    order = ("info", "warning", "critical")
    level = max((level for _, level in news), key=order.index)
    if len(news) == 1:
        (title, body), _ = news[0]
        return Message(title, body, level)
    resolved = sum(title.startswith("resolved: ") for (title, _), _ in news)
    title = f"{len(news)} messages: {len(news) - resolved} new, {resolved} resolved"
    lines = [f"- {title}" for (title, _), _ in news[:MOST_LINES]]
    if len(news) > MOST_LINES:
        lines.append(f"… and {len(news) - MOST_LINES} more: GET /release/alerts")
    return Message(title, "\n".join(lines), level)
