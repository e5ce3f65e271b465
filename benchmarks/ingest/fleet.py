"""The fleet that reports: 1,000 clients of one project, each with its token, and what they say."""

import random
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessConfig, ProcessReport, Rule
from db.documents.evidence import EvidenceConfig
from db.ids import new_id
from db.models import Client, Environment, Installation, Project, Target, Version
from db.secrets import sha256_hex

CLIENTS = 1000
PROCESSES = 10
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WATCHED = ProcessConfig(
    rules=(Rule(type="name", pattern="shop-worker", name="shop"),),
    alert_on_high_cpu=101,
    alert_on_high_mem=50,
)
"""What every report is judged by: exits, restarts, and limits that none is above."""


def client_name(number: int) -> str:
    return f"web-{number:04}.example"


def token_of(number: int) -> str:
    return f"benchmark-report-token-{number:04}"


def register_fleet(session: Session) -> str:
    """The fleet's rows; answers the project's id."""
    project = Project(name="shop", type="script")
    session.add(project)
    session.flush()
    environment = Environment(project_id=project.id, name="prod")
    session.add(environment)
    session.flush()
    session.add(
        Version(
            project_id=project.id,
            version="1.4",
            status="active",
            work_dir="/srv/shop",
            process_config=WATCHED,
            evidence=EvidenceConfig(),
            env={},
        )
    )
    names = [client_name(number) for number in range(CLIENTS)]
    whose = {"project_id": project.id, "environment_id": environment.id}
    session.execute(
        insert(Client),
        [
            {
                "client_id": name,
                "url": f"https://{name}:4220",
                "labels": {},
                "report_token_sha256": sha256_hex(token_of(number)),
            }
            for number, name in enumerate(names)
        ],
    )
    targets = {name: new_id() for name in names}
    session.execute(
        insert(Target),
        [
            {"id": targets[name], "client_id": name, "name": name, "type": "host", "labels": {}, **whose}
            for name in names
        ],
    )
    times = {"installed_at": NOW, "last_updated_at": NOW}
    session.execute(
        insert(Installation),
        [
            {
                "id": new_id(),
                "target_id": targets[name],
                "client_id": name,
                "version": "1.4",
                "status": "installed",
                **times,
                **whose,
            }
            for name in names
        ],
    )
    return project.id


def make_report(number: int, project_id: str, at: datetime, chance: random.Random) -> ProcessReport:
    """What client `number` says at `at`: ten processes with all that an agent says of them."""
    processes = []
    for index in range(PROCESSES):
        process: dict[str, Any] = {
            "pid": 1000 + 37 * index + number,
            "name": "shop-worker",
            "cmdline": f"/srv/shop/bin/shop-worker --config /etc/shop/shop.toml --worker {index}",
            "start_time": NOW,
            "status": "sleeping" if chance.random() < 0.8 else "running",
            "cpu_percent": round(chance.uniform(0, 100), 1),
            "memory_mb": round(chance.uniform(20, 900), 1),
            "memory_pct": round(chance.uniform(0, 9), 2),
            "matched_by": "shop",
            "survives_agent_stop": True,
            "survival_reason": "own session and own control group",
            "survives_reboot": False,
            "ppid": 1 if index == 0 else 1000 + number,
            "start_ticks": 123_456 + index,
            "is_root": index == 0,
            "ports": [8080] if index == 0 else [],
        }
        processes.append(process)
    return ProcessReport.model_validate(
        {
            "client_id": client_name(number),
            "project_id": project_id,
            "version": "1.4",
            "observed_version": "1.4",
            "release_id": project_id,
            "processes": processes,
            "reported_at": at,
            "report_id": new_id(),
        }
    )
