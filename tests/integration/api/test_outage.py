"""The release API is away for ten minutes of simulated time while a hundred agents report: their own watch, spool and
delivery, and the API's own ingest and judgement, on both databases. What is lost on the way is answers, too.
"""

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from agent.monitors.errors import TransientReportError
from agent.wire.processes import Collected, ProcessConfig, ProcessInfo, ProcessReport, Rule
from api.alerting import judge_process_reports
from api.auth import Principal
from api.ingest.incoming import Incoming
from api.ingest.writing import Ingest
from db.models import Alert, LatestProcessReport, News, ProcessReportRow, Version
from tasks.alerting.changing import apply_time
from tests.builders import create_fleet
from tests.simulated_fleet import BEGAN, disk, monitor, run_fleet, simulated_now
from tests.simulated_time import simulate

__all__ = ["disk"]

AGENTS = 100
INTERVAL_S = 60
AWAY = (120.0, 720.0)
LOSES_ANSWERS = ((110.0, 120.0), (720.0, 735.0))
"""While it goes and while it comes back it takes reports whose answers don't get through."""
END_S = 960.0
RULES = (Rule(type="name", pattern="shop", name="shop"),)


class Host:
    """A collector whose process is replaced, ends or comes back at given times: [(from when, its pid or None)]."""

    def __init__(self, *story):
        self.story = ((0.0, 100), *story)

    async def collect_in_thread(self, rules, *, resources=True, fresh=False):
        now = simulated_now()
        pid = [pid for since, pid in self.story if BEGAN + timedelta(seconds=since) <= now][-1]
        if pid is None:
            return Collected(collected_at=now, unmatched_rules=("shop",))
        said = {"pid": pid, "start_ticks": 7, "name": "shop", "status": "sleeping", "matched_by": "shop"}
        process = ProcessInfo.model_validate({**said, "is_root": True, "start_time": BEGAN})
        return Collected(collected_at=now, processes=(process,))


class Api:
    """The API's ingest behind a connection that is away for a while, and loses answers before and after."""

    def __init__(self, ingest):
        self.ingest, self.arrived, self.answers_lost, self.duplicates = ingest, defaultdict(list), 0, 0

    def sender(self):
        return self

    async def send(self, _stream, body):
        now = simulated_now()
        seconds = (now - BEGAN).total_seconds()
        if AWAY[0] <= seconds < AWAY[1]:
            raise TransientReportError("connection refused")
        report = ProcessReport.model_validate_json(body)
        caller = Principal(f"agent:{report.client_id}", "operator")
        (outcome,) = self.ingest.write_processes([Incoming(report, caller, now)])
        self.duplicates += outcome.duplicate
        if not outcome.duplicate:
            self.arrived[report.client_id].append(report.reported_at)
        every_third = sum(map(len, self.arrived.values())) % 3 == 0
        if every_third and any(since <= seconds < until for since, until in LOSES_ANSWERS):
            self.answers_lost += 1
            raise TransientReportError("the connection broke")

    async def aclose(self):
        pass


@pytest.fixture
def ingest(database):
    made = Ingest(database, timedelta(days=30), judge_process_reports)
    yield made
    made.close()


def test_nothing_is_lost_nothing_is_there_twice_and_only_what_happened_is_an_alert(database, ingest, disk):
    with database.write() as session:
        project, _ = create_fleet(session, {f"web-{number}": "1.4" for number in range(AGENTS)})
        version = session.query(Version).filter_by(version="1.4").one()
        version.process_config = ProcessConfig(rules=RULES, collect_interval=INTERVAL_S)
    stories = {0: Host((300.0, 200)), 1: Host((300.0, None)), 2: Host((200.0, None), (500.0, 200))}
    api = Api(ingest)
    spools = simulate(
        run_fleet(
            api,
            disk,
            [monitor(project.id, INTERVAL_S, rules=RULES) for _ in range(AGENTS)],
            end_s=END_S,
            collectors=[stories.get(number, Host()) for number in range(AGENTS)],
        )
    )
    assert sum(len(spool) for spool in spools) == 0
    print(f"{sum(map(len, api.arrived.values()))} reports, {api.answers_lost} answers lost")
    assert api.answers_lost >= 20
    assert api.duplicates == api.answers_lost, "sent once more, and known"
    with database.read() as session:
        kept = defaultdict(list)
        rows = session.execute(select(ProcessReportRow.client_id, ProcessReportRow.reported_at))
        for client_id, reported_at in rows:
            kept[client_id].append(reported_at)
        newest = dict(
            session.execute(select(LatestProcessReport.client_id, LatestProcessReport.reported_at))
            .tuples()
            .all()
        )
    assert len(kept) == AGENTS
    for client_id, times in kept.items():
        assert api.arrived[client_id] == sorted(times), "each once, in the order in which they were made"
        gaps = [(after - before).total_seconds() for before, after in pairwise(sorted(times))]
        assert max(gaps) == pytest.approx(INTERVAL_S, abs=1), "none is missing"
        assert newest[client_id] == max(times)
    with database.write() as session:
        apply_time(session, BEGAN + timedelta(seconds=END_S))
    with database.read() as session:
        alerts = session.execute(select(Alert.client_id, Alert.type)).tuples().all()
        told = Counter(session.execute(select(News.client_id, News.event)).tuples().all())
    assert sorted(alerts) == [
        ("web-0", "process_restart"),
        ("web-1", "process_exit"),
        ("web-2", "process_restart"),
    ]
    # A restart's alert is over five minutes later; an exit's is not.
    firing = {(f"web-{number}", "firing"): 1 for number in range(3)}
    assert told == {**firing, ("web-0", "resolved"): 1, ("web-2", "resolved"): 1}
