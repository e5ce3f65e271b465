"""News leaves: each piece is given to the channels that want it, and those send what they have in few messages.

The first message of a group leaves at once, the rest are collected for 30 s: a rack that loses power is two messages.
To one channel one message leaves after the other, whoever sends, and channels don't wait for each other.
Sent at least once: a sender that dies between the sending and the writing of it sends again.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import datetime, timedelta

import apprise
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Alert, Delivery, News, Project
from db.queries import news as queries
from db.session import Database
from tasks.alerting.channels import Channel
from tasks.alerting.messages import Message, message_of
from tasks.alerting.prefect_events import PrefectEvents, event_of
from tasks.alerting.silencing import Silencing
from tasks.errors import TransientTaskError

GROUP = timedelta(seconds=30)
GIVE_UP_AFTER = timedelta(hours=24)
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0
LOOK_AGAIN = timedelta(seconds=10)
"""After so long it is seen whether what was silenced still is."""
MOST_EVENTS = 200
"""In one request."""
MOST_AT_ONCE = 8
"""Channels that are sent to at the same time."""
log = logging.getLogger("hoist.alerting")

Send = Callable[[Channel, Message], str | None]
"""Sends; answers why it did not, or None."""


def send_with_apprise(channel: Channel, message: Message) -> str | None:
    """By apprise. What is too long for the service is cut, unless the URL says otherwise (`overflow=`)."""
    kinds = {"critical": apprise.NotifyType.FAILURE, "warning": apprise.NotifyType.WARNING}
    sender = apprise.Apprise()
    try:
        url = channel.find_url()
    except TransientTaskError as error:
        return str(error)
    if not sender.add(url):
        return "apprise does not know the URL"
    for service in sender:
        if "overflow=" not in url and service.overflow_mode == apprise.OverflowMode.UPSTREAM:
            service.overflow_mode = apprise.OverflowMode.TRUNCATE
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
    sending = Sending(send)
    sending.begin(database, channels, now, events=events)
    return sending.wait()


class Sending:
    """Sends to the channels side by side, to each one message at a time: a slow one delays no other."""

    def __init__(self, send: Send = send_with_apprise) -> None:
        self._send = send
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="sending")
        self._under_way: dict[str, Future[int]] = {}

    def begin(
        self,
        database: Database,
        channels: Sequence[Channel],
        now: datetime,
        *,
        events: PrefectEvents | None = None,
    ) -> None:
        """Route what is due, and begin to send it, save to who is still being sent to. Raises what went wrong since."""
        for name in [name for name, sent in self._under_way.items() if sent.done()]:
            self._under_way.pop(name).result()
        with database.read() as session:
            if not queries.is_anything_due(session, now):
                return
        with database.write() as session:
            queries.give_up(session, now - GIVE_UP_AFTER)
            route_news(session, (*channels, *([events] if events else [])), now)
            due = queries.channels_due(session, now) - self._under_way.keys()
        for channel in channels:
            if channel.name in due:
                self._start(channel.name, _send_to, database, channel, now, self._send)
        if events is not None and events.name in due:
            self._start(events.name, emit_events, database, events, now)

    def _start(self, name: str, work: Callable[..., int], *values: object) -> None:
        self._under_way[name] = self._threads.submit(copy_context().run, work, *values)

    def wait(self) -> int:
        """Until all have been sent to; answers how many messages left. Nothing can be sent afterwards."""
        self._threads.shutdown()
        return sum(sent.result() for sent in self._under_way.values())


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
            if channel.wants(one.event, one.level, _project_of(session, one, names))
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
    began = time.monotonic()
    with database.write() as session:
        taken = queries.claim(session, channel.name, now, group=GROUP)
    if not taken:
        return 0
    failure = send(channel, message_of([one for _, one in taken]))
    took = timedelta(seconds=time.monotonic() - began)
    _write_down(database, channel.name, [delivery_id for delivery_id, _ in taken], failure, now, took=took)
    return 0 if failure else 1


def emit_events(database: Database, events: PrefectEvents, now: datetime) -> int:
    """Send Prefect what waits for it, at most a request's worth; answers how many events left."""
    began = time.monotonic()
    with database.write() as session:
        names = {row.id: row.name for row in session.execute(select(Project.id, Project.name))}
        taken = [
            (delivery_id, event_of(one, _alert_of(session, one), _project_of(session, one, names)))
            for delivery_id, one in queries.claim(session, events.name, now, limit=MOST_EVENTS)
        ]
    if not taken:
        return 0
    failure = events.post([event for _, event in taken])
    took = timedelta(seconds=time.monotonic() - began)
    _write_down(database, events.name, [delivery_id for delivery_id, _ in taken], failure, now, took=took)
    return 0 if failure else len(taken)


def _project_of(session: Session, news: News, names: Mapping[str, str]) -> str | None:
    """Its project's name; of one that was deleted, as the alert has it."""
    if news.project_id is None or news.project_id in names:
        return names.get(news.project_id or "")
    alert = _alert_of(session, news)
    return alert.labels.get("project") if alert is not None else None


def _alert_of(session: Session, one: News) -> Alert | None:
    return session.get(Alert, one.alert_id) if one.alert_id is not None else None


def _write_down(
    database: Database,
    channel: str,
    ids: Sequence[str],
    failure: str | None,
    now: datetime,
    *,
    took: timedelta,
) -> None:
    """`took`: how long after `now` it was known."""
    with database.write() as session:
        if failure is None:
            queries.mark_sent(session, ids, now)
            return
        wait_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(queries.attempts_of(session, ids), 10))
        log.warning("cannot notify %s: %s; trying again in %.0f s", channel, failure, wait_s)
        queries.mark_tried(session, ids, failure, now + took + timedelta(seconds=wait_s))
