"""The events of all alerts: a feed without gaps to be polled, and the same as a stream."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from ..feed import CURSOR_PATTERN, Cursor, parse_cursor
from .access import Reads
from .alert_models import EventList, event_resource
from .context import Context, Ctx
from .encoded_events import EncodedEvents
from .examples import CURSOR
from .paging import next_link
from .problems import ApiProblem, answers
from .streams import Turn

router = APIRouter(tags=["events"], responses=answers("unauthorized", "forbidden"))

REFUSED = answers("bad-request", "feed-restarted", "events-archived")
_AFTER = "the `cursor` of an answer, or the last seq that you have; 0 begins with the first"


@router.get("/v1/alert-events", responses=answers("feed-restarted", "events-archived", "invalid"))
def list_events(
    *,
    request: Request,
    response: Response,
    context: Ctx,
    _client: Reads,
    after: Annotated[str, Query(pattern=CURSOR_PATTERN, description=_AFTER, examples=[CURSOR])] = "0",
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    alert_id: Annotated[str | None, Query(max_length=130, description="of this alert only; the seq then has gaps")] = None,
) -> EventList:
    """Events after a place in the feed, in order. Nothing is repeated and nothing left out, however long you were away."""
    begin = _checked(context, parse_cursor(after))
    feed = context.reader.feed()
    last_seq = context.reader.last_event_seq()
    found = context.reader.events(begin.seq, limit, alert_id)
    cursor = str(feed.cursor(found[-1].event.event_seq if found else begin.seq))
    if len(found) == limit:
        response.headers.update(next_link(request, after=cursor))
    return EventList(
        items=[event_resource(stored) for stored in found],
        cursor=cursor,
        last_seq=last_seq,
        archived_to=context.reader.archived_to(),
    )


def _checked(context: Context, cursor: Cursor) -> Cursor:
    """Raises ApiProblem 410 for a place that this store's feed does not go on from."""
    again = context.reader.where_to_go_on(cursor)
    if again is None:
        return cursor
    archived = context.reader.archived_to()
    if again.seq == archived and cursor.epoch in {None, *context.reader.feed().epochs} and cursor.seq < archived:
        detail = (
            f"the events up to number {archived} have left the feed for the archive on the server (millrace-alerts archive --after "
            f"{cursor.seq} prints what you miss): go on after {again}"
        )
        raise ApiProblem("events-archived", detail, cursor=str(again))
    rest = f"what you have beyond number {again.seq} is in the feed no more" if again.seq else "it begins with the first event"
    detail = (
        f"the store of alerts was restored from a backup, or lost, since {cursor} was given: the feed does not go on from there; "
        f"go on after {again}, from where you miss nothing that there is: {rest}"
    )
    raise ApiProblem("feed-restarted", detail, cursor=str(again))


def _begin_after(
    context: Ctx, last_event_id: Annotated[str | None, Header(description="resume after the event with this id")] = None
) -> Cursor:
    # Found before the answer begins: whoever has its first byte misses nothing that happens later.
    if last_event_id is None:
        return context.reader.feed().cursor(context.reader.last_event_seq())
    try:
        return context.reader.feed().cursor(_checked(context, parse_cursor(last_event_id)).seq)
    except ValueError as error:
        raise ApiProblem("bad-request", f"Last-Event-ID: {error}") from error


@router.get(
    "/v1/alerts/stream", response_class=EventSourceResponse, responses=answers("bad-request", "feed-restarted", "events-archived")
)
async def stream_events(
    request: Request, context: Ctx, _client: Reads, turn: Turn, after: Annotated[Cursor, Depends(_begin_after)]
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `id` is a cursor, `data` an event as in /v1/alert-events. Without Last-Event-ID it begins now."""
    encoded: EncodedEvents = request.app.state.encoded
    seq, epoch = after.seq, after.epoch or ""
    while turn.may_go_on():
        rung = context.bell.next()  # Taken before reading: what is committed from here on rings it.
        found = await encoded.after(epoch, seq, rung)
        for event_seq, event in found:
            seq = event_seq
            yield event
        if not found:
            await turn.rung(rung)
