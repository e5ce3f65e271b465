"""The OpenAPI document: complete, and true under requests made from it (schemathesis)."""

import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from api.app import build_app
from api.auth import named_tokens
from api.flow_runs import FlowRuns
from db.session import open_database
from tests.builders import create_fleet
from tests.served_api import OPERATOR, make_parts


class NoPrefect(FlowRuns):
    """Nothing is started here: it takes seconds to find out that nobody answers."""

    def check(self):
        from api.errors import TransientApiError

        raise TransientApiError("Prefect", "there is none here")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('openapi') / 'hoist.db'}")
    with database.write() as session:
        create_fleet(session, {"web-01": "1.4", "web-02": "1.4"})
    parts = make_parts(database, allowed_hosts=("testserver",))
    object.__setattr__(parts, "flow_runs", NoPrefect(parts.settings))
    yield build_app(parts, named_tokens(parts.settings))
    database.close()


def request_from(operation):
    """A test of one operation, with bodies and queries made from the document. (Schemathesis' own pytest plugin
    doesn't run under this pytest.)
    """

    @settings(
        max_examples=10,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case):
        response = case.call(headers={"Authorization": f"Bearer {OPERATOR}"})
        if response.status_code == 503:
            assert response.json()["part"] == "Prefect"
            return
        case.validate_response(
            response, checks=[not_a_server_error, status_code_conformance, content_type_conformance]
        )

    return ask


def test_requests_made_from_the_document_never_break_the_server(app):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    asked = 0
    for found in schema.get_all_operations():
        request_from(found.ok())()
        asked += 1
    assert asked > 30


def test_document_says_what_a_stranger_needs(app):
    document = app.openapi()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["paths"]["/healthz"]["get"]["security"] == []
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            assert operation.get("description") or operation.get("summary"), (verb, path)
            assert operation["tags"], (verb, path)
            assert "500" in operation["responses"], (verb, path)
    references = set(re.findall(r"#/components/schemas/([^\"']+)", str(document)))
    assert references <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in references


def test_every_address_of_the_contract_is_there(app):
    paths = app.openapi()["paths"]
    wanted = {
        "/release/projects": {"get", "post"},
        "/release/projects/{project}": {"get", "patch", "delete"},
        "/release/projects/{project}/environments": {"get", "post"},
        "/release/clients": {"get", "post"},
        "/release/clients/{client_id}": {"get", "patch", "delete"},
        "/release/clients/{client_id}/rotate": {"post"},
        "/release/environments/{environment_id}/targets": {"get", "post"},
        "/release/versions": {"post"},
        "/release/versions/{version_id}": {"get", "patch"},
        "/release/projects/{project}/versions": {"get"},
        "/release/projects/{project}/installations": {"get", "post"},
        "/release/tasks": {"get", "post"},
        "/release/tasks/{task_id}": {"get"},
        "/release/tasks/{task_id}/results": {"get"},
        "/release/tasks/{task_id}/results/{client_id}": {"get"},
        "/release/tasks/{task_id}/results/{client_id}/log": {"get"},
        "/release/process-report": {"post"},
        "/release/projects/{project}/processes": {"get"},
        "/release/container-report": {"post"},
        "/release/projects/{project}/containers": {"get"},
        "/release/containers/overview": {"get"},
        "/release/audit": {"get"},
        "/healthz": {"get"},
        "/readyz": {"get"},
        "/metrics": {"get"},
    }
    wanted |= {
        f"/release/tasks/{{task_id}}/{verb}": {"post"}
        for verb in ("start", "cancel", "retry", "pause", "resume", "promote", "rollback")
    }
    assert {path: set(operations) for path, operations in paths.items()} == wanted
