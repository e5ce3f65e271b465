"""The spool is emptied in order, and one project's trouble is not another's."""

from datetime import UTC, datetime

import pytest

from agent.monitors.delivery import Delivery
from agent.monitors.errors import TransientReportError
from agent.monitors.sending import ReportSender
from agent.monitors.spool import Spool
from tests.report_receiver import api

__all__ = ["api"]


class RefusingSender:
    """Takes every report except those of the projects that it is told to refuse, and remembers the order."""

    def __init__(self, refused: bytes, of_its_project: bool) -> None:
        self.refused, self.of_its_project, self.sent = refused, of_its_project, list[bytes]()

    async def send(self, stream: str, body: bytes) -> None:
        if body.startswith(self.refused):
            raise TransientReportError("not now", of_its_project=self.of_its_project)
        self.sent.append(body)

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
    with pytest.raises(TransientReportError):
        await Delivery(spool, sender).flush()
    assert sender.sent == [b"shop-1", b"shop-2"]
    assert (spool.count("api"), spool.count("shop")) == (2, 0)

    sender.refused = b"nothing"
    await Delivery(spool, sender).flush()
    assert sender.sent[2:] == [b"api-1", b"api-2"]


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
