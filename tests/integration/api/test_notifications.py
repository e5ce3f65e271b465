"""News leaves for a web hook that the test runs: once, in few messages, over restarts; silenced news waits. Both databases."""

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import select, update

from db.documents.silences import Matcher
from db.ids import new_id
from db.models import Alert, Delivery, News, Silence
from db.queries.news import is_anything_due
from tasks.alerting.changing import end_alert
from tasks.alerting.channels import Channel, ChannelConfig, load_channels
from tasks.alerting.sending import send_news
from tasks.errors import PermanentTaskError
from tests.real_processes import wait_until
from tests.served_api import serve_api

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class WebHook:
    """Takes messages; answers `status`, once it is open."""

    def __init__(self):
        self.messages, self.status, self.open = [], 200, threading.Event()
        self.open.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.open.wait(60)
                if hook.status == 200:
                    hook.messages.append(json.loads(body))
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/secret-path"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def titles(self):
        return [one["title"] for one in self.messages]


@pytest.fixture
def hook():
    made = WebHook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def channel(hook, **config):
    return Channel(ChannelConfig(name="ops", url=hook.url, **config), hook.url)


def fire(session, number=1, level="critical", at=NOW):
    alert = Alert(
        id=new_id(),
        fingerprint=f"{number:064d}",
        type="process_exit",
        level=level,
        source="process",
        client_id=f"web-{number}",
        subject="shop",
        title=f"shop on web-{number}: process exit",
        message="no process matches",
        labels={},
        since=at,
        held_at=at,
        seen_at=at,
        holds=True,
        for_s=1.0,
        keep_firing_s=0.0,
        stale_after_s=180.0,
        fired_at=at,
    )
    news = News(
        event="firing",
        level=level,
        client_id=alert.client_id,
        alert_id=alert.id,
        title=alert.title,
        body="x",
        at=at,
    )
    session.add_all([alert, news])
    session.flush()
    return alert


def later(seconds):
    return NOW + timedelta(seconds=seconds)


def deliveries(database):
    with database.read() as session:
        return [
            (row.channel, row.status, row.attempts) for row in session.query(Delivery).order_by(Delivery.id)
        ]


def told(database, alert_type):
    """Each piece of news of the alerts of this type, and whether the channel `ops` was given it; in order."""
    given = (Delivery.news_id == News.id) & (Delivery.channel == "ops")
    query = select(News.event, Delivery.channel).join(Alert, Alert.id == News.alert_id)
    query = query.outerjoin(Delivery, given).where(Alert.type == alert_type).order_by(News.id)
    with database.read() as session:
        return session.execute(query).tuples().all()


def test_a_rack_that_loses_power_is_two_messages(database, hook):
    channels = [channel(hook)]
    with database.write() as session:
        fire(session)
    assert send_news(database, channels, NOW) == 1
    with database.write() as session:
        for number in range(2, 201):
            fire(session, number)
    for seconds in (1, 10, 29):
        assert send_news(database, channels, later(seconds)) == 0
    assert send_news(database, channels, later(30)) == 1
    assert send_news(database, channels, later(90)) == 0
    assert hook.titles == ["shop on web-1: process exit", "199 messages: 199 new, 0 resolved"]
    assert "and 149 more" in hook.messages[1]["message"]
    assert [one["type"] for one in hook.messages] == ["failure", "failure"]
    assert set(deliveries(database)) == {("ops", "sent", 1)}


def test_end_is_told_to_whom_the_beginning_was(database, hook):
    critical, everything = (
        channel(hook, levels=("critical",)),
        Channel(ChannelConfig(name="all", url=hook.url), hook.url),
    )
    with database.write() as session:
        alert = fire(session, level="warning")
    send_news(database, [critical, everything], NOW)
    with database.write() as session:
        end_alert(session, session.get_one(Alert, alert.id), later(60))
    send_news(database, [critical, everything], later(61))
    assert hook.titles == [alert.title, f"resolved: {alert.title}"]
    assert {name for name, *_ in deliveries(database)} == {"all"}


