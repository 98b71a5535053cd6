"""The description of the API: OpenAPI 3.1, made exact where FastAPI can't know better.

Left out are FastAPI's own form of a validation error, and what OpenAPI 3.1 has no word for yet (`itemSchema` of a stream).
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .problems import MEDIA_TYPE, ProblemDocument, answers

CONDITIONAL = "If-Match"
"""A command without it is answered 428: needed, although the code asks for it in its own words."""
_MAY_BE_NEW = {"/v1/rules/{rule_id}"}
STREAM = "text/event-stream"

_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"description": "names the version; send it back as If-Match", "schema": {"type": "string"}, "example": '"7-1c291ca3"'},
    "Link": {
        "description": 'the next page, relative: <...>; rel="next"; absent on the last one',
        "schema": {"type": "string"},
        "example": '</v1/alerts?limit=100&cursor=WzE3NjA1MzU5MDIxMjMsImhvdC5DTkMtMDEiXQ>; rel="next"',
    },
    "Retry-After": {"description": "seconds after which to try again", "schema": {"type": "string"}, "example": "5"},
    "WWW-Authenticate": {
        "description": "what is needed (RFC 6750)",
        "schema": {"type": "string"},
        "example": 'Bearer realm="millrace"',
    },
}
_EXAMPLES = {
    "Idempotency-Key": "2b7c1f0e",
    "alert_id": "spindle-hot.CNC-01",
    "cursor": "WzE3NjA1MzU5MDIxMjMsInNwaW5kbGUtaG90LkNOQy0wMSJd",
    "actor": "anna",
    "device": "CNC-01",
    "device_id": "CNC-01",
    "entry_id": "MES-4711-1",
    "every": "1m",
    "from": "2025-10-15T06:00:00Z",
    "if-none-match": '"7-1c291ca3"',
    "last-event-id": "5f3a9c21-4711",
    "line": "line1",
    "q": "spindle",
    "rule": "spindle-hot",
    "rule_id": "oil-hot",
    "signal": "spindle_temperature",
    "to": "2025-10-15T14:00:00Z",
}
"""By the names of parameters: what a name stands for is the same in every operation."""
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
_OF_STATUS = {"401": ("WWW-Authenticate",), "403": ("WWW-Authenticate",), "503": ("Retry-After",)}


def describe(app: FastAPI) -> None:
    """From now on `app.openapi()` is this description."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schema["servers"] = [{"url": "/", "description": "this server"}]
    schema["components"].setdefault("schemas", {})["ProblemDocument"] = ProblemDocument.model_json_schema()
    schema["components"]["headers"] = dict(_HEADERS)
    for path, operation in _operations(schema):
        operation["operationId"] = operation["operationId"].partition("_v1_")[0].partition("_health_")[0]
        for parameter in operation.get("parameters", []):
            parameter["required"] = parameter["required"] or (parameter["name"] == CONDITIONAL and path not in _MAY_BE_NEW)
            if parameter["name"] in _EXAMPLES and not parameter["schema"].get("examples"):
                parameter["example"] = _EXAMPLES[parameter["name"]]
        if "requestBody" in operation:
            operation["responses"] = {**answers("bad-request", "too-slow", "too-large"), **operation["responses"]}
            operation["responses"] = {str(status): answer for status, answer in operation["responses"].items()}
        for status, answer in operation["responses"].items():
            if status == "422":
                answer["content"] = _PROBLEM
            _name_headers(path, status, answer)
            _describe_stream(answer)
    for frameworks_own in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(frameworks_own, None)
    return schema


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            yield path, operation


def _name_headers(path: str, status: str, answer: dict[str, Any]) -> None:
    names = _OF_STATUS.get(status, ()) if path.startswith("/v1/") else ()
    if status in {"200", "201", "304"} and path.startswith(("/v1/alerts/{", "/v1/rules/{")):
        names = ("ETag",)
    if status == "200" and path in {"/v1/alerts", "/v1/alert-events", "/v1/devices", "/v1/readings", "/v1/rules"}:
        names = ("Link",)
    if names:
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _describe_stream(answer: dict[str, Any]) -> None:
    media = answer.get("content", {}).get(STREAM)
    if media is not None:
        answer["content"][STREAM] = {
            "schema": {"type": "string", "description": "server-sent events; `data` is JSON"},
            "example": 'id: 5f3a9c21-4711\nevent: alert\ndata: {"seq": 4711, "alert_id": "hot.CNC-01", "to_state": "UNACK"}\n\n',
        }
