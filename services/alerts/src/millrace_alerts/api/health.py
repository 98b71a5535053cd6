"""Health and metrics in the same server: does the service turn, can it work, what are its figures."""

import json
from ipaddress import ip_address
from typing import Any

from fastapi import APIRouter, Request, Response

from millrace_contract.runtime.health import live_answer, ready_answer
from millrace_contract.runtime.metrics import CONTENT_TYPE, exposition

from .access import Credentials, authenticate
from .context import Ctx

router = APIRouter(tags=["health"])

_NOT_WELL: dict[int | str, dict[str, Any]] = {
    503: {"description": "not so, with what is missing", "content": {"application/json": {}}}
}


@router.get("/health/live", responses=_NOT_WELL)
async def live(context: Ctx) -> Response:
    """200 while the service does its own work: its loops turn, and no step of its own has failed for a minute."""
    status, body = live_answer(context.heartbeats)
    return Response(json.dumps(body), status, media_type="application/json")


@router.get("/health/ready", responses=_NOT_WELL)
async def ready(context: Ctx) -> Response:
    """200 when broker and store are there, 503 with what is missing."""
    status, body = ready_answer(context.readiness)
    return Response(json.dumps(body), status, media_type="application/json")


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request, context: Ctx, credentials: Credentials) -> Response:
    """For a token with the scope read, and without one for what runs on the same computer (in the same container)."""
    if request.client is None or not _is_loopback(request.client.host):
        authenticate(context, credentials, "read")
    return Response(exposition(), headers={"Content-Type": CONTENT_TYPE})


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # what a proxy calls its client
        return False
