"""The application: its routes, its errors, its description."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from . import (
    actions,
    alerts,
    bulk,
    devices,
    docs_page,
    entries,
    events,
    health,
    kpis,
    losses,
    oee,
    page,
    periods,
    problems,
    readings,
    rules,
)
from .bodies import Bodies
from .context import Context
from .counted_requests import CountedRequests
from .description import describe
from .encoded_events import EncodedEvents
from .head_requests import HeadRequests
from .host_names import HostNames
from .overview import Overview
from .query_parameters import AllKnown

MAX_BODY_BYTES = 64 * 1024
STREAMS = frozenset({"/v1/alerts/stream", "/page/stream"})
BEAT_S = 1.0

DESCRIPTION = """
Alerts with the life cycle of ISA-18.2, devices, readings and OEE, for an MES and for people.

* Times are RFC 3339 in UTC with milliseconds. Requests may use any offset, but must have one.
* Every `/v1` request needs a token: `Authorization: Bearer <token>`, with a scope: `read`, `ack`, `shelve`, `write`, `configure`.
* A command names the version that was seen (`If-Match`), may carry an `Idempotency-Key`, and becomes an event.
* To follow what happens, poll `/v1/alert-events?after=<cursor>` or listen to `/v1/alerts/stream`: no gaps, no repeats. After
  the store was restored or lost, older cursors are answered 410 with the place to go on from.
* What is entered (orders, reasons of stops, scrap and rework) has an id that you give: a repeat is done once, the next `version`
  replaces it, and `DELETE /v1/entries/{id}` takes it back.
* Errors are `application/problem+json` (RFC 9457) with a stable `type`.
"""


def create_app(context: Context) -> FastAPI:
    """One process, one application: it reads the store and hands commands to the engine."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        context.bell.attach(asyncio.get_running_loop())
        beating = asyncio.create_task(_beat(context))
        yield
        beating.cancel()
        context.bell.detach()
        context.heartbeats.retire("api")

    app = FastAPI(
        title="Millrace alerts",
        version=version("millrace-alerts"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    app.state.overview = Overview(context)
    app.state.encoded = EncodedEvents(context.reader)
    # The last that is added is the first that a request meets.
    app.add_middleware(Bodies, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(HeadRequests, but_not=STREAMS)
    app.add_middleware(HostNames, names=context.settings.names)
    app.add_middleware(CountedRequests)
    problems.install(app)
    # The stream and the figures come first: their paths would otherwise be ids of alerts.
    first, then = (
        (events, kpis),
        (alerts, bulk, actions, devices, readings, oee, losses, periods, entries, rules, health, page, docs_page),
    )
    for part in (*first, *then):
        app.include_router(part.router, dependencies=[AllKnown])
    describe(app)
    return app


async def _beat(context: Context) -> None:
    while True:
        context.heartbeats.beat("api")
        await asyncio.sleep(BEAT_S)
