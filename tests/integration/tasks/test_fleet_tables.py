"""The fleet's tables of more than they show, on both databases: what is counted is all of it, what is shown the worst."""

from datetime import timedelta

from db.models import Client, utc_now
from tasks.fleet.tables import MAX_ROWS, read_tables
from tests.builders import create_client, make_alert

MANY = 1100


def test_counts_are_true_whatever_the_tables_leave_out(database):
    """A rack of 1,100 is lost, each of which had an older warning; one of them has one alert more than the others."""
    now = utc_now()
    lost = [f"c{number:04}" for number in range(MANY)]
    with database.write() as session:
        session.add_all(
            Client(client_id=name, url="https://c", report_token_sha256=name, online=False) for name in lost
        )
        for age_s, type_, level in ((7200, "drift", "warning"), (60, "client_offline", "critical")):
            at = now - timedelta(seconds=age_s)
            session.add_all(make_alert(type_, level, name, fired_at=at) for name in lost)
        session.add(make_alert("process_exit", "critical", "c1099"))
        session.add(make_alert("process_exit", "critical", "c1098", resolved=True))
        session.add(make_alert("process_exit", "critical", "c1098", fired=False))
    with database.read() as session:
        tables = read_tables(session, now)
    assert tables.summary == "1100 clients: 1100 offline, 0 held; 0 failed installations; 2201 alerts fire"
    assert tables.firing == 2201
    *health, more_clients = tables.health
    assert (health[0]["client"], health[0]["alerts"]) == ("c1099", "2 critical, 1 warning")
    assert {row["alerts"] for row in health[1:]} == {"1 critical, 1 warning"}
    *alerts, more_alerts = tables.alerts
    assert {row["level"] for row in alerts} == {"critical"}
    assert len(health) == len(alerts) == MAX_ROWS
    assert (more_clients["client"], more_alerts["alert"]) == ("and 1000 more", "and 2101 more")
    assert more_clients.keys() == health[0].keys(), "Prefect shows the first row's columns"


def test_tables_of_few_leave_nothing_out(database):
    with database.write() as session:
        create_client(session, "c1", online=True)
        session.add(make_alert("drift", "warning", "c1"))
        nobodys = make_alert("process_exit", "critical")
        nobodys.client_id = None
        session.add(nobodys)
    with database.read() as session:
        tables = read_tables(session, utc_now())
    assert [(row["client"], row["alerts"]) for row in tables.health] == [("c1", "1 warning")]
    assert [(row["level"], row["client"]) for row in tables.alerts] == [("critical", "–"), ("warning", "c1")]
    assert tables.firing == 2
