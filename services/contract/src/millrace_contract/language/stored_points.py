"""What `points.py` wrote, read back: columns and rows of the database become messages and readings again (contracts.md 2.6).

A row says of a message what the database keeps of it: its time, readings, qualities, identity and how long it holds. Tags, the
device and whether it was backfill are not among the fields. Pure: queries are the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import Malformed
from .assets import LINE_ITSELF
from .entries import PlacedEntry, decode_entry
from .field_names import (
    HOLD_FIELD,
    PREV_FIELD,
    QUALITY_SUFFIX,
    SEQ_FIELD,
    STREAM_FIELD,
    TEXT_SUFFIX,
    UNREACHABLE_FIELD,
    quality_field,
    text_field,
)
from .measurements import MEASUREMENTS
from .oee_messages import OeeInterval, StopPiece
from .telemetry import Telemetry, Value
from .times import format_timestamp
from .words import IntervalKind, Leaf, MachineState, Quality

_SOURCE = re.compile(rb"(?P<measurement>(?:\\.|[^\\, ])+)(?:,(?:\\.|[^\\, ])+)*?,device=(?P<device>(?:\\.|[^\\, ])+)")
_pieces = msgspec.json.Decoder(list[StopPiece])
_QUALITIES = {str(word): word for word in Quality}


def reading_fields(signals: Iterable[str]) -> list[str]:
    """The fields that hold everything about these signals."""
    return [field for signal in dict.fromkeys(signals) for field in (signal, text_field(signal), quality_field(signal))]


def message_fields(signals: Iterable[str]) -> list[str]:
    """The same, and those of the message as a whole."""
    return [*reading_fields(signals), STREAM_FIELD, SEQ_FIELD, PREV_FIELD, HOLD_FIELD, UNREACHABLE_FIELD]


@dataclass(slots=True)
class SignalColumns:
    """Where in a row the parts of one signal stand; None: the answer has no such column."""

    number_at: int | None = None
    text_at: int | None = None
    quality_at: int | None = None


class StoredColumns:
    """The columns of an answer, of which the first is the time. `hold_at`: where it stands how long the row's readings hold."""

    def __init__(self, columns: Sequence[str]) -> None:
        places = {name: place for place, name in enumerate(columns)}
        self.hold_at = places.get(HOLD_FIELD)
        self._unreachable_at = places.get(UNREACHABLE_FIELD)
        self.signals: dict[str, SignalColumns] = {}
        self._identity_at = (places.get(STREAM_FIELD), places.get(SEQ_FIELD), places.get(PREV_FIELD))
        for place, name in enumerate(columns[1:], start=1):
            if name.startswith("_"):
                continue
            if name.endswith(TEXT_SUFFIX):
                self._of(name.removesuffix(TEXT_SUFFIX)).text_at = place
            elif name.endswith(QUALITY_SUFFIX):
                self._of(name.removesuffix(QUALITY_SUFFIX)).quality_at = place
            else:
                self._of(name).number_at = place

    def message(self, row: Sequence[Any]) -> Telemetry:
        """What the row says of its message. Times are milliseconds: what a point has below one is cut off."""
        readings: dict[str, Value] = {}
        quality: dict[str, Quality] = {}
        for signal, at in self.signals.items():
            if at.number_at is not None and (number := row[at.number_at]) is not None:
                readings[signal] = float(number)
            if at.text_at is not None and (text := row[at.text_at]) is not None:
                readings[signal] = str(text)
            if at.quality_at is not None and (word := row[at.quality_at]) is not None:
                # What no set has is a newer version's: whatever it means, it is not good.
                quality[signal] = _QUALITIES.get(word, Quality.UNCERTAIN)
        stream, seq, prev = (None if place is None else row[place] for place in self._identity_at)
        hold_ms = None if self.hold_at is None else row[self.hold_at]
        return Telemetry(
            timestamp_ms=int(row[0]),
            readings=readings,
            quality=quality,
            tags={},
            stream=None if stream is None else str(stream),
            seq=None if seq is None else int(seq),
            prev=None if prev is None else int(prev),
            hold_ms=None if hold_ms is None else int(hold_ms),
            unreachable=self._unreachable_at is not None and bool(row[self._unreachable_at]),
        )

    def _of(self, signal: str) -> SignalColumns:
        return self.signals.setdefault(signal, SignalColumns())


def stored_messages(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[Telemetry]:
    """The messages of an answer's rows, in their order."""
    stored = StoredColumns(columns)
    for row in rows:
        yield stored.message(row)


ENTRY_COLUMNS = ("line", "device", "document_text")


def stored_entries(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[PlacedEntry]:
    """The entries of an answer that has ENTRY_COLUMNS. One with a word of a newer version says nothing here, as on its topic."""
    line_at, device_at, document_at = (list(columns).index(name) for name in ENTRY_COLUMNS)
    for row in rows:
        device = str(row[device_at])
        with suppress(Malformed):
            entry = decode_entry(str(row[document_at]).encode())
            yield PlacedEntry(str(row[line_at]), None if device == LINE_ITSELF else device, entry)


STOP_COLUMNS = (
    "line", "device", "id_text", "state_text", "leaf_text", "reason_text", "reason_by_text", "attributed_to_text", "pieces_text",
    "end_ms", "planned_ms", "pending", "revision",
)  # fmt: skip


def stored_stops(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[OeeInterval]:
    """The stops of an answer that has STOP_COLUMNS, in the order of its rows; what better knowledge did away with is left out."""
    at = {name: list(columns).index(name) for name in STOP_COLUMNS}
    for row in rows:
        told = {name: row[place] for name, place in at.items()}
        start, end_ms = format_timestamp(int(row[0])), told["end_ms"]
        if end_ms is not None and int(end_ms) == int(row[0]):
            continue
        end = None if end_ms is None else format_timestamp(int(end_ms))
        yield OeeInterval(
            id=str(told["id_text"]),
            device_id=str(told["device"]),
            line=str(told["line"]),
            kind=IntervalKind.STOP,
            state=MachineState(told["state_text"]),
            leaf=Leaf(told["leaf_text"]),
            start=start,
            timestamp=end or start,
            end=end,
            reason=told["reason_text"] or None,
            reason_by=told["reason_by_text"] or None,
            attributed_to=told["attributed_to_text"] or None,
            pieces=_pieces.decode(told["pieces_text"]) if told["pieces_text"] else [],
            pending=bool(told["pending"]),
            planned_ms=None if told["planned_ms"] is None else int(told["planned_ms"]),
            revision=int(told["revision"] or 1),
        )


def line_time_ms(line: bytes) -> int:
    """The time of a line of points.py."""
    return int(line.rpartition(b" ")[2]) // 1_000_000


def line_device(line: bytes) -> str | None:
    """The device that sent what the line holds; None where no device sent it."""
    found = _SOURCE.match(line)
    if found is None or found["measurement"].decode() in MEASUREMENTS:
        return None
    return re.sub(r"\\(.)", r"\1", found["device"].decode())
