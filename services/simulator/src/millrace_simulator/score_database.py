"""Reads from InfluxDB what the score compares: telemetry points slice by slice, numbers of streams, and the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator

from millrace_contract.language.field_names import SEQ_FIELD, STREAM_FIELD
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET, UNDECLARED
from millrace_contract.language.stored_points import stored_messages
from millrace_contract.plant import PlantModel
from millrace_contract.runtime.influx import Influx, literal, quoted
from millrace_contract.store_forward.ranges import RangeSet

from .score import ScoredPoint
from .score_figures import StoredParts, StoredState

MARGIN_MS = 3_600_000
"""Numbers of messages from this long before the score's beginning are read, too: two devices' messages may overtake each other."""
SLICE_MS = 600_000


class StoredPlant:
    """What the database holds of a plant. Raises Unavailable, Refused or QueryFailed."""

    def __init__(self, influx: Influx, plant: PlantModel) -> None:
        self._influx = influx
        self._measurements = [*sorted({device.profile for device in plant.devices.values()}), UNDECLARED]
        self.seqs: dict[str, RangeSet] = {}
        """Numbers that were seen, by stream: of telemetry from `points` and `note_numbers`, and of ledger entries."""
        self.ledger: dict[str, RangeSet] = {}

    def points(self, from_ms: int, to_ms: int) -> Iterator[ScoredPoint]:
        """Telemetry points with from_ms <= time < to_ms, in order of time within a measurement and device."""
        for measurement in self._measurements:
            query = f'SELECT *::field FROM {quoted(measurement)} WHERE {_between(from_ms, to_ms)} GROUP BY "device"'  # noqa: S608
            for series in self._influx.query(TELEMETRY_BUCKET, query):
                for message in stored_messages(series.columns, series.rows):
                    self._note(message.stream, message.seq)
                    yield ScoredPoint(
                        message.timestamp_ms, series.tags.get("device", ""), message.stream, message.seq, message.readings
                    )

    def note_numbers(self, from_ms: int, to_ms: int) -> None:
        """Take note of the numbers of points in this time without looking at them."""
        for start_ms in range(from_ms, to_ms, SLICE_MS):
            end_ms = min(start_ms + SLICE_MS, to_ms)
            for measurement in self._measurements:
                self._note_series(TELEMETRY_BUCKET, measurement, _between(start_ms, end_ms))

    def note_ledger(self, from_ms: int) -> None:
        """Take note of what ledger entries say is lost, and of the entries' own numbers: they travel in the same streams."""
        condition = f"time >= {from_ms}ms"
        self._note_series(PRODUCTION_BUCKET, "ledger", condition)
        query = f'SELECT "lost_stream_text","lost_seqs_text" FROM "ledger" WHERE {condition}'  # noqa: S608
        for series in self._influx.query(PRODUCTION_BUCKET, query):
            for _, stream, seqs in series.rows:
                lost = self.ledger.setdefault(stream or "", RangeSet())
                for first, last in json.loads(seqs or "[]"):
                    lost.add(int(first), int(last))

    def states(self, from_ms: int) -> dict[str, list[StoredState]]:
        """OEE's state intervals by device, in order of their start; withdrawn ones left out."""
        fields = '"state_text","end_ms","withdrawn"'
        query = f'SELECT {fields} FROM "oee_interval" WHERE "kind" = \'state\' AND time >= {from_ms}ms GROUP BY "device"'  # noqa: S608
        return {
            series.tags["device"]: [
                StoredState(int(start), None if end is None else int(end), str(state))
                for start, state, end, withdrawn in series.rows
                if not withdrawn
            ]
            for series in self._influx.query(PRODUCTION_BUCKET, query)
        }

    def hours(self, from_ms: int, to_ms: int) -> dict[str, list[StoredParts]]:
        """The parts that OEE counted in the hours that lie inside these times, by device."""
        fields = '"window_end_ms","parts_total"'
        condition = f"\"kind\" = 'hour' AND {_between(from_ms, to_ms)}"
        query = f'SELECT {fields} FROM "oee_window" WHERE {condition} GROUP BY "device"'  # noqa: S608
        return {
            series.tags["device"]: [
                StoredParts(int(start), int(end), int(total))
                for start, end, total in series.rows
                if end is not None and end <= to_ms
            ]
            for series in self._influx.query(PRODUCTION_BUCKET, query)
        }

    def has_older(self, stream: str, before_ms: int) -> bool:
        """Whether the stream has points before this instant. Reads everything that is older: ask only when it matters."""
        names = ",".join(quoted(measurement) for measurement in self._measurements)
        condition = f"time < {before_ms}ms AND {quoted(STREAM_FIELD)} = {literal(stream)}"
        query = f"SELECT {quoted(SEQ_FIELD)},{quoted(STREAM_FIELD)} FROM {names} WHERE {condition} LIMIT 1"  # noqa: S608
        return any(series.rows for series in self._influx.query(TELEMETRY_BUCKET, query))

    def _note_series(self, bucket: str, measurement: str, condition: str) -> None:
        fields = f"{quoted(STREAM_FIELD)},{quoted(SEQ_FIELD)}"
        query = f"SELECT {fields} FROM {quoted(measurement)} WHERE {condition}"  # noqa: S608
        for series in self._influx.query(bucket, query):
            for _, stream, seq in series.rows:
                self._note(stream, None if seq is None else int(seq))

    def _note(self, stream: str | None, seq: int | None) -> None:
        if stream is not None and seq is not None:
            self.seqs.setdefault(stream, RangeSet()).add(seq, seq)


def _between(from_ms: int, to_ms: int) -> str:
    return f"time >= {from_ms}ms AND time < {to_ms}ms"
