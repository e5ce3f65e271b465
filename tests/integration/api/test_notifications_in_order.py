"""Each channel by itself, one message after the other: outages, slow channels, several senders. Both databases."""

import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace

import pytest

from api.alerting import Messenger
from db.ids import new_id
from db.models import Alert, Delivery, News, utc_now
from db.queries.news import claim, unrouted
from db.session import open_database
from tasks.alerting.changing import end_alert
from tasks.alerting.channels import Channel, ChannelConfig
from tasks.alerting.messages import Message
from tasks.alerting.prefect_events import PrefectEvents
from tasks.alerting.sending import Sending, route_news, send_news, send_with_apprise
from tasks.fleet.dropping import Ages, drop_by_age
from tests.integration.api.test_notifications import NOW, deliveries, fire, hook, later

__all__ = ["hook"]

HOUR_S = 3600
DAY_S = 24 * HOUR_S


def named(name):
    return Channel(ChannelConfig(name=name, url="json://x/y"), "json://x/y")


class Channels:
    """What was sent to whom. `down`: who takes nothing; `slow`: who takes it only once let go."""

    def __init__(self, down=(), slow=()):
        self.down, self.slow, self.tried, self.sent = set(down), set(slow), [], []
        self.let_go = threading.Event()

    def __call__(self, channel, message):
        self.tried.append(channel.name)
        if channel.name in self.slow:
            assert self.let_go.wait(60)
        if channel.name in self.down:
            return "it is down"
        self.sent.append((channel.name, message))
        return None

    def titles(self, name="ops"):
        return [message.title for channel, message in self.sent if channel == name]


@dataclass(frozen=True, slots=True)
class Events(PrefectEvents):
    """Prefect's events, kept, but while it is `down`."""

    taken: list = field(default_factory=list)
    projects: set = field(default_factory=set)
    down: threading.Event = field(default_factory=threading.Event)

    def post(self, events):
        if self.down.is_set():
            return "it is down"
        self.taken.extend(one["event"] for one in events)
        self.projects.update(one["resource"].get("hoist.project") for one in events)
        return None


def until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


def end(database, alert_id, at):
    with database.write() as session:
        end_alert(session, session.get_one(Alert, alert_id), at)


def begin(database, number=1, at=NOW):
    with database.write() as session:
        return fire(session, number, at=at).id


def test_after_an_outage_an_alert_that_ended_meanwhile_begins_before_it_ends(database):
    send, events = Channels(down=["ops"]), Events("http://x")
    events.down.set()
    alert_id = begin(database)
    for seconds in range(0, 1600, 10):
        if seconds == 730:
            end(database, alert_id, later(seconds))
        if seconds == 800:
            send.down.clear()
            events.down.clear()
        send_news(database, [named("ops")], later(seconds), send, events=events)
    [title] = send.titles()
    assert title == "2 messages: 1 new, 1 resolved"
    titles = [line for line in send.sent[0][1].body.splitlines() if line.startswith("- ")]
    assert titles == ["- shop on web-1: process exit", "- resolved: shop on web-1: process exit"]
    assert events.taken == ["hoist.alert.firing", "hoist.alert.resolved"]


def test_end_of_a_deleted_project_s_alert_is_told_to_who_wants_that_project(database):
    send, events = Channels(), Events("http://x")
    wants = {
        name: Channel(ChannelConfig(name=name, url="json://x/y", projects=(name,)), "json://x/y")
        for name in ("gone", "other")
    }
    with database.write() as session:
        alert = fire(session)
        alert.project_id, alert.labels = new_id(), {"project": "gone"}
        session.query(News).one().project_id = alert.project_id
        end_alert(session, alert, later(1))
    send_news(database, list(wants.values()), later(2), send, events=events)
    assert send.titles("gone") == ["2 messages: 1 new, 1 resolved"]
    assert send.titles("other") == []
    assert events.projects == {"gone"}