def test_what_was_not_taken_is_sent_again_later_and_once(database, hook):
    hook.status = 500
    with database.write() as session:
        fire(session)
    assert send_news(database, [channel(hook)], NOW) == 0
    assert deliveries(database) == [("ops", "waiting", 1)]
    hook.status = 200
    assert send_news(database, [channel(hook)], later(1)) == 0
    assert send_news(database, [channel(hook)], later(11)) == 1
    assert send_news(database, [channel(hook)], later(60)) == 0
    assert deliveries(database) == [("ops", "sent", 2)]
    with database.read() as session:
        row = session.query(Delivery).one()
        assert (row.sent_at, row.error) == (later(11), None)


def test_what_is_never_taken_is_given_up_after_a_day(database, hook):
    hook.status = 500
    with database.write() as session:
        fire(session)
    send_news(database, [channel(hook)], NOW)
    send_news(database, [channel(hook)], later(25 * 3600))
    assert [status for _, status, _ in deliveries(database)] == ["failed"]
    with database.read() as session:
        assert "secret-path" not in session.query(Delivery).one().error


def silence(session, until_s=600):
    session.add(
        Silence(
            matchers=(Matcher(name="type", value="process_exit"),),
            starts_at=NOW,
            ends_at=later(until_s),
            created_by="ann",
            comment="x",
            who="operator",
        )
    )


def test_silenced_alert_that_still_fires_is_told_when_the_silence_ends(database, hook):
    with database.write() as session:
        silence(session)
        fire(session)
    assert send_news(database, [channel(hook)], later(1)) == 0
    assert send_news(database, [channel(hook)], later(601)) == 1


def test_silenced_alert_that_ends_meanwhile_is_never_told(database, hook):
    with database.write() as session:
        silence(session)
        alert = fire(session)
    send_news(database, [channel(hook)], later(1))
    with database.write() as session:
        end_alert(session, session.get_one(Alert, alert.id), later(2))
    for seconds in (3, 601, 700):
        send_news(database, [channel(hook)], later(seconds))
    assert hook.messages == []


def test_much_that_is_silenced_holds_up_nothing_else(database, hook):
    with database.write() as session:
        silence(session)
        for number in range(1, 601):
            fire(session, number)
        other = fire(session, 601, level="warning")
        session.query(Silence).one().matchers = (Matcher(name="level", value="critical"),)
    titles = []
    for seconds in (0, 1, 2):
        send_news(database, [channel(hook)], later(seconds))
        titles.append(list(hook.titles))
    assert titles[-1] == [other.title], "the first look takes 500, the second one the rest"
    with database.read() as session:
        assert not is_anything_due(session, later(3)), (
            "what is silenced costs nothing until it is looked at again"
        )
    with database.write() as session:
        session.query(Silence).delete()
    for seconds in (20, 40, 60):
        send_news(database, [channel(hook)], later(seconds))
    assert sum(int(one.split(" ")[0]) for one in hook.titles[1:]) == 600


def test_what_a_channel_that_is_gone_had_waiting_is_given_up_after_a_day(database, hook):
    hook.status = 500
    with database.write() as session:
        fire(session)
    send_news(database, [channel(hook)], NOW)
    send_news(database, [], NOW + timedelta(hours=23))
    assert [status for _, status, _ in deliveries(database)] == ["waiting"]
    send_news(database, [], NOW + timedelta(hours=25))
    assert [status for _, status, _ in deliveries(database)] == ["failed"]
    hook.status = 200
    send_news(database, [channel(hook)], NOW + timedelta(hours=26))
    assert hook.messages == []


def test_channel_whose_block_cannot_be_read_keeps_nothing_from_the_others(database, hook, tmp_path):
    path = tmp_path / "notify.toml"
    path.write_text(
        f'[[channel]]\nname = "ops"\nurl = "{hook.url}"\n[[channel]]\nname = "boss"\nurl_block = "no-such"\n'
    )
    path.chmod(0o600)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        channels = load_channels({"HOIST_NOTIFY_FILE": str(path)})
        assert [one.url for one in channels] == [hook.url, None], "a block is read as a message leaves"
        with database.write() as session:
            alert = fire(session)
        send_news(database, channels, NOW)
    assert hook.titles == [alert.title]
    assert deliveries(database) == [("ops", "sent", 1), ("boss", "waiting", 1)]
    with database.read() as session:
        errors = [row.error for row in session.query(Delivery).order_by(Delivery.id)]
        assert errors[0] is None
        assert errors[1].startswith("cannot read the Prefect block secret/no-such")


