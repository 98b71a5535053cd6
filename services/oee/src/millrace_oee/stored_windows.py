"""Documents of windows as the database holds them: the last revision of each."""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.assets import LINE_ITSELF
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.messages import decode
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.stored_points import STOP_COLUMNS, stored_stops
from millrace_contract.runtime.influx import Influx, literal, quoted

from .calendar import TimeWindow


def read_window(influx: Influx, line: str, device: str | None, window: TimeWindow) -> OeeDocument | None:
    """What was published last of a window; None where nothing was.

    Raises Unavailable, Refused or QueryFailed; Malformed for a document of a newer version.
    """
    query = (
        f"SELECT document_text FROM oee_window WHERE line = {literal(line)} AND device = {literal(device or LINE_ITSELF)} "  # noqa: S608
        f"AND kind = {literal(window.kind)} AND time >= {window.start_ms}ms AND time < {window.start_ms + 1}ms"
    )
    for series in influx.query(PRODUCTION_BUCKET, query):
        for row in series.rows:
            document = decode(OeeDocument, str(row[-1]).encode())
            if document.window.id == window.id:
                return document
    return None


def read_stops(influx: Influx, line: str, device: str, from_ms: int, to_ms: int) -> Iterator[OeeInterval]:
    """What was published last of stops that began in [from, to). Raises Unavailable, Refused or QueryFailed."""
    query = (
        f"SELECT {', '.join(map(quoted, STOP_COLUMNS))} FROM oee_interval WHERE line = {literal(line)} AND "  # noqa: S608 - quoted
        f"device = {literal(device)} AND kind = 'stop' AND time >= {from_ms}ms AND time < {to_ms}ms"
    )
    for series in influx.query(PRODUCTION_BUCKET, query):
        yield from stored_stops(series.columns, series.rows)
