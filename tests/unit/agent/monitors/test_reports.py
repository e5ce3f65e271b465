from datetime import UTC, datetime

from agent.monitors.reports import (
    MAX_REPORT_BYTES,
    encode_container_report,
    encode_report,
    make_container_report,
    make_report,
)
from agent.wire.containers import CollectedContainers, ContainerInfo, ContainerReport
from agent.wire.processes import Collected, ProcessInfo, ProcessReport

AT = datetime(2026, 1, 1, tzinfo=UTC)


def report(count=1, cmdline="app"):
    info = ProcessInfo(pid=7, name="app", cmdline=cmdline, start_time=AT, status="sleeping", matched_by="r")
    return make_report(
        Collected(processes=(info,) * count, unmatched_rules=("gone",)),
        client_id="web-01",
        project_id="shop",
        version="1.0",
        release_id="task",
        observed_version="1.0",
        at=AT,
    )


def test_report_carries_what_was_collected_and_an_id_of_its_own():
    one, two = report(), report()
    assert one.report_id != two.report_id
    assert (one.unmatched_rules, one.reported_at, len(one.processes)) == (("gone",), AT, 1)
    assert ProcessReport.model_validate_json(encode_report(one)) == one


def test_too_large_report_loses_command_lines_first_and_processes_last():
    large = report(100, "x" * 4000)
    shortened = ProcessReport.model_validate_json(encode_report(large, limit=100_000))
    assert (len(shortened.processes), len(shortened.processes[0].cmdline)) == (100, 200)
    cut = encode_report(large, limit=10_000)
    assert len(cut) <= 10_000
    assert 0 < len(ProcessReport.model_validate_json(cut).processes) < 100


def containers(count: int) -> tuple[ContainerInfo, ...]:
    """Every second one runs; with the longest texts that the wire allows."""
    return tuple(
        ContainerInfo(
            container_id=f"{number:064x}",
            container_name="n" * 200 + str(number),
            image="i" * 500,
            status="s" * 200,
            state="running" if number % 2 else "exited",
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            version="v" * 100,
            project_id="p" * 200,
        )
        for number in range(count)
    )


def container_report(count: int) -> ContainerReport:
    collected = CollectedContainers(docker_version="20", containers=containers(count))
    return make_container_report(collected, client_id="web-1", at=datetime(2026, 1, 1, tzinfo=UTC))


def test_container_report_says_that_the_collection_left_some_out():
    collected = CollectedContainers(docker_version="20", containers=containers(3), truncated=True)
    body = encode_container_report(make_container_report(collected, client_id="web-1", at=AT))
    assert ContainerReport.model_validate_json(body).truncated


def test_container_report_has_everything_where_there_is_room():
    report = container_report(100)
    kept = ContainerReport.model_validate_json(encode_container_report(report))
    assert set(kept.containers) == set(report.containers)
    assert not kept.truncated
    assert (kept.client_id, kept.report_id) == ("web-1", report.report_id)
    assert container_report(1).report_id != report.report_id


def test_too_large_container_report_loses_what_does_not_run_first():
    body = encode_container_report(container_report(8000))
    assert len(body) <= MAX_REPORT_BYTES
    whole = ContainerReport.model_validate_json(body)
    kept = whole.containers
    assert whole.truncated
    assert len(kept) > 3000
    assert sum(one.state == "running" for one in kept) == min(len(kept), 4000)
