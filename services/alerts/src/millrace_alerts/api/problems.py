"""Errors as RFC 9457 problem documents. They never repeat what a body held."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from millrace_contract.errors import Unavailable
from millrace_contract.runtime.logs import get_logger

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:millrace:problem:"
RETRY_AFTER_S = 5

_log = get_logger(__name__)


class ProblemDocument(BaseModel):
    """What every error answers (RFC 9457). `type` is stable; `detail` is for a person."""

    type: str = Field(examples=["urn:millrace:problem:illegal-transition"])
    title: str = Field(examples=["Not possible in the present state"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["cannot acknowledge this alert: it is NORM; possible only in UNACK, RTNUN, LATCH_UNACK"])
    instance: str = Field(examples=["/v1/alerts/spindle-hot.CNC-01/ack"])
    state: str | None = Field(default=None, description="409: the state in which the alert is", examples=["NORM"])
    version: int | None = Field(default=None, description="412, 409: the version that there is now", examples=[7])
    cursor: str | None = Field(default=None, description="410: where to go on", examples=["5f3a9c21-4711"])
    errors: list[dict[str, str]] | None = Field(default=None, description="422: each mistake, by place")


_TITLES = {
    "bad-request": (400, "The request is not understood"),
    "unauthorized": (401, "A valid token is needed"),
    "forbidden": (403, "The token does not allow this"),
    "not-found": (404, "There is no such thing"),
    "too-slow": (408, "The request did not come in time"),
    "illegal-transition": (409, "Not possible in the present state"),
    "entry-changed": (409, "Another version was entered under this id"),
    "in-progress": (409, "The same request is being worked on"),
    "feed-restarted": (410, "The feed does not go on from there"),
    "events-archived": (410, "These events are in the archive"),
    "stale-version": (412, "It has changed since it was read"),
    "too-large": (413, "The request is too large"),
    "misdirected": (421, "This service has another name"),
    "invalid": (422, "The request breaks a rule"),
    "key-reused": (422, "The Idempotency-Key belongs to another request"),
    "version-needed": (428, "The request must say which version it is about"),
    "unavailable": (503, "Not possible just now"),
}


class ApiProblem(Exception):
    """Ends a request. `slug` chooses status, title and type; `members` are added to the document."""

    def __init__(self, slug: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


def invalid(place: str, message: str) -> ApiProblem:
    """A parameter that is well formed and still not allowed."""
    return ApiProblem("invalid", f"{place}: {message}", errors=[{"place": place, "message": message}])


def unavailable(error: Unavailable) -> ApiProblem:
    """The database or the engine cannot answer; the client may try again."""
    after_s = RETRY_AFTER_S if error.retry_after_s is None else max(round(error.retry_after_s), 1)
    return ApiProblem("unavailable", error.reason, headers={"Retry-After": str(after_s)})


def answers(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """The documentation of these problems for OpenAPI."""
    found: dict[int | str, dict[str, Any]] = {}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    for slug in slugs:
        status, title = _TITLES[slug]
        known = found.get(status)
        text = title if known is None else f"{known['description']}; {title[0].lower()}{title[1:]}"
        found[status] = {"description": text, "content": content}
    return found


def install(app: FastAPI) -> None:
    """Every error of the application becomes a problem document."""
    app.exception_handler(ApiProblem)(_on_problem)
    app.exception_handler(Unavailable)(_on_unavailable)
    app.exception_handler(RequestValidationError)(_on_invalid)
    app.exception_handler(HTTPException)(_on_http)
    app.exception_handler(Exception)(_on_bug)


def _answer(
    request: Request, kind: str, title: str, status: int, *, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    body = {"type": kind, "title": title, "status": status, "detail": detail, "instance": request.url.path, **members}
    return Response(json.dumps(body), status, {**(headers or {}), "Cache-Control": "no-store"}, MEDIA_TYPE)


async def _on_problem(request: Request, error: ApiProblem) -> Response:
    return problem_response(request, error)


def problem_response(request: Request, error: ApiProblem) -> Response:
    """The problem document for a request that it ends."""
    status, title = _TITLES[error.slug]
    kind = f"{TYPE_PREFIX}{error.slug}"
    return _answer(request, kind, title, status, detail=error.detail, headers=error.headers, **error.members)


async def _on_unavailable(request: Request, error: Unavailable) -> Response:
    return await _on_problem(request, unavailable(error))


async def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    # Only place and message: `input` would send back what the client wrote, perhaps a secret in the wrong field.
    found = [{"place": ".".join(str(part) for part in each["loc"]), "message": str(each["msg"])} for each in error.errors()]
    detail = "; ".join(f"{each['place']}: {each['message']}" for each in found)
    return await _on_problem(request, ApiProblem("invalid", detail, errors=found))


async def _on_http(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        return await _on_problem(request, ApiProblem("not-found", f"there is nothing at {request.url.path}"))
    text = str(error.detail)
    if error.status_code == 405 and (allowed := _allowed(request)):
        return _answer(request, "about:blank", text, 405, detail=f"allowed here: {allowed}", headers={"Allow": allowed})
    return _answer(request, "about:blank", text, error.status_code, detail=text, headers=error.headers)


def _allowed(request: Request) -> str:
    """Every method of the path; the framework names those of one of its routes only."""
    paths = request.app.openapi()["paths"]
    path = paths.get(request.url.path) or paths.get(getattr(request.scope.get("route"), "path", ""), {})
    methods = {method.upper() for method in path}
    return ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("request_failed", path=request.url.path, exc_info=error)
    return _answer(request, "about:blank", "Internal error", 500, detail="the service failed; its log says why")
