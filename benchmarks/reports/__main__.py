"""A million reports of 1,000 clients in PostgreSQL: bytes a report, the newest of each client, and dropping a day.

`python -m benchmarks.reports [--reports 1000000]`. Peers, on the same reports: a JSONB row each (DISTINCT ON for the newest,
DELETE and VACUUM for the old), and a JSON row each in SQLite. PostgreSQL is a cluster of its own, durable.
Then what a container and a pod report add to the history, beside a JSONB row each of 20 containers.
"""

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from pydantic_core import to_json

from agent.wire.containers import ContainerInfo
from api.garbage import spare_collections
from benchmarks.ingest.__main__ import cluster, fleet_database, plain
from benchmarks.ingest.fleet import CLIENTS, client_name, make_report
from benchmarks.results import at_most, write_results
from db.history.batches import CONTAINERS, PODS, PROCESSES, Kind, keep_reports
from db.history.copying import copy_rows
from db.history.days import drop_days, make_days
from db.history.process_sets import WantedSet, key_of, put_sets
from db.history.samples import sample_columns
from db.ids import new_id
from db.queries.reports import list_latest_reports
from db.session import Database, open_database
from tests.postgres import PostgresCluster

DROPPED = 100_000
SAMPLE = 20_000
ROUNDS = 7
CONTAINERS_EACH = 20
DAY = date(2026, 1, 1)
AT = datetime(2026, 1, 1, 0, 0, tzinfo=UTC)
TARGETS = {"latest_ms": 50, "bytes_per_report": 400, "drop_ms": 52}


