"""The OpenAPI document: complete, and of use to a stranger. See test_requests_from_document.py for requests made from it."""

import re

import pytest

from api.app import build_app
from api.auth import named_tokens
from db.session import open_database
from tests.served_api import make_parts


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('openapi') / 'hoist.db'}")
    parts = make_parts(database)
    yield build_app(parts, named_tokens(parts.settings))
    database.close()


def test_document_says_what_a_stranger_needs(app):
    document = app.openapi()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["paths"]["/healthz"]["get"]["security"] == []
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            assert operation.get("description"), (verb, path)
            assert operation["tags"], (verb, path)
            assert "500" in operation["responses"], (verb, path)
    references = set(re.findall(r"#/components/schemas/([^\"']+)", str(document)))
    assert references <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in references


def test_every_field_of_a_request_says_what_it_is(app):
    document = app.openapi()
    schemas = document["components"]["schemas"]
    waiting = [
        operation["requestBody"]
        for operations in document["paths"].values()
        for operation in operations.values()
        if "requestBody" in operation
    ]
    asked = set()
    while waiting:
        names = set(re.findall(r"#/components/schemas/([^\"']+)", str(waiting.pop())))
        waiting += [schemas[name] for name in names - asked]
        asked |= names
    assert {"DeployTaskRequest", "Strategy", "VersionCreate", "Rule"} <= asked
    # An agent's own: docs/how-to says what they are.
    reported = {"ProcessInfo-Input", "ContainerInfo-Input", "PodInfo", "PodInfo-Input", "PodContainer-Input"}
    undescribed = [
        (name, field)
        for name in sorted(asked - reported)
        for field, described in schemas[name].get("properties", {}).items()
        if "description" not in described
    ]
    assert not undescribed


def test_share_and_list_are_described_for_a_program(app):
    document = app.openapi()
    wave = document["components"]["schemas"]["Strategy"]["properties"]["waves"]["items"]
    assert {one["type"] for one in wave["anyOf"]} == {"integer", "string"}
    assert any("%" in one.get("pattern", "") for one in wave["anyOf"])
    assert "Link" in document["paths"]["/release/projects"]["get"]["responses"]["200"]["headers"]
    named = {tag["name"] for tag in document["tags"]}
    used = {
        tag for operations in document["paths"].values() for one in operations.values() for tag in one["tags"]
    }
    assert used <= named


def test_every_address_of_the_contract_is_there(app):
    paths = app.openapi()["paths"]
    wanted = {
        "/release/projects": {"get", "post"},
        "/release/projects/{project}": {"get", "patch", "delete"},
        "/release/projects/{project}/environments": {"get", "post"},
        "/release/projects/{project}/environments/{environment_id}": {"patch", "delete"},
        "/release/freezes": {"get", "post"},
        "/release/freezes/{freeze_id}": {"delete"},
        "/release/clients": {"get", "post"},
        "/release/clients/{client_id}": {"get", "patch", "delete"},
        "/release/clients/{client_id}/rotate": {"post"},
        "/release/environments/{environment_id}/targets": {"get", "post"},
        "/release/environments/{environment_id}/targets/{target_id}": {"delete"},
        "/release/alerts": {"get"},
        "/release/silences": {"get", "post"},
        "/release/silences/{silence_id}": {"delete"},
        "/release/versions": {"post"},
        "/release/versions/{version_id}": {"get", "patch"},
        "/release/projects/{project}/versions": {"get"},
        "/release/projects/{project}/installations": {"get", "post"},
        "/release/projects/{project}/drift": {"get"},
        "/release/projects/{project}/drift/repair": {"post"},
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
        "/release/pod-report": {"post"},
        "/release/projects/{project}/pods": {"get"},
        "/release/audit": {"get"},
        "/healthz": {"get"},
        "/readyz": {"get"},
        "/metrics": {"get"},
    }
    wanted |= {
        f"/release/tasks/{{task_id}}/{verb}": {"post"}
        for verb in ("start", "cancel", "retry", "pause", "resume", "promote", "rollback", "approve")
    }
    assert {path: set(operations) for path, operations in paths.items()} == wanted
