"""Raw readings as the database holds them: which devices there are, and what one of them said in a stretch of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from millrace_contract.language.field_names import HOLD_FIELD, quality_field
from millrace_contract.language.measurements import MEASUREMENTS, TELEMETRY_BUCKET
from millrace_contract.language.stored_points import StoredColumns
from millrace_contract.runtime.influx import Queries, Series, quoted

from .windows import RawSample

RECENT_ROWS = 256
"""Rows looked through for the nearest good reading of a counter."""


@dataclass(frozen=True, slots=True, order=True)
class RawSource:
    """The readings of one device under one measurement: its profile's name, or `undeclared`."""

    measurement: str
    device: str


Signals = dict[str, list[RawSample]]
"""Signal -> its samples in order of time."""


def sources(reader: Queries) -> list[RawSource]:
    """Every device that has raw readings."""
    found = reader.query(TELEMETRY_BUCKET, 'SHOW TAG VALUES WITH KEY = "device"')
    return sorted(RawSource(one.name, str(row[1])) for one in found if one.name not in MEASUREMENTS for row in one.rows)


def oldest_ms(reader: Queries, measurements: Iterable[str]) -> int | None:
    """The time of the first raw reading of all."""
    firsts = [f"SELECT *::field FROM {quoted(name)} ORDER BY time ASC LIMIT 1" for name in measurements]  # noqa: S608 - quoted
    return min((int(one.rows[0][0]) for text in firsts for one in reader.query(TELEMETRY_BUCKET, text)), default=None)


def read(reader: Queries, source: RawSource, start_ms: int, end_ms: int) -> dict[str, Signals]:
    """Line -> its signals, with readings in [start, end)."""
    text = f"SELECT *::field FROM {_of(source, start_ms, end_ms)} GROUP BY line"  # noqa: S608 - quoted, numbers
    return {one.tags["line"]: _signals(one) for one in reader.query(TELEMETRY_BUCKET, text, device=source.device)}


def has_promises(reader: Queries, source: RawSource, start_ms: int, end_ms: int) -> bool:
    """Whether a sender said in [start, end) how long its readings hold."""
    condition = f"{_of(source, start_ms, end_ms)} AND {quoted(HOLD_FIELD)} > 0"
    text = f"SELECT {quoted(HOLD_FIELD)} FROM {condition} LIMIT 1"  # noqa: S608 - quoted, numbers
    return bool(reader.query(TELEMETRY_BUCKET, text, device=source.device))


def nearest_good(
    reader: Queries, source: RawSource, line: str, signal: str, between: tuple[int, int], *, last: bool
) -> RawSample | None:
    """The first or last good sample of a signal in [start, end)."""
    columns = f"{quoted(signal)}, {quoted(quality_field(signal))}"
    order = f"ORDER BY time {'DESC' if last else 'ASC'} LIMIT {RECENT_ROWS}"
    text = f"SELECT {columns} FROM {_of(source, *between)} AND line = $line {order}"  # noqa: S608 - quoted, numbers
    for one in reader.query(TELEMETRY_BUCKET, text, device=source.device, line=line):
        for time_ms, value, quality in one.rows:
            if isinstance(value, int | float) and quality is None:
                return RawSample(int(time_ms), float(value))
    return None


def _of(source: RawSource, start_ms: int, end_ms: int) -> str:
    return f"{quoted(source.measurement)} WHERE device = $device AND time >= {start_ms}ms AND time < {end_ms}ms"


def _signals(series: Series) -> Signals:
    columns = StoredColumns(series.columns)
    signals = {
        name: _samples(series.rows, at.number_at, at.quality_at, columns.hold_at)
        for name, at in columns.signals.items()
        if at.number_at is not None or at.quality_at is not None
    }
    return {name: samples for name, samples in signals.items() if samples}


def _samples(rows: Sequence[Sequence[Any]], value_at: int | None, quality_at: int | None, hold_at: int | None) -> list[RawSample]:
    samples = []
    for row in rows:
        value = row[value_at] if value_at is not None else None
        quality = row[quality_at] if quality_at is not None else None
        if isinstance(value, int | float):
            hold_ms = row[hold_at] if hold_at is not None else None
            promised_ms = None if hold_ms is None else int(hold_ms)
            samples.append(RawSample(int(row[0]), float(value), not isinstance(quality, str), promised_ms))
        elif isinstance(quality, str):
            samples.append(RawSample(int(row[0]), None, good=False))
    return samples