class Reports:
    """Rows of the fleet, a round of all clients a minute."""

    def __init__(self, database: Database, project_id: str) -> None:
        chance = random.Random(7)
        self.project_id = project_id
        self.reports = [make_report(number, project_id, AT, chance) for number in range(CLIENTS)]
        # A few hundred sets of samples are as good as a million: nothing here is compressed.
        self._samples = [sample_columns(make_report(0, project_id, AT, chance).processes) for _ in range(300)]
        wanted = [
            WantedSet(key_of(one, project_id, AT), one, DAY + timedelta(days=30)) for one in self.reports
        ]
        with database.write() as session:
            sets = put_sets(session, wanted)
        self._set_ids = [sets[one.key].id for one in wanted]

    def rows(self, first: int, count: int, day: date) -> list[dict[str, Any]]:
        start = datetime.combine(day, datetime.min.time(), UTC)
        return [
            {
                "set_id": self._set_ids[number % CLIENTS],
                "day": day,
                "client_id": client_name(number % CLIENTS),
                "project_id": self.project_id,
                "report_key": new_id()[:8] + f"-{random.getrandbits(16):04x}-7000-8000-{number:012x}",
                "reported_at": start + timedelta(seconds=60 * (number // CLIENTS % 1440)),
                "received_at": start + timedelta(seconds=60 * (number // CLIENTS % 1440) + 1),
                "dropped_reports": 0,
                **self._samples[number % 300],
            }
            for number in range(first, first + count)
        ]


def fill(database: Database, reports: Reports, total: int) -> None:
    """A tenth a day, so that there are ten days; the newest rows from the last one."""
    per_day = total // 10
    days = [DAY + timedelta(days=number) for number in range(10)]
    make_days(database, days)
    for day in days:
        for first in range(0, per_day, 10_000):
            with database.write() as session:
                copy_rows(session, PROCESSES.history, reports.rows(first, min(10_000, per_day - first), day))
    with database.write() as session:
        keep_reports(session, PROCESSES, reports.rows(per_day - CLIENTS, CLIENTS, days[-1]))


def fill_peer(connection: "psycopg.Connection[Any]", reports: Reports, total: int) -> None:
    documents = [to_json(one.processes, exclude_none=True).decode() for one in reports.reports]
    columns = "client_id, report_id, project_id, version, observed_version, release_id, reported_at, processes, unmatched_rules"
    with connection.cursor() as cursor, cursor.copy(f"COPY peer_reports ({columns}) FROM STDIN") as copy:
        for number in range(total):
            at = AT + timedelta(minutes=number // CLIENTS)
            who = client_name(number % CLIENTS)
            copy.write_row(
                (who, new_id(), reports.project_id, "1.4", "1.4", "r", at, documents[number % CLIENTS], "[]")
            )


def timed_ms(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return 1000 * (time.perf_counter() - began)


def size_of(connection: "psycopg.Connection[Any]", pattern: str) -> int:
    query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname ~ %s "
    row = connection.execute(query, (pattern,)).fetchone()
    assert row is not None
    return int(row[0])


def wal_of(connection: "psycopg.Connection[Any]", job: Callable[[], object]) -> dict[str, float]:
    def position() -> int:
        row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])

    connection.execute("CHECKPOINT")
    before = position()
    took = timed_ms(job)
    return {"ms": round(took, 1), "wal_mb": round((position() - before) / 1e6, 2)}


def sqlite_bytes(reports: Reports) -> float:
    with tempfile.TemporaryDirectory(prefix="hoist-bench-") as folder:
        path = Path(folder) / "peer.db"
        with sqlite3.connect(path) as connection:
            connection.execute(
                "CREATE TABLE r (client_id, report_id, reported_at, processes, PRIMARY KEY (client_id, report_id))"
            )
            connection.execute("CREATE INDEX i ON r (client_id, reported_at)")
            documents = [to_json(one.processes, exclude_none=True).decode() for one in reports.reports]
            connection.executemany(
                "INSERT INTO r VALUES (?, ?, ?, ?)",
                (
                    (
                        client_name(n % CLIENTS),
                        new_id(),
                        str(AT + timedelta(minutes=n // CLIENTS)),
                        documents[n % CLIENTS],
                    )
                    for n in range(SAMPLE)
                ),
            )
        connection.close()
        return path.stat().st_size / SAMPLE


def measure(server: PostgresCluster, total: int) -> dict[str, Any]:
    with (
        fleet_database(server) as (url, project_id),
        psycopg.connect(plain(url), autocommit=True) as connection,
    ):
        database = open_database(url)
        reports = Reports(database, project_id)
        fill(database, reports, total)
        peer_total = total
        fill_peer(connection, reports, peer_total)
        connection.execute("VACUUM ANALYZE")

        def newest() -> None:
            with database.read() as session:
                assert len(list_latest_reports(session, project_id)) == CLIENTS

        def distinct_on() -> None:
            query = "SELECT DISTINCT ON (client_id) client_id, reported_at, processes FROM peer_reports ORDER BY client_id, reported_at DESC"
            assert len(connection.execute(query).fetchall()) == CLIENTS

        history = size_of(connection, r"^process_reports_\d") + size_of(connection, "^process_sets$")
        spare_collections()  # as `python -m api` does; what this benchmark holds itself is not looked through, either
        latest = [timed_ms(newest) for _ in range(ROUNDS)]
        peer_latest = [timed_ms(distinct_on) for _ in range(3)]
        peer_bytes = size_of(connection, "^peer_reports$") / peer_total
        dropped = wal_of(connection, lambda: drop_days(database, DAY + timedelta(days=1)))
        old = AT + timedelta(minutes=min(DROPPED, peer_total) // CLIENTS)

        def delete() -> None:
            connection.execute("DELETE FROM peer_reports WHERE reported_at < %s", (old,))
            connection.execute("VACUUM peer_reports")

        deleted = wal_of(connection, delete)
        database.close()
    return {
        "reports": total,
        "latest_report_of_1000_clients_ms": {
            "hoist": round(statistics.median(latest), 1),
            f"distinct_on_{peer_total}_jsonb_rows": round(statistics.median(peer_latest), 1),
        },
        "bytes_per_report_with_indexes_and_sets": {
            "hoist": round(history / total),
            "jsonb_row": round(peer_bytes),
            "sqlite_json_row": round(sqlite_bytes(reports)),
        },
        "drop_old_reports": {
            f"hoist_partition_of_{total // 10}": dropped,
            f"delete_and_vacuum_{min(DROPPED, peer_total)}": deleted,
        },
    }


def measure_whole_reports(server: PostgresCluster) -> dict[str, Any]:
    """Bytes that a report of all containers, or of a selection's pods, adds to the history, with its index."""
    with (
        fleet_database(server) as (url, project_id),
        psycopg.connect(plain(url), autocommit=True) as connection,
    ):
        database = open_database(url)
        make_days(database, [DAY])
        rows = Reports(database, project_id).rows(0, SAMPLE, DAY)

        def bytes_per_row(kind: Kind) -> int:
            with database.write() as session:
                copy_rows(session, kind.history, rows)
            return round(size_of(connection, f"^{kind.history.__tablename__}_{DAY:%Y%m%d}$") / SAMPLE)

        containers, pods = bytes_per_row(CONTAINERS), bytes_per_row(PODS)
        database.close()
        peer = peer_bytes_per_container_report(connection)
    return {
        "bytes_per_container_report": {"hoist": containers, "jsonb_row": peer},
        "bytes_per_pod_report": {"hoist": pods},
    }


def peer_bytes_per_container_report(connection: "psycopg.Connection[Any]") -> int:
    connection.execute(
        "CREATE TABLE peer_container_reports (client_id text, report_id text, reported_at timestamptz, "
        "containers jsonb, PRIMARY KEY (client_id, report_id))"
    )
    connection.execute("CREATE INDEX ON peer_container_reports (client_id, reported_at DESC)")
    chance = random.Random(7)
    documents = [to_json(make_containers(chance), exclude_none=True).decode() for _ in range(CLIENTS)]
    with connection.cursor() as cursor, cursor.copy("COPY peer_container_reports FROM STDIN") as copy:
        for number in range(SAMPLE):
            at = AT + timedelta(minutes=number // CLIENTS)
            copy.write_row((client_name(number % CLIENTS), new_id(), at, documents[number % CLIENTS]))
    return round(size_of(connection, "^peer_container_reports$") / SAMPLE)


def make_containers(chance: random.Random) -> list[ContainerInfo]:
    """What an engine has, with all that an agent says of it."""
    return [
        ContainerInfo(
            container_id=chance.randbytes(32).hex(),
            container_name=f"shop-prod-{number}",
            image="registry.example/shop:1.4",
            status="Up 2 hours",
            state="running",
            created_at=AT,
            started_at=AT,
            cpu_percent=round(chance.uniform(0, 100), 1),
            memory_usage=chance.randrange(2**30),
            memory_limit=2**30,
            memory_percent=round(chance.uniform(0, 100), 2),
            network_rx=chance.randrange(2**32),
            network_tx=chance.randrange(2**32),
            restart_count=0,
            image_id="sha256:" + chance.randbytes(32).hex(),
            version="1.4",
        )
        for number in range(CONTAINERS_EACH)
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reports", type=int, default=1_000_000)
    total = parser.parse_args().reports
    with cluster() as server:
        figures = {**measure(server, total), **measure_whole_reports(server)}
    write_results("reports", {**figures, "targets_met": _targets_met(figures)})


def _targets_met(figures: dict[str, Any]) -> dict[str, Any]:
    latest = dict(figures["latest_report_of_1000_clients_ms"])
    size = dict(figures["bytes_per_report_with_indexes_and_sets"])
    dropped = figures["drop_old_reports"]
    met = {
        "newest reports of 1,000 clients": at_most(
            latest.pop("hoist"), TARGETS["latest_ms"], "ms", peers=latest
        ),
        "bytes per report of 10 processes": at_most(
            size.pop("hoist"), TARGETS["bytes_per_report"], "bytes", peers=size
        ),
    }
    if ours := dropped.get("hoist_partition_of_100000"):  # of a million
        peers = {"DELETE and VACUUM": dropped["delete_and_vacuum_100000"]["ms"]}
        met["dropping 100,000 old reports"] = at_most(ours["ms"], TARGETS["drop_ms"], "ms", peers=peers)
    return met


if __name__ == "__main__":
    main()
