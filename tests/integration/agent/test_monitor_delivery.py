"""The spool is emptied in order, and one project's trouble is not another's."""

import asyncio
import contextlib
import logging
import os
import random
from datetime import UTC, datetime, timedelta

import pytest

from agent.monitors.delivery import IN_ORDER_UP_TO, REFUSED_KEPT, Delivery
from agent.monitors.errors import PermanentReportError, ReportError, TransientReportError
from agent.monitors.sending import ReportSender
from agent.monitors.spool import Spool
from tests.report_receiver import api, problem
from tests.simulated_time import simulate

__all__ = ["api"]

HOUR_S = 3600.0
NOT_THE_API = (b"", b"<html>nothing here</html>", b'{"detail": "Method Not Allowed"}', b"[1]")
"""What a proxy, a static site or another application answers."""


class RefusingSender:
    """Takes every report except those of the projects that it is told to refuse, and remembers the order."""

    def __init__(self, refused: bytes, of_its_project: bool) -> None:
        self.refused, self.of_its_project, self.sent = refused, of_its_project, list[bytes]()
        self.sent_at, self.attempts_at = dict[bytes, float](), list[float]()

    async def send(self, stream: str, body: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if self.refused and body.startswith(self.refused):
            self.attempts_at.append(now)
            raise TransientReportError("not now", of_its_project=self.of_its_project)
        self.sent.append(body)
        self.sent_at[body] = now

    async def aclose(self) -> None:
        pass


def _spool(tmp_path) -> Spool:
    spool = Spool(tmp_path)
    for body in (b"api-1", b"shop-1", b"api-2", b"shop-2"):
        spool.append(body.partition(b"-")[0].decode(), body)
    return spool


async def test_project_that_is_not_known_keeps_no_other_waiting(tmp_path):
    spool = _spool(tmp_path)
    sender = RefusingSender(b"api", of_its_project=True)
    await Delivery(spool, sender).flush()
    assert sender.sent == [b"shop-1", b"shop-2"]
    assert (spool.count("api"), spool.count("shop")) == (2, 0)

    sender.refused = b""
    await Delivery(spool, sender).flush()
    assert sender.sent[2:] == [b"api-1", b"api-2"]


@contextlib.asynccontextmanager
async def _running(delivery):
    task = asyncio.create_task(delivery.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _news_of_another_while_one_is_refused(spool, sender):
    delivery, clock = Delivery(spool, sender, random.Random(7).uniform), asyncio.get_running_loop().time
    made_at = {}
    async with _running(delivery):
        for number in range(60):
            await asyncio.sleep(61.7)
            body = f"blog-{number}".encode()
            spool.append("blog", body)
            delivery.wake()
            made_at[body] = clock()
        await asyncio.sleep(HOUR_S)
    return made_at


def test_news_of_others_leaves_at_once_while_a_project_is_refused_for_hours(tmp_path):
    spool, sender = _spool(tmp_path), RefusingSender(b"api", of_its_project=True)
    made_at = simulate(_news_of_another_while_one_is_refused(spool, sender))
    waited = [sender.sent_at[body] - at for body, at in made_at.items()]
    assert len(waited) == 60
    assert max(waited) < 1
    assert spool.count("api") == 2
    # The refused one rests for a time of its own, which neither news nor what got through makes shorter.
    assert 2 * HOUR_S / 60 < len(sender.attempts_at) < 2 * HOUR_S / 20


@pytest.mark.parametrize("is_known_refused", [False, True], ids=["found refused now", "tried again"])
async def test_what_waits_for_a_refused_project_does_not_turn_the_order_of_others_around(
    tmp_path, is_known_refused
):
    spool, sender = Spool(tmp_path), RefusingSender(b"api", of_its_project=True)
    delivery = Delivery(spool, sender, lambda _low, _high: 0.0)
    spool.append("api", b"api-0")
    if is_known_refused:
        await delivery.flush()
    for number in range(IN_ORDER_UP_TO):
        spool.append("api", b"api-%d" % (number + 1))
    wanted = [b"shop-%d" % number for number in range(3)]
    for body in wanted:
        spool.append("shop", body)
    await delivery.flush()
    assert sender.sent == wanted


async def _refused_until(spool, sender, refused_s):
    async with _running(Delivery(spool, sender, random.Random(7).uniform)):
        await asyncio.sleep(refused_s)
        sender.refused = b""
        await asyncio.sleep(60)


def test_project_that_is_accepted_again_is_tried_within_a_minute_though_nothing_new_comes(tmp_path):
    spool, sender = _spool(tmp_path), RefusingSender(b"api", of_its_project=True)
    simulate(_refused_until(spool, sender, HOUR_S))
    assert sender.sent[2:] == [b"api-1", b"api-2"]
    assert len(spool) == 0


async def test_command_tries_its_stream_at_once_and_is_told_why_it_waits(tmp_path):
    spool, sender = Spool(tmp_path), RefusingSender(b"api", of_its_project=True)
    delivery = Delivery(spool, sender, lambda _low, high: high)
    assert await delivery.deliver(spool.append("api", b"api-1")) == "not now"
    assert (delivery.why_refused(["api"]), delivery.why_refused(["shop"])) == ("not now", None)
    assert delivery.last_error is None  # nothing is wrong with the others
    await delivery.flush()
    assert len(sender.attempts_at) == 1  # it rests
    sender.refused = b""
    assert await delivery.deliver(spool.append("api", b"api-2")) is None
    assert sender.sent == [b"api-1", b"api-2"]
    assert delivery.why_refused(["api"]) is None


def _age(folder, stream, by):
    """Make the oldest report of the stream that is not as old by that much older."""
    limit = datetime.now(UTC).timestamp() - 60
    path = next(one for one in sorted(folder.glob(f"*.{stream}.json")) if one.stat().st_mtime > limit)
    then = (datetime.now(UTC) - by).timestamp()
    os.utime(path, (then, then))


async def test_refused_report_is_kept_for_a_day_over_restarts_and_then_counted(tmp_path, caplog):
    _spool(tmp_path)
    sender, folder = RefusingSender(b"api", of_its_project=True), tmp_path / "spool"
    _age(folder, "api", REFUSED_KEPT - timedelta(minutes=1))
    spool = Spool(tmp_path)
    await Delivery(spool, sender).flush()
    assert (spool.count("api"), spool.dropped("api")) == (2, 0)

    for path in folder.glob("*.api.json"):
        os.utime(path)
    _age(folder, "api", REFUSED_KEPT + timedelta(minutes=1))
    spool = Spool(tmp_path)
    delivery = Delivery(spool, sender, lambda low, _high: low)
    with caplog.at_level(logging.ERROR):
        await delivery.flush()
        assert (spool.count("api"), spool.dropped("api")) == (1, 1)
        _age(folder, "api", REFUSED_KEPT + timedelta(minutes=1))
        await delivery.flush()
    assert (spool.count("api"), spool.dropped("api"), Spool(tmp_path).dropped("api")) == (0, 2, 2)
    assert list(folder.iterdir()) == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "dropping reports of api over 24 h old: not now"
    ]
    assert [delivery.refusal(number) for number in (1, 2, 3)] == ["not now", None, "not now"]


async def test_what_waits_for_a_release_api_that_is_away_gets_as_old_as_it_may(tmp_path):
    spool = _spool(tmp_path)
    _age(tmp_path / "spool", "api", 10 * REFUSED_KEPT)
    with pytest.raises(TransientReportError):
        await Delivery(spool, RefusingSender(b"api", of_its_project=False)).flush()
    assert (len(spool), spool.dropped("api")) == (4, 0)


async def _error_of(api, status, answer):
    """What a sender raises that is told so."""
    api.status, api.answer = status, answer
    sender = ReportSender(api.url, "token")
    with pytest.raises(ReportError) as caught:
        await sender.send("shop", b"{}")
    await sender.aclose()
    return caught.value


@pytest.mark.parametrize("status", [403, 404])
async def test_only_the_release_api_itself_refuses_a_project(api, status):
    answers = (problem("there is no project shop"), *NOT_THE_API)
    found = [await _error_of(api, status, answer) for answer in answers]
    assert all(isinstance(error, TransientReportError) for error in found), found
    assert [error.of_its_project for error in found] == [True, False, False, False, False]


@pytest.mark.parametrize("status", [400, 405, 409, 410, 413, 422])
async def test_only_the_release_api_itself_refuses_a_report_for_good(api, status):
    assert isinstance(await _error_of(api, status, problem("too bad")), PermanentReportError)
    for answer in NOT_THE_API:
        error = await _error_of(api, status, answer)
        assert isinstance(error, TransientReportError), (answer, error)
        assert error.of_its_project == (status not in (405, 410)), answer  # it may be about this one alone


async def test_name_that_the_release_api_is_yet_to_be_told_of_keeps_everything_waiting(api):
    for answer in (problem("cannot answer for that Host"), *NOT_THE_API):
        error = await _error_of(api, 421, answer)
        assert isinstance(error, TransientReportError), (answer, error)
        assert not error.of_its_project, answer


@pytest.mark.parametrize("status", [400, 405, 410, 413, 421])
async def test_address_that_leads_elsewhere_for_a_while_loses_no_report(api, tmp_path, status):
    spool, sender = Spool(tmp_path), ReportSender(api.url, "token")
    for number in range(4):
        spool.append("shop", b'{"report_id": "%d"}' % number)
    api.status, api.answer = status, b"<html>nothing here</html>"
    delivery = Delivery(spool, sender, lambda _low, _high: 0.0)
    with contextlib.suppress(TransientReportError):
        await delivery.flush()
    assert (len(spool), spool.dropped("shop"), api.reports) == (4, 0, [])
    api.status = 202
    await delivery.flush()
    await sender.aclose()
    assert [report["report_id"] for report in api.reports] == ["0", "1", "2", "3"]


async def test_report_that_is_refused_for_good_is_counted_over_restarts(api, tmp_path):
    spool, sender = Spool(tmp_path), ReportSender(api.url, "token")
    number = spool.append("shop", b"{}")
    spool.append("blog", b"{}")
    api.status, api.answer = 422, problem("too bad")
    delivery = Delivery(spool, sender, lambda _low, _high: 0.0)
    await delivery.flush()
    await sender.aclose()
    assert (len(spool), spool.dropped("shop"), spool.dropped("blog")) == (0, 1, 1)
    assert "422: too bad" in (delivery.refusal(number) or "")
    assert Spool(tmp_path).dropped("shop") == 1


async def test_release_api_that_is_away_keeps_everything_waiting_in_order(tmp_path):
    spool = _spool(tmp_path)
    sender = RefusingSender(b"api", of_its_project=False)
    with pytest.raises(TransientReportError):
        await Delivery(spool, sender).flush()
    assert sender.sent == []
    assert len(spool) == 4


async def test_each_attempt_says_what_its_host_s_clock_shows_then(api):
    clock = [datetime(2001, 1, 1, 0, 0, second, tzinfo=UTC) for second in (9, 7)]
    sender = ReportSender(api.url, "token", now=clock.pop)
    for _ in range(2):
        await sender.send("shop", b"{}")
    await sender.aclose()
    assert api.dates == ["Mon, 01 Jan 2001 00:00:07 GMT", "Mon, 01 Jan 2001 00:00:09 GMT"]
