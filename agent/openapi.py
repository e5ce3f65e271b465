"""The agent's OpenAPI 3.1 document, made from its list of endpoints."""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from agent import __version__
from agent.endpoints import Call, Endpoint
from agent.wire.problems import MEDIA_TYPE, Problem

_REFS = "#/components/schemas/{model}"
_ID_PATTERN = r"^[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,199}$"


def openapi_endpoint(endpoints: Sequence[Endpoint]) -> Endpoint:
    """GET /openapi.json: made at the first call, then kept."""
    kept: list[dict[str, Any]] = []

    async def answer(_call: Call) -> dict[str, Any]:
        if not kept:
            kept.append(openapi_document(endpoints))
        return kept[0]

    return Endpoint(
        "GET", "/openapi.json", "openapi", answer, "This document", answer=dict[str, Any], public=True
    )


def openapi_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document for `endpoints` (https://spec.openapis.org/oas/v3.1.0)."""
    requests = [(one.request, "validation") for one in endpoints if one.request is not None]
    answers = [(one.answer, "serialization") for one in endpoints if _is_model(one.answer)]
    _, schemas = models_json_schema(
        [*requests, *answers, (Problem, "serialization")],  # type: ignore[list-item] # the modes are literals
        ref_template=_REFS,
    )
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hoist agent", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _is_model(answer: Any) -> bool:
    return isinstance(answer, type) and issubclass(answer, BaseModel)


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    responses: dict[str, Any] = {
        str(status): _response(endpoint) for status in (endpoint.status, *endpoint.also)
    }
    responses["default"] = {
        "description": "What was wrong",
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFS.format(model="Problem")}}},
    }
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": responses,
        "security": [] if endpoint.public else [{"token": []}],
    }
    if endpoint.request is not None:
        required = any(field.is_required() for field in endpoint.request.model_fields.values())
        schema = {"$ref": _REFS.format(model=endpoint.request.__name__)}
        operation["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
    return operation


def _response(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer is None:
        return {"description": "Done"}
    schema: dict[str, Any]
    if _is_model(endpoint.answer):
        schema = {"$ref": _REFS.format(model=endpoint.answer.__name__)}
    else:
        schema = TypeAdapter(endpoint.answer).json_schema(mode="serialization", ref_template=_REFS)
        schema.pop("$defs", None)
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": _ID_PATTERN}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = endpoint.query.model_json_schema(ref_template=_REFS)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": part}
        for name, part in schema["properties"].items()
    ]
