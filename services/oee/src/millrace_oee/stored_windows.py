"""Documents of windows as the database holds them: the last revision of each."""

from __future__ import annotations

from millrace_contract.language.assets import LINE_ITSELF
from millrace_contract.language.messages import OeeDocument, decode
from millrace_contract.language.points import PRODUCTION_BUCKET
from millrace_contract.runtime.influx import Influx, literal

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
