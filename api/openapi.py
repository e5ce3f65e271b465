"""The OpenAPI document: FastAPI's, with the problems, the security scheme and the words that a stranger needs."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from agent.wire.problems import MEDIA_TYPE, Problem
from api.field_words import word_for
from api.guard import PUBLIC_PATHS

ABOUT = """\
What is installed where, what runs there, and the deploy tasks that change it.

Present a token as `Authorization: Bearer …`: an operator may do everything, a viewer may read, and an agent's
report token may only report as its own client. Every error is `application/problem+json` (RFC 9457) with each bad
field under `errors`. A list is a bare array; the next page's address is in the `Link` header (`rel="next"`).
A POST may carry an `Idempotency-Key`. Times are RFC 3339 in UTC, sizes bytes, durations seconds.
"""
TAGS = [
    {"name": "projects", "description": "Pieces of software, and the environments they are in."},
    {"name": "clients", "description": "Hosts that run the agent, and the targets that they are."},
    {"name": "versions", "description": "The scripts that bring a project to a version, and what proves it."},
    {"name": "installations", "description": "Which version a target has."},
    {"name": "deploy tasks", "description": "Campaigns that bring clients to a version."},
    {"name": "freezes", "description": "When nothing is deployed."},
    {"name": "reports", "description": "What clients say runs there."},
    {"name": "alerts", "description": "What is wrong, and who is not told of it."},
    {"name": "audit", "description": "Who changed what."},
    {"name": "health", "description": "For what watches over the API."},
]
PROBLEMS = {
    "400": "The body is not JSON.",
    "401": "No or wrong credentials.",
    "403": "The token may not do this.",
    "404": "Something that the request names is not there.",
    "408": "The body took too long.",
    "409": "The state of things does not allow it.",
    "413": "The body is too large.",
    "421": "The Host header names another host.",
    "422": "The request is invalid: `errors` says where.",
    "500": "An error inside the API.",
    "503": "A part can't be reached: `part` names it.",
}
NEXT_PAGE = 'The next page\'s address, where there is one: `<…>; rel="next"`.'
PUBLIC_PROBLEMS = ("421", "422", "500", "503")


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=ABOUT, routes=app.routes, tags=TAGS
        )
        _complete(document)
        app.openapi_schema = document
    return app.openapi_schema


def _complete(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    problem["required"] = ["title", "status", "detail"]
    schemas["Problem"] = problem
    document["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A named token, or an agent's report token.",
        }
    }
    document["security"] = [{"token": []}]
    for name, schema in schemas.items():
        _describe_fields(name, schema)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _declare_problems(operation, public=path in PUBLIC_PATHS)
            _declare_next_page(operation)


def _describe_fields(name: str, schema: dict[str, Any]) -> None:
    for field, described in schema.get("properties", {}).items():
        word = word_for(name, field)
        if word is not None and "description" not in described:
            described["description"] = word


def _declare_next_page(operation: dict[str, Any]) -> None:
    """A list says where it goes on."""
    answer = operation["responses"].get("200", {})
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("type") == "array":
        answer["headers"] = {"Link": {"description": NEXT_PAGE, "schema": {"type": "string"}}}


def _declare_problems(operation: dict[str, Any], *, public: bool) -> None:
    if public:
        operation["security"] = []
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, description in PROBLEMS.items():
        if not public or status in PUBLIC_PROBLEMS:
            operation["responses"][status] = {"description": description, "content": content}
