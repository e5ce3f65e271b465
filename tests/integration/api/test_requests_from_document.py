"""schemathesis on the release API, on both databases: whatever comes in, no 5xx, and an answer that the document knows.

Most requests are made to be about what is really there, so that they get past the first look; flow runs start at once.
"""

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance
from sqlalchemy import select

from api.app import build_app
from api.auth import named_tokens
from api.flow_runs import FlowRuns
from api.schemas.deploy_tasks import StartAnswer
from db.ids import new_id
from db.models import Client, DeployResult, Target, Version, utc_now
from db.secrets import sha256_hex
from db.session import Database
from tasks.planning import create_deploy_task
from tests.builders import create_client, create_fleet, upgrade_request
from tests.served_api import OPERATOR, make_parts

NOBODY = "http://127.0.0.1:9"
EXAMPLES = 25
TASKS, VERSIONS = "/release/tasks", "/release/versions"
TAKES = {TASKS: ("project_id", "version"), VERSIONS: ("project_id",)}
DROPPED = {
    TASKS: ("version_id", "client_ids", "exclude_client_ids", "selector", "environment", "container_naming"),
    VERSIONS: ("deploy_config",),
}
"""What hardly ever goes with the rest by chance."""
FITTING = {
    "url": "https://web-01.example",
    "work_dir": "/srv/shop",
    "operation": "update",
    "source_version": "1.4",
    "detach_process": True,
    "auto_select_clients": True,
    "evidence": {"source": "exit_code"},
    "strategy": {"waves": [1, "50%"]},
    "env": {"A": "b"},
}


class QuickFlowRuns(FlowRuns):
    """Prefect's part: every flow run starts, and is never heard of again."""

    def check(self) -> None:
        pass

    def start(self, deploy_task_id: str, key: str, **_when: object) -> StartAnswer:
        return StartAnswer(flow_run_id=new_id(), flow_run_url=f"http://127.0.0.1:4200/runs/{key}")


class Names:
    """A fleet for one operation's requests, which may leave nothing of it, by the names that paths and bodies have."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.report_token = new_id()
        mine = new_id()
        first, second = f"a-{mine}", f"b-{mine}"
        with database.write() as session:
            project, environment = create_fleet(
                session, {first: "1.4", second: "1.4"}, project_name=f"shop of {mine}"
            )
            client = session.get_one(Client, first)
            client.url, client.report_token_sha256 = NOBODY, sha256_hex(self.report_token)
            self._request = upgrade_request(project)
            of_version = (Version.project_id == project.id, Version.version == "1.5")
            self._known = {
                "project": project.name,
                "project_id": project.id,
                "environment_id": environment.id,
                "environment": environment.name,
                "client_id": first,
                "target_id": session.scalar(select(Target.id).where(Target.client_id == second)),
                "version": "1.5",
                "version_id": session.scalar(select(Version.id).where(*of_version)),
            }

    def put_into(self, case: Any) -> None:
        """Let the request be about what is there."""
        if "task_id" in case.path_parameters:
            failed = case.path.endswith(("/retry", "/log", "/results"))
            case.path_parameters["task_id"] = self._deploy_task(failed=failed)
        for holder in (case.path_parameters, case.query, case.body):
            if isinstance(holder, dict):
                holder.update({name: value for name, value in self._known.items() if name in holder})
        if isinstance(case.body, dict):
            asked = {**case.body, **{name: self._known[name] for name in TAKES.get(case.path, ())}}
            asked |= {name: value for name, value in FITTING.items() if name in asked}
            if case.path == VERSIONS:
                asked["version"] = new_id()
            if case.path == TASKS:
                asked["auto_select_clients"] = True
            if case.path.endswith(("/clients", "/targets")):
                asked["client_id"] = self._new_client(registered=case.path.endswith("/targets"))
            case.body = {
                name: value for name, value in asked.items() if name not in DROPPED.get(case.path, ())
            }

    def _new_client(self, *, registered: bool) -> str:
        client_id = f"c-{new_id()}"
        if registered:
            with self._database.write() as session:
                create_client(session, client_id)
        return client_id

    def _deploy_task(self, *, failed: bool) -> str:
        """A new one; a failed one has something to try again, and scripts that ran."""
        with self._database.write() as session:
            task = create_deploy_task(session, self._request, now=utc_now(), who="test")
            if failed:
                task.status = "failed"
                for row in session.scalars(
                    select(DeployResult).where(DeployResult.deploy_task_id == task.id)
                ):
                    row.status, row.attempt, row.execution_id = (
                        "failed",
                        1,
                        f"{task.id}.{row.client_id}.1.update",
                    )
            return task.id


@pytest.fixture
def app(database: Database):
    parts = make_parts(database, allowed_hosts=("testserver",))
    object.__setattr__(parts, "flow_runs", QuickFlowRuns(parts.settings))
    return build_app(parts, named_tokens(parts.settings))


def check(operation: Any, names: Names) -> Counter[int]:
    """Some requests of one operation; how often each status was answered. (Schemathesis' own pytest plugin doesn't run
    under this pytest.)
    """
    answered: Counter[int] = Counter()
    token = names.report_token if operation.path.endswith("-report") else OPERATOR

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), about_what_is_there=st.sampled_from((True, True, False)))
    def ask(case: Any, about_what_is_there: bool) -> None:
        if about_what_is_there:
            names.put_into(case)
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        answered[response.status_code] += 1
        if response.status_code == 503 and operation.path.endswith("/log"):
            assert response.json()["part"].startswith("agent ")  # nobody listens at NOBODY
            return
        case.validate_response(
            response, checks=[not_a_server_error, status_code_conformance, content_type_conformance]
        )

    ask()
    return answered


def test_requests_made_from_the_document_never_break_the_server(app, database: Database):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    answered = {}
    for found in schema.get_all_operations():
        operation: Any = found.ok()
        answered[f"{operation.method.upper()} {operation.path}"] = check(operation, Names(database))
    assert len(answered) > 35
    assert answered["POST /release/tasks"][201] >= 1
    assert answered["POST /release/tasks/{task_id}/start"][202] >= 3
    assert answered["POST /release/tasks/{task_id}/retry"][202] >= 3
    well = [name for name, statuses in answered.items() if any(status < 300 for status in statuses)]
    assert len(well) > 25, sorted(set(answered) - set(well))