@pytest.mark.parametrize("ended_s", [23 * HOUR_S, 25 * HOUR_S], ids=["before", "after"])
def test_end_of_what_was_given_up_is_not_told(database, ended_s):
    send, events = Channels(down=["ops"]), Events("http://x")
    events.down.set()
    alert_id = begin(database)
    for seconds in range(0, 27 * HOUR_S, HOUR_S):
        if seconds == ended_s:
            end(database, alert_id, later(seconds))
        if seconds > DAY_S:
            send.down.clear()
            events.down.clear()
        send_news(database, [named("ops")], later(seconds), send, events=events)
    assert send.sent == []
    assert events.taken == []
    assert {status for _, status, _ in deliveries(database)} == {"failed"}


def test_end_of_an_alert_that_outlived_the_age_of_its_news_is_told(database):
    send, ending = Channels(), threading.Event()
    alert_id = begin(database)
    send_news(database, [named("ops")], NOW, send)
    drop_by_age(database, Ages(), NOW + timedelta(days=91), ending)
    end(database, alert_id, NOW + timedelta(days=92))
    drop_by_age(database, Ages(), NOW + timedelta(days=92, seconds=1), ending)
    send_news(database, [named("ops")], NOW + timedelta(days=92, seconds=2), send)
    assert send.titles() == ["shop on web-1: process exit", "resolved: shop on web-1: process exit"]
    drop_by_age(database, Ages(), NOW + timedelta(days=183), ending)
    with database.read() as session:
        assert [session.query(table).count() for table in (Alert, News, Delivery)] == [0, 0, 0]


def test_news_is_no_reason_to_try_a_channel_that_just_failed(database):
    send = Channels(down=["ops"])
    for number in range(5):
        begin(database, number)
        send_news(database, [named("ops"), named("boss")], later(number), send)
    assert send.tried.count("ops") == 1
    send.down.clear()
    send_news(database, [named("ops"), named("boss")], later(30), send)
    assert send.titles() == ["5 messages: 5 new, 0 resolved"]
    assert len(send.titles("boss")) == 2, "another channel's failure is no concern of it"


def test_back_off_counts_from_when_a_channel_failed(database):
    def send(channel, message):
        time.sleep(1)
        return "it timed out"

    begin(database)
    send_news(database, [named("ops")], NOW, send)
    with database.read() as session:
        assert session.query(Delivery).one().next_at >= later(6)


def test_slow_channel_delays_no_other_and_is_sent_one_message_at_a_time(database):
    send = Channels(slow=["slow"])
    sending, channels = Sending(send), [named("slow"), named("ops")]
    for number, seconds in enumerate((0, 31, 62, 200), start=1):  # 200: its claim is over
        begin(database, number)
        sending.begin(database, channels, later(seconds))
        until(lambda: len(send.titles()) == number)  # noqa: B023 (it is called at once)
        until(lambda: deliveries(database).count(("ops", "sent", 1)) == number)  # noqa: B023
    assert send.tried.count("slow") == 1
    send.let_go.set()
    until(lambda: send.titles("slow"))
    sending.wait()


def test_slow_prefect_server_delays_no_channel(database):
    let_go = threading.Event()

    class Slow(Events):
        def post(self, events):
            assert let_go.wait(60)
            return super().post(events)

    events, send = Slow("http://x"), Channels()
    sending = Sending(send)
    for number, seconds in enumerate((0, 31), start=1):
        begin(database, number)
        sending.begin(database, [named("ops")], later(seconds), events=events)
        until(lambda: deliveries(database).count(("ops", "sent", 1)) == number)  # noqa: B023
    assert events.taken == []
    let_go.set()
    sending.wait()
    send_news(database, [named("ops")], later(32), send, events=events)
    assert events.taken == ["hoist.alert.firing"] * 2


