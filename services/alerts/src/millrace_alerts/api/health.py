"""Health and metrics in the same server: does the service turn, can it work, what are its figures."""

import json

from fastapi import APIRouter, Response

from millrace_contract.runtime.health import live_answer, ready_answer
from millrace_contract.runtime.metrics import CONTENT_TYPE, exposition

from .context import Ctx

router = APIRouter(tags=["health"])


@router.get("/health/live")
def live(context: Ctx) -> Response:
    """200 while the service does its own work: its loops turn, and no step of its own has failed for a minute."""
    status, body = live_answer(context.heartbeats)
    return Response(json.dumps(body), status, media_type="application/json")


@router.get("/health/ready")
def ready(context: Ctx) -> Response:
    """200 when broker and store are there, 503 with what is missing."""
    status, body = ready_answer(context.readiness)
    return Response(json.dumps(body), status, media_type="application/json")


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    return Response(exposition(), headers={"Content-Type": CONTENT_TYPE})
