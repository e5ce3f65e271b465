"""Two API processes are told of the same alerts at the same moment, by reports of two selections that share a pod."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError

from agent.wire.pods import PodReport
from api.alerting import judge_pod_reports
from api.auth import Principal
from api.ingest.batches import Batches
from api.ingest.incoming import Incoming
from api.ingest.writing import Ingest
from db.documents.kubernetes_config import ProjectKubernetes
from db.errors import RacedError
from db.models import Alert, News, PodReportRow, Project
from db.session import open_database
from tests.builders import create_fleet

OPERATOR = Principal("operator", "operator")
MONTH = timedelta(days=30)
PATIENCE_S = 60
FAILED = {"name": "shop-1", "namespace": "shop", "uid": "uid-1", "phase": "Failed", "ready": False}
SELECTIONS = [{"namespace": "shop"}, {"namespace": "shop", "label_selector": "app=shop"}]


def report(**selection):
    at = datetime.now(UTC)
    said = {"client_id": "c0", "pods": [{**FAILED, "restart_count": 0}], "reported_at": at, **selection}
    return Incoming(PodReport.model_validate(said), OPERATOR, at)


class MeetingJudge:
    """Judges as the API does; the first time what it found is written once both writers have found theirs."""

    def __init__(self, meet: threading.Barrier) -> None:
        self.meet, self.judged = meet, 0

    def __call__(self, session, accepted):
        self.judged += 1
        if self.judged == 1:
            event.listen(session, "before_flush", lambda *_: self.meet.wait(PATIENCE_S), once=True)
        judge_pod_reports(session, accepted)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_same_alerts_by_two_processes_at_once_fire_once_and_refuse_no_report(database, database_url):
    with database.write() as session:
        create_fleet(session, {"c0": "1.4"})
        config = ProjectKubernetes(namespace="shop", deployment="shop", alert_for_s=0)
        session.query(Project).filter_by(name="shop").one().kubernetes_config = config
    meet = threading.Barrier(2)

    def write(selection):
        mine, judge = open_database(database_url), MeetingJudge(meet)
        ingest = Ingest(mine, MONTH, judge_pods=judge)
        try:
            return asyncio.run(ingest.put(report(**selection), 1)), judge.judged
        finally:
            ingest.close()
            mine.close()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(write, SELECTIONS))
    assert sorted(judged for _, judged in found) == [1, 2], "one of them was raced, and did it over"
    assert all(accepted.newest for accepted, _ in found), found
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(PodReportRow)) == 2
        assert sorted(session.scalars(select(Alert.type))) == ["pod_failed", "pod_not_ready"]
        assert session.scalar(select(func.count()).select_from(News)) == 2, "each is told once"


@pytest.mark.parametrize(
    "index, expected", [("uq_alerts_live", RacedError), ("uq_something_else", IntegrityError)]
)
async def test_who_is_raced_twice_is_told_to_ask_again(index, expected):
    def write(_items):
        raise IntegrityError("INSERT", {}, Exception(f'duplicate key value violates "{index}"'))

    batches = Batches(write, "test")
    with pytest.raises(expected):
        await batches.put("report", 1)
    batches.close()