def test_what_went_wrong_in_a_channels_thread_is_said_in_the_next_round(database):
    def send(channel, message):
        raise ZeroDivisionError

    sending = Sending(send)
    begin(database)
    sending.begin(database, [named("ops")], NOW)

    def is_said():
        try:
            sending.begin(database, [named("ops")], later(1))
        except ZeroDivisionError:
            return True
        return False

    until(is_said)
    assert not is_said(), "once"


def test_release_api_does_not_wait_for_a_slow_channel(database, hook, tmp_path, monkeypatch):
    path = tmp_path / "notify.toml"
    path.write_text(f'[[channel]]\nname = "ops"\nurl = "{hook.url}"\n')
    path.chmod(0o600)
    monkeypatch.setenv("HOIST_NOTIFY_FILE", str(path))
    begin(database, at=utc_now())
    hook.open.clear()
    parts = SimpleNamespace(database=database, settings=SimpleNamespace(prefect_url=None))
    Messenger().send(parts, threading.Event())
    assert deliveries(database) == [("ops", "waiting", 0)]
    hook.open.set()
    until(lambda: deliveries(database) == [("ops", "sent", 1)])


def test_window_is_taken_before_the_message_leaves(database, database_url):
    """Two processes of the release API: what comes while one of them sends is in the second message."""
    other = open_database(database_url)
    first, second = Channels(slow=["ops"]), Channels()
    sending = Sending(first)
    begin(database)
    sending.begin(database, [named("ops")], NOW)
    until(lambda: first.tried)
    for number in range(2, 201):
        begin(database, number)
        if number in (2, 100):
            send_news(other, [named("ops")], later(number / 100), second)
    first.let_go.set()
    sending.wait()
    for seconds in (5, 29, 30, 31, 61):
        send_news(other, [named("ops")], later(seconds), second)
        send_news(database, [named("ops")], later(seconds), second)
    other.close()
    assert first.titles() == ["shop on web-1: process exit"]
    assert second.titles() == ["199 messages: 199 new, 0 resolved"]


def test_sender_waits_for_another_that_is_just_taking_up(database):
    with database.write() as session:
        fire(session, 1)
        fire(session, 2)
        route_news(session, [named("ops")], NOW)
    send = Channels()
    other = threading.Thread(target=send_news, args=(database, [named("ops")], NOW, send))
    with database.write() as session:
        assert len(claim(session, "ops", NOW, limit=1)) == 1
        other.start()
        time.sleep(1)  # for it to take up the other piece, which nobody has locked
    other.join(60)
    assert send.tried == []


def test_senders_of_several_processes_send_a_group_once(database, database_url):
    send = Channels()
    send_news(database, [], NOW, send)
    with database.write() as session:
        for number in range(1, 201):
            fire(session, number)
    databases = [database, open_database(database_url)]
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        for _ in range(3):
            send_news(databases[number % 2], [named("ops")], later(1), send)

    senders = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(120)
    databases[1].close()
    assert send.titles() == ["200 messages: 200 new, 0 resolved"]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_news_that_another_process_is_giving_away_is_left_to_it(database, database_url):
    send, other = Channels(), open_database(database_url)
    with database.write() as session:
        fire(session, 1)
    with other.write() as session:
        assert len(unrouted(session, NOW)) == 1
        assert send_news(database, [named("ops")], NOW, send) == 0
    other.close()
    assert send_news(database, [named("ops")], NOW, send) == 1
    assert send.titles() == ["shop on web-1: process exit"]


def test_what_is_too_long_for_a_service_is_cut_unless_the_url_says_otherwise(hook):
    long = Message("t", "words of ten " * 4000, "info")
    for url in (hook.url, f"{hook.url}?overflow=split"):
        assert send_with_apprise(Channel(ChannelConfig(name="ops", url=url), url), long) is None
    lengths = [len(one["message"]) for one in hook.messages]
    assert len(lengths) == 3
    assert max(lengths) <= 32768
