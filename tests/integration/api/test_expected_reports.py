"""Which reports /metrics waits for, on both databases: those that installed versions bring, at their own intervals."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from agent.wire.processes import ProcessConfig, Rule
from agent.wire.releases import VersionProbe
from api.metrics.fleet import FleetMetrics
from db.documents.evidence import EvidenceConfig
from db.documents.kubernetes_config import ProjectKubernetes
from db.history.pod_selections import selection_key
from db.models import (
    LatestContainerReport,
    LatestPodReport,
    LatestProcessReport,
    ProcessSet,
)
from tests.builders import (
    NOW,
    create_container_project,
    create_container_version,
    create_environment,
    create_installation,
    create_project,
    create_target,
    create_version,
)
from tests.metrics import samples_of

RULES = (Rule(type="port", pattern="8080", name="http"),)
DAILY = ProcessConfig(collect_interval=86_400)


def install(session, project, *clients, version="1.4", status="installed"):
    environment = create_environment(session, project, f"of-{'-'.join(clients)}")
    for client in clients:
        create_installation(session, create_target(session, environment, client), version, status)


def ago(seconds):
    at = NOW - timedelta(seconds=seconds)
    return {"reported_at": at, "received_at": at}


def report_processes(session, project, client, age_s):
    said = ProcessSet(
        client_id=client,
        project_id=project.id,
        digest=selection_key(client, project.id),
        version="1.4",
        unmatched_rules=[],
        definitions=[],
        last_day=NOW.date(),
    )
    session.add(said)
    session.flush()
    session.add(
        LatestProcessReport(
            project_id=project.id, client_id=client, set_id=said.id, statuses="", **ago(age_s)
        )
    )


def report_containers(session, client, age_s):
    session.add(LatestContainerReport(client_id=client, containers=(), **ago(age_s)))


def report_pods(session, client, age_s, namespace, label_selector=None):
    session.add(
        LatestPodReport(
            client_id=client,
            selection_key=selection_key(namespace, label_selector),
            namespace=namespace,
            label_selector=label_selector,
            truncated=False,
            pods=(),
            **ago(age_s),
        )
    )


def create_kubernetes_project(session, name="web", **config):
    kubernetes = ProjectKubernetes(**config) if config else None
    project = create_project(session, name, type="kubernetes", kubernetes_config=kubernetes)
    create_container_version(session, project)
    return project


@pytest.fixture
def figures(database):
    """What the gauges say of a kind at NOW: interval, age of the newest, of the oldest, overdue; None: no series."""

    def read(kind):
        registry = CollectorRegistry()
        registry.register(FleetMetrics(database, now=lambda: NOW))
        found = samples_of(generate_latest(registry).decode())
        names = ("report_interval", "newest_report_age", "oldest_report_age", "report_overdue")
        return tuple(found.get((f"hoist_{name}_seconds", kind)) for name in names)

    return read


def test_pods_that_no_project_is_in_are_not_waited_for(database, figures):
    """A project's namespace was changed, and somebody once asked for a report by labels."""
    with database.write() as session:
        install(session, create_kubernetes_project(session, namespace="shop"), "c1", "c2")
        report_pods(session, "c1", 2_000_000, "before")
        report_pods(session, "c1", 1_000_000, "shop", "app=web")
        report_pods(session, "c1", 1_000_000, None)
        report_pods(session, "c1", 50, "shop")
        report_pods(session, "c2", 500, "shop")
    assert figures("pod") == (60, 50, 500, 440)


def test_each_namespace_of_a_client_is_waited_for(database, figures):
    """Where the project doesn't say which it is, it is `default`."""
    with database.write() as session:
        install(session, create_kubernetes_project(session, "shop", namespace="shop"), "c1")
        install(session, create_kubernetes_project(session, "web"), "c1")
        report_pods(session, "c1", 50, "shop")
        report_pods(session, "c1", 4000, "default")
    assert figures("pod") == (60, 50, 4000, 3940)


@pytest.mark.parametrize(
    ("type_", "config", "evidence", "waited_for"),
    [
        ("container", ProcessConfig(rules=RULES), EvidenceConfig(), True),
        ("container", ProcessConfig(), EvidenceConfig(), False),
        ("container", None, None, False),
        (
            "container",
            ProcessConfig(),
            EvidenceConfig(version_probe=VersionProbe(type="file", path="/v")),
            True,
        ),
        ("kubernetes", ProcessConfig(), EvidenceConfig(), False),
        ("script", ProcessConfig(), EvidenceConfig(), True),
        ("script", None, None, True),
    ],
)
def test_processes_that_are_not_looked_for_any_more_are_not_waited_for(
    database, figures, type_, config, evidence, waited_for
):
    """The version before had rules; an agent reports a script's project without any, too."""
    with database.write() as session:
        project = create_project(session, type=type_)
        create_version(session, project, "1.4", process_config=ProcessConfig(rules=RULES))
        create_version(session, project, "1.5", process_config=config, evidence=evidence)
        install(session, project, "c1", version="1.5")
        report_processes(session, project, "c1", 5000)
    assert figures("process") == ((60, 5000, 5000, 4940) if waited_for else (None, None, None, None))


def test_report_is_overdue_by_its_own_interval(database, figures):
    with database.write() as session:
        project = create_project(session)
        create_version(session, project, "1.4", process_config=DAILY)
        create_version(session, project, "1.5", process_config=ProcessConfig(collect_interval=5))
        install(session, project, "c1", version="1.4")
        report_processes(session, project, "c1", 80_000)
    assert figures("process") == (86_400, 80_000, 80_000, 0)
    with database.write() as session:
        install(session, project, "c2", version="1.5")
        report_processes(session, project, "c2", 1000)
    assert figures("process") == (5, 1000, 80_000, 995)


def test_containers_are_due_by_the_shortest_interval_on_their_client(database, figures):
    with database.write() as session:
        boxes, jars = (create_container_project(session, name) for name in ("boxes", "jars"))
        create_container_version(session, boxes, process_config=DAILY)
        create_container_version(session, jars, process_config=ProcessConfig(collect_interval=300))
        install(session, boxes, "c1", "c2")
        install(session, jars, "c1")
        report_containers(session, "c1", 4000)
        report_containers(session, "c2", 80_000)
    assert figures("container") == (300, 4000, 80_000, 3700)


def test_reports_are_expected_where_an_agent_was_told_to_send_them(database, figures):
    """None has come yet; of what failed, or is of a version that nobody registered, no monitor may be there."""
    with database.write() as session:
        project = create_project(session)
        create_version(session, project, "1.4", process_config=DAILY)
        create_version(session, project, "1.5", process_config=ProcessConfig(collect_interval=30))
        install(session, project, "c1", version="1.5", status="failed")
        install(session, project, "c2", version="1.5", status="uninstalled")
        install(session, project, "c3", version="0.9")
    assert figures("process") == (None, None, None, None)
    with database.write() as session:
        install(session, project, "c4", version="1.4")
    assert figures("process") == (86_400, None, None, None)
    with database.write() as session:
        report_processes(session, project, "c1", 5000)  # its monitor stayed as it was
        report_processes(session, project, "c2", 9000)
    assert figures("process") == (86_400, 5000, 5000, 4970)
