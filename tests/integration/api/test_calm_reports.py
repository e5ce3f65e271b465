"""Reports that say what the one before them said are not judged anew, and nothing is otherwise for that."""

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire.processes import ProcessConfig, ProcessReport, Rule
from api.alerting import judge_process_reports
from api.auth import Principal
from api.ingest.incoming import Incoming
from api.ingest.writing import Ingest
from db.models import Alert, AlertMemory, Installation, Version
from db.session import open_database
from tasks.alerting import processes
from tests.builders import create_fleet

T0 = datetime(2030, 1, 1, tzinfo=UTC)
CALLER = Principal("operator", "operator")
RULES = tuple(Rule(type="name", pattern=name, name=name) for name in ("shop", "queue"))
CONFIGS = (
    ProcessConfig(rules=RULES, alert_on_high_cpu=50, alert_on_high_mem=50, alert_for_s=0),
    ProcessConfig(rules=RULES[:1]),
    ProcessConfig(rules=RULES, alert_on_exit=False, alert_on_high_cpu=50, alert_for_s=60),
)


def judge_all(session, accepted):
    """As without the shortcut: nothing is known of what a report said."""
    judge_process_reports(session, [one._replace(said=None) for one in accepted])


@contextmanager
def fleet(judge, template):
    with TemporaryDirectory() as folder:
        shutil.copy(template, f"{folder}/hoist.db")
        database = open_database(f"sqlite:///{folder}/hoist.db")
        with database.write() as session:
            project, _ = create_fleet(session, {"web-1": "1.4"})
        ingest = Ingest(database, timedelta(days=30), judge)
        yield database, ingest, project.id
        ingest.close()
        database.close()


def process(pid, **fields):
    rule = "queue" if pid > 200 else "shop"
    return {
        "pid": pid,
        "name": rule,
        "matched_by": rule,
        "status": "sleeping",
        "start_ticks": pid * 7,
        "start_time": T0.isoformat(),
        **fields,
    }


def report(project_id, processes, at, **fields):
    said = {"version": "1.4", "unmatched_rules": (), **fields}
    return ProcessReport.model_validate(
        {
            "client_id": "web-1",
            "project_id": project_id,
            "processes": processes,
            "reported_at": at.isoformat(),
            "report_id": f"r-{at.timestamp()}",
            **{name: value for name, value in said.items() if value is not None},
        }
    )


def send(fleet, made, at):
    (outcome,) = fleet[1].write_processes([Incoming(made, CALLER, at)])
    assert not outcome.duplicate


def change(fleet, config, version):
    with fleet[0].write() as session:
        session.query(Version).filter_by(version="1.4").one().process_config = config
        session.query(Installation).one().version = version


def state(fleet):
    """Every alert but for its id, and what is remembered."""
    own = {"id", "fingerprint", "project_id", "created_at", "updated_at"}
    with fleet[0].read() as session:
        alerts = [
            {name: value for name, value in vars(one).items() if name[0] != "_" and name not in own}
            for one in session.query(Alert).order_by(Alert.type, Alert.subject, Alert.since)
        ]
        return alerts, [one.document for one in session.query(AlertMemory)]


PROCESS = st.builds(
    process,
    st.sampled_from([100, 101, 201]),
    cpu_percent=st.sampled_from([5.0, 5.0, 5.0, 99.0, None]),
    memory_pct=st.sampled_from([5.0, 5.0, 5.0, 99.0, None]),
    status=st.sampled_from(["sleeping", "running", "sleeping", "zombie"]),
)
SEEN = st.fixed_dictionaries(
    {
        "processes": st.lists(PROCESS, max_size=3, unique_by=lambda one: one["pid"]),
        "release_id": st.sampled_from([None, None, "r1"]),
        "version": st.sampled_from(["1.4", "1.4", "1.5"]),
        "unmatched_rules": st.sampled_from([(), ("queue",), ("shop", "queue"), None]),
        "gap_s": st.sampled_from([1, 30, 60, 400]),
        "times": st.integers(1, 3),
        "config": st.sampled_from([None, None, *CONFIGS]),
        "installed": st.sampled_from(["1.4", "1.4", "1.5"]),
    }
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(SEEN, min_size=2, max_size=4))
def test_alerts_and_memory_are_those_of_reports_that_are_all_judged(sqlite_template, steps):
    with fleet(judge_process_reports, sqlite_template) as one, fleet(judge_all, sqlite_template) as other:
        at = T0
        for both in (one, other):
            change(both, CONFIGS[0], "1.4")
        for step in steps:
            for both in (one, other):
                if step["config"] is not None:
                    change(both, step["config"], step["installed"])
            for _ in range(step["times"]):
                at += timedelta(seconds=step["gap_s"])
                said = {name: step[name] for name in ("release_id", "version", "unmatched_rules")}
                for both in (one, other):
                    send(both, report(both[2], step["processes"], at, **said), at)
                assert state(one) == state(other)


