from datetime import UTC, datetime

from agent.monitors.reports import encode_report, make_report
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
