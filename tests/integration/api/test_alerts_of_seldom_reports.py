"""Containers and pods that are reported seldom are judged as those that are reported often, on both databases."""

from datetime import timedelta

import pytest

from agent.wire.containers import ContainerInfo
from agent.wire.pods import PodInfo
from agent.wire.processes import ProcessConfig
from db.documents.container_config import ContainerConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.models import Alert
from tasks.alerting.containers import ContainersSeen, judge_containers
from tasks.alerting.pods import PodsSeen, judge_pods
from tasks.decisions.pod_reports import Coverage
from tests.builders import (
    NOW,
    create_container_project,
    create_container_version,
    create_environment,
    create_installation,
    create_target,
)

SELDOM_S = 300


@pytest.fixture(autouse=True)
def installed(database):
    """Boxes on web-01, reported every five minutes; what is high or not ready for ten is an alert."""
    configs = {
        "container_config": ContainerConfig(alert_on_high_cpu=50, alert_for_s=2 * SELDOM_S),
        "kubernetes_config": ProjectKubernetes(namespace="boxes", alert_for_s=2 * SELDOM_S),
    }
    with database.write() as session:
        project = create_container_project(session, "boxes", **configs)
        create_container_version(session, project, process_config=ProcessConfig(collect_interval=SELDOM_S))
        create_installation(session, create_target(session, create_environment(session, project), "web-01"))


def judge_busy(session, at):
    busy = ContainerInfo(
        container_id="a",
        container_name="boxes-1",
        image="boxes:1.4",
        status="Up",
        state="running",
        created_at=NOW,
        cpu_percent=99.0,
    )
    judge_containers(session, [ContainersSeen("web-01", [busy], at, at)])


def judge_waiting(session, at):
    waits = PodInfo(uid="u1", name="boxes-1", namespace="boxes", phase="Pending", ready=False)
    judge_pods(session, [PodsSeen("web-01", Coverage(), [waits], at, at)])


@pytest.mark.parametrize(
    ("judge", "type_"), [(judge_busy, "container_cpu_high"), (judge_waiting, "pod_not_ready")]
)
def test_what_lasts_over_reports_that_come_seldom_fires(database, judge, type_):
    held = []
    for number in range(3):
        with database.write() as session:
            judge(session, NOW + timedelta(seconds=number * SELDOM_S))
            [alert] = session.query(Alert).filter_by(type=type_)
            held.append((alert.since, alert.fired_at is not None))
    assert held == [(NOW, False), (NOW, False), (NOW, True)]


@pytest.mark.parametrize("judge", [judge_busy, judge_waiting])
def test_nobody_knows_what_was_when_three_reports_were_missed(database, judge):
    later = NOW + timedelta(seconds=3 * SELDOM_S + 1)
    for at in (NOW, later):
        with database.write() as session:
            judge(session, at)
            [alert] = session.query(Alert)
            assert (alert.since, alert.fired_at) == (at, None)