LOUD = pytest.mark.parametrize(
    "other",
    [
        {"processes": [process(100, cpu_percent=99.0)]},
        {"processes": [process(100, memory_pct=99.0)]},
        {"processes": [process(100, status="zombie")]},
        {"processes": [process(102)]},
        {"processes": []},
        {"release_id": "r2"},
        {"version": "1.5"},
        {"unmatched_rules": ("queue",)},
        {"unmatched_rules": None},
    ],
    ids=str,
)


@pytest.fixture
def calm(sqlite_template):
    """A fleet whose client has said the same three times, and a count of the reports that were judged since."""
    with fleet(judge_process_reports, sqlite_template) as made:
        change(made, ProcessConfig(rules=RULES[:1], alert_on_high_cpu=50, alert_on_high_mem=50), "1.4")
        for number in range(3):
            at = T0 + timedelta(minutes=number)
            send(made, report(made[2], [process(100, cpu_percent=number)], at), at)
        judged = []
        observe = processes.observe_processes

        def observed(*arguments, **options):
            judged.append(arguments)
            return observe(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "observe_processes", observed)
            yield made, judged


AGAIN = T0 + timedelta(minutes=5)


def test_same_report_with_other_moderate_figures_is_not_judged(calm):
    made, judged = calm
    send(made, report(made[2], [process(100, cpu_percent=49.0, memory_pct=49.0)], AGAIN), AGAIN)
    assert judged == []


@LOUD
def test_report_that_says_anything_else_is_judged(calm, other):
    made, judged = calm
    send(made, report(made[2], **{"processes": [process(100)], "at": AGAIN, **other}), AGAIN)
    assert len(judged) == 1


def test_same_report_is_judged_by_another_config(calm):
    made, judged = calm
    change(made, CONFIGS[2], "1.4")
    send(made, report(made[2], [process(100)], AGAIN), AGAIN)
    assert len(judged) == 1


def test_same_report_is_judged_while_an_alert_lives(calm):
    made, judged = calm
    send(made, report(made[2], [process(100, cpu_percent=99.0)], AGAIN), AGAIN)
    later = AGAIN + timedelta(minutes=1)
    send(made, report(made[2], [process(100)], later), later)
    assert len(judged) == 2


def test_what_was_not_judged_for_its_version_is_once_that_is_installed(calm):
    made, _ = calm
    with made[0].write() as session:
        for version in session.query(Version):
            version.process_config = CONFIGS[1]
        session.query(Installation).one().version = "1.5"
    for number in range(4):
        at = AGAIN + timedelta(minutes=number)
        if number == 3:
            with made[0].write() as session:
                assert session.query(Alert).count() == 0
                session.query(Installation).one().version = "1.4"
        send(made, report(made[2], [], at, unmatched_rules=("shop",)), at)
    with made[0].read() as session:
        assert [alert.type for alert in session.query(Alert)] == ["process_exit"]


def test_what_was_lost_is_forgotten_in_time_though_the_reports_say_the_same(calm):
    made, _ = calm
    both = [process(100), process(101)]
    for seconds, there in ((0, both), (60, both[:1]), (90, both[:1]), (120, both[:1]), (300, both[:1])):
        at = AGAIN + timedelta(seconds=seconds)
        send(made, report(made[2], there, at), at)
        assert ("lost" in state(made)[1][0]) is (0 < seconds < 300)


def test_zombie_of_the_report_before_is_no_reason_to_pass_over_the_next(sqlite_template):
    steps = ({"status": "zombie"}, {"status": "zombie"}, {}, None)
    found = []
    for judge in (judge_process_reports, judge_all):
        with fleet(judge, sqlite_template) as made:
            change(made, ProcessConfig(rules=RULES[:1]), "1.4")
            for number, fields in enumerate(steps):
                at = AGAIN + timedelta(seconds=10 * number)
                first = process(102) if fields is None else process(100, **fields)
                send(made, report(made[2], [first, process(101)], at), at)
            found.append(state(made))
    assert found[0] == found[1]
    assert [one["type"] for one in found[0][0]] == ["process_restart"]