def test_served_api_sends_by_itself_and_a_restarted_one_does_not_repeat(
    database, hook, tmp_path, monkeypatch
):
    path = tmp_path / "notify.toml"
    path.write_text(f'[[channel]]\nname = "ops"\nurl = "{hook.url}"\n')
    path.chmod(0o600)
    monkeypatch.setenv("HOIST_NOTIFY_FILE", str(path))
    given = lambda: [one for one in deliveries(database) if one[0] == "ops"]  # Prefect's are none of it
    sent = ("ops", "sent", 1)
    with database.write() as session:
        first = fire(session, at=datetime.now(UTC))
    with serve_api(database):
        wait_until(lambda: given() == [sent])
    with database.write() as session:
        long_ago = datetime.now(UTC) - timedelta(hours=1)  # what would leave once more is due at once
        session.execute(update(Delivery).values(next_at=long_ago, sent_at=long_ago))
        second = fire(session, 2, at=datetime.now(UTC))
    with serve_api(database):
        wait_until(lambda: len(hook.messages) > 1)
        assert hook.titles == [first.title, second.title]
        wait_until(lambda: given() == [sent, sent])


def test_many_senders_at_once_send_each_piece_once(database, hook):
    """The release API and the flow `watch`, several of each."""
    with database.write() as session:
        ids = [fire(session, number).id for number in range(1, 41)]
    with database.write() as session:
        for alert_id in ids[:20]:
            end_alert(session, session.get_one(Alert, alert_id), later(1))
    channels = [Channel(ChannelConfig(name=f"c{number}", url=hook.url), hook.url) for number in range(3)]
    begin = threading.Barrier(8)

    def work():
        begin.wait()
        for seconds in (2, 40, 80, 120):
            send_news(database, channels, later(seconds))

    senders = [threading.Thread(target=work) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(120)
    send_news(database, channels, later(200))  # what a sender that lagged behind routed last
    assert deliveries(database).count(("c0", "sent", 1)) == 60
    assert set(deliveries(database)) == {(f"c{number}", "sent", 1) for number in range(3)}
    told = sum(int(title.split(" ")[0]) if " messages: " in title else 1 for title in hook.titles)
    assert told == 180


def test_channel_takes_its_url_from_the_environment(hook, tmp_path):
    path = tmp_path / "notify.toml"
    path.write_text(
        '[[channel]]\nname = "ops"\nurl_env = "OPS_URL"\nlevels = ["critical"]\nprojects = ["shop"]\n'
    )
    path.chmod(0o600)
    [found] = load_channels({"HOIST_NOTIFY_FILE": str(path), "OPS_URL": hook.url})
    assert found.wants("firing", "critical", "shop")
    assert not found.wants("firing", "critical", "other")
    assert not found.wants("firing", "info", "shop")
    assert hook.url not in repr(found)
    assert load_channels({}) == ()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("[[channel", 0o600, "no TOML"),
        ('[[channel]]\nname = "a"\n', 0o600, "give one of"),
        ('[[channel]]\nname = "a"\nurl = "nonsense://secret"\n', 0o600, "apprise"),
        ('[[channel]]\nname = "a"\nurl = "mailto://user:secret@/"\n', 0o600, "apprise"),
        ('[[channel]]\nname = "a"\nurl = "tgram://123456:secret@@/"\n', 0o600, "apprise"),
        ('[[channel]]\nname = "a"\nurl = "json://h/secret"\nlevels = ["loud"]\n', 0o600, "levels"),
        ('[[channel]]\nname = "a"\nurl = "json://h/secret"\n' * 2, 0o600, "one name"),
        ('[[channel]]\nname = "prefect events"\nurl = "json://h/secret"\n', 0o600, "Prefect's"),
        ('[[channel]]\nname = "a"\nurl = "json://h/secret"\n', 0o644, "chmod 600"),
    ],
)
def test_bad_file_is_one_line_without_a_url(tmp_path, caplog, text, mode, said):
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "notify.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(PermanentTaskError) as refused:
        load_channels({"HOIST_NOTIFY_FILE": str(path)})
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "secret" not in caplog.text
    assert "\n" not in str(refused.value)
