"""The operator page: its files, and one stream with everything that it shows."""

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from millrace_contract.language.times import format_timestamp

from .access import Credentials, authenticate
from .context import Ctx
from .overview import FRESH_S, Overview
from .page_words import words_script, words_style
from .streams import Turn

router = APIRouter(include_in_schema=False)

LEAST_PAUSE_S = 1.0
PULSE_S = 5.0
"""The page gets something at least so often, so that it can tell a quiet plant from a lost connection."""

_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_MADE = {"words.js": (words_script, "text/javascript; charset=utf-8"), "words.css": (words_style, "text/css; charset=utf-8")}
_CONTENTS = {name: (files("millrace_alerts") / "web" / file).read_bytes() for name, (file, _) in _FILES.items()}
_CONTENTS |= {name: make().encode() for name, (make, _) in _MADE.items()}
_TYPES = {name: kind for name, (_, kind) in (*_FILES.items(), *_MADE.items())}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def _file(name: str) -> Response:
    return Response(_CONTENTS[name], headers={**_HEADERS, "Content-Type": _TYPES[name]})


@router.get("/")
def index() -> Response:
    return _file("")


@router.get("/page.js")
def script() -> Response:
    return _file("page.js")


@router.get("/page.css")
def style() -> Response:
    return _file("page.css")


@router.get("/words.js")
def words() -> Response:
    return _file("words.js")


@router.get("/words.css")
def looks() -> Response:
    return _file("words.css")


@router.get("/icon.svg")
def icon() -> Response:
    return _file("icon.svg")


def _overview(request: Request) -> Overview:
    overview: Overview = request.app.state.overview
    return overview


Shown = Annotated[Overview, Depends(_overview)]


def _may_look(context: Ctx, credentials: Credentials) -> None:
    """Anybody where the page is public; else who has a token with the scope read."""
    if not context.settings.page_anonymous:
        authenticate(context, credentials, "read")


@router.get("/page/stream", response_class=EventSourceResponse)
async def stream(
    context: Ctx, overview: Shown, _allowed: Annotated[None, Depends(_may_look)], turn: Turn
) -> AsyncIterator[ServerSentEvent]:
    """What the page shows: all of it first, then only the parts that changed, and a pulse in between."""
    sent: dict[str, str] = {}
    while turn.may_go_on():
        rung, heard_s = context.bell.next(), context.clock.monotonic_s()
        parts, made_s = await to_thread.run_sync(overview.parts)
        changed = {name: part for name, part in parts.items() if sent.get(name) != part}
        sent = parts
        body = ",".join(f"{json.dumps(name)}:{part}" for name, part in changed.items())
        now = format_timestamp(context.clock.now_ms())
        yield ServerSentEvent(event="parts", raw_data=f'{{"now":"{now}","parts":{{{body}}}}}')
        if made_s < heard_s:  # What was shared may be older than the last ring, so look once more.
            await asyncio.sleep(FRESH_S)
            continue
        if await turn.rung(rung, PULSE_S):
            await asyncio.sleep(LEAST_PAUSE_S)
