"""Reports of ten processes into PostgreSQL, one worker: how many a second, side by side with peers and the floor.

`python -m benchmarks.ingest [--seconds 8] [--rounds 3] [WAY …]`. Bounded: some four minutes on two cores. PostgreSQL is a cluster of
its own, with fsync and synchronous commit; worker, load and database share the machine, so the ratios tell more than
the figures.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

import psutil
import psycopg

from api.alerting import judge_process_reports
from api.auth import Principal
from api.ingest.incoming import Incoming
from api.ingest.quick import ReadProcessReport
from api.ingest.writing import Ingest
from benchmarks.ingest import peers
from benchmarks.ingest.fleet import CLIENTS, client_name, make_report, register_fleet, token_of
from benchmarks.ingest.serve import WAYS
from benchmarks.results import at_least, write_results
from db import schema
from db.models import utc_now
from db.secrets import sha256_hex
from db.session import make_engine, open_database
from db.settings import parse_url
from tests.postgres import PostgresCluster, find_postgres

CONNECTIONS = 64
TARGET_PER_S = 2500
DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "autovacuum": "on",
    "max_wal_size": "4GB",
}


@contextmanager
def cluster() -> Iterator[PostgresCluster]:
    programs = find_postgres()
    assert programs is not None, "PostgreSQL is missing: bash deployments/install-test-needs.sh"
    server = PostgresCluster(programs, **DURABLE)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def fleet_database(server: PostgresCluster) -> Iterator[tuple[str, str]]:
    """A new database with the fleet in it: its URL, the project's id."""
    name = server.create_database()
    url = server.url(name)
    engine = make_engine(url)
    schema.upgrade(engine)
    engine.dispose()
    database = open_database(url)
    with database.write() as session:
        project_id = register_fleet(session)
    database.close()
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(peers.CREATE.encode())
    try:
        yield url, project_id
    finally:
        server.drop_database(name)


def plain(url: str) -> str:
    return parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def measure(server: PostgresCluster, way: str, seconds: float) -> dict[str, Any]:
    with fleet_database(server) as (url, project_id):
        environ = {**os.environ, "HOIST_DATABASE_URL": url}
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ingest.serve", way],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert worker.stdout is not None
            port = worker.stdout.readline().strip()
            return _load(worker.pid, port, project_id, seconds, url)
        finally:
            worker.terminate()
            worker.wait(30)


def _load(worker: int, port: str, project_id: str, seconds: float, url: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.ingest.load",
        port,
        project_id,
        str(CONNECTIONS),
        str(seconds),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdin is not None
        assert load.stdout is not None
        assert load.stdout.readline() == "warm\n"
        # A fleet's tables have been analyzed long ago; what is planned without it is not what a fleet has.
        with psycopg.connect(plain(url), autocommit=True) as connection:
            connection.execute("ANALYZE")
        load.stdin.write("go\n")
        load.stdin.flush()
        process = psutil.Process(worker)
        before = process.cpu_times()
        figures: dict[str, Any] = json.loads(load.stdout.readline())
        after = process.cpu_times()
    assert set(figures["answers"]) == {"202"}, figures
    spent = after.user + after.system - before.user - before.system
    figures["worker_cpu_us_per_report"] = round(1e6 * spent / figures["answers"]["202"])
    return figures


def measure_without_http(server: PostgresCluster, seconds: float) -> dict[str, Any]:
    """The same reports validated, batched, kept and judged, in this process: what HTTP takes no part in."""
    chance = random.Random(7)
    with fleet_database(server) as (url, project_id):
        made = [make_report(number, project_id, utc_now(), chance) for number in range(CLIENTS)]
        bodies = [report.model_dump_json().encode() for report in made]
        callers = [
            Principal(f"agent:{client_name(n)}", "agent", client_name(n), sha256_hex(token_of(n)))
            for n in range(CLIENTS)
        ]
        database = open_database(url)
        ingest = Ingest(database, timedelta(days=30), judge_process_reports)
        count = 0

        async def report(first: int, until: float) -> None:
            nonlocal count
            number = first
            while time.perf_counter() < until:
                body = bodies[number % CLIENTS]
                found = ReadProcessReport.model_validate_json(body).model_copy(
                    update={"report_id": f"{first}-{number}", "reported_at": datetime.now(UTC)}
                )
                incoming = Incoming(found, callers[number % CLIENTS], utc_now())
                assert (await ingest.processes.put(incoming, len(body))).duplicate is False
                count += 1
                number += CONNECTIONS

        async def all_of_them() -> float:
            nonlocal count
            await asyncio.gather(*(report(n, time.perf_counter() + 2) for n in range(CONNECTIONS)))
            count = 0
            began, spent = time.perf_counter(), time.process_time()
            until = began + seconds
            await asyncio.gather(*(report(1_000_000 + n, until) for n in range(CONNECTIONS)))
            rates["worker_cpu_us_per_report"] = round(1e6 * (time.process_time() - spent) / count)
            return count / (time.perf_counter() - began)

        rates: dict[str, Any] = {}
        rates["per_s"] = round(asyncio.run(all_of_them()))
        ingest.close()
        database.close()
        return rates


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("ways", nargs="*", default=[*WAYS, "hoist_without_http"])
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways}
    with cluster() as server:
        for _ in range(options.rounds):  # in turn, so that what else the machine does hits all of them
            for way, found in rounds.items():
                if way == "hoist_without_http":
                    found.append(measure_without_http(server, options.seconds))
                else:
                    found.append(measure(server, way, options.seconds))
                print(way, found[-1], flush=True)
    best = {way: max(found, key=lambda one: one["per_s"]) for way, found in rounds.items()}
    medians = {way: round(statistics.median(one["per_s"] for one in found)) for way, found in rounds.items()}
    if set(best) < {*WAYS, "hoist_without_http"}:
        return
    ours = medians["hoist"]
    write_results(
        "ingest",
        {
            "report": "10 processes, all fields, 1,000 clients with tokens of their own",
            "connections": CONNECTIONS,
            "http_parser": "httptools" if find_spec("httptools") else "h11",
            "median_per_s": medians,
            "best_round": best,
            "hoist_over": {way: round(ours / medians[way], 2) for way in WAYS if way != "hoist"},
            "targets_met": {
                "reports of 10 processes, over HTTP, one worker": at_least(
                    ours,
                    TARGET_PER_S,
                    "reports/s",
                    peers={
                        "FastAPI + ORM": medians["fastapi_orm"],
                        "psycopg pool": medians["fastapi_psycopg_pool"],
                    },
                    floor=medians["floor_fastapi_validation"],
                ),
            },
        },
    )


if __name__ == "__main__":
    main()
