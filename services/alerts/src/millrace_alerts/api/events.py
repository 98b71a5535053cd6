"""The events of all alerts: a feed without gaps to be polled, and the same as a stream."""

from collections.abc import AsyncIterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from .access import Reads
from .context import Ctx
from .models import EventList, event_resource
from .paging import next_link
from .problems import ApiProblem, answers

router = APIRouter(tags=["events"], responses=answers("unauthorized", "forbidden"))

STREAM_BATCH = 200
MAX_SEQ = 10**18
"""Beyond any number of events, within what the store can compare."""


@router.get("/v1/alert-events", responses=answers("invalid"))
def list_events(
    *,
    request: Request,
    response: Response,
    context: Ctx,
    _client: Reads,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="the last seq that you have; 0 begins with the first")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    alert_id: Annotated[str | None, Query(max_length=130, description="of this alert only; the seq then has gaps")] = None,
) -> EventList:
    """Events after a seq, in order. Nothing is repeated and nothing left out, however long you were away."""
    last_seq = context.reader.last_event_seq()
    found = context.reader.events(after, limit, alert_id)
    if len(found) == limit:
        response.headers.update(next_link(request, after=found[-1].event.event_seq))
    return EventList(items=[event_resource(stored) for stored in found], last_seq=last_seq)


def _begin_after(context: Ctx, last_event_id: Annotated[str | None, Header(description="resume after this seq")] = None) -> int:
    # Found before the answer begins: whoever has its first byte misses nothing that happens later.
    if last_event_id is None:
        return context.reader.last_event_seq()
    if not last_event_id.isascii() or not last_event_id.isdecimal() or len(last_event_id) > 18:
        raise ApiProblem("bad-request", "Last-Event-ID: send the id of the last event that you have, a number")
    return int(last_event_id)


@router.get("/v1/alerts/stream", response_class=EventSourceResponse, responses=answers("bad-request"))
async def stream_events(
    context: Ctx, _client: Reads, after: Annotated[int, Depends(_begin_after)]
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `id` is the seq, `data` an event as in /v1/alert-events. Without Last-Event-ID it begins now."""
    reader = context.reader
    seq = after
    while not context.bell.is_closing:
        rung = context.bell.next()  # Taken before reading: what is committed from here on rings it.
        found = await to_thread.run_sync(reader.events, seq, STREAM_BATCH)
        for stored in found:
            seq = stored.event.event_seq
            yield ServerSentEvent(data=event_resource(stored), event="alert", id=str(seq))
        if not found:
            await rung.wait()
