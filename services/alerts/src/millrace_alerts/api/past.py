"""Readings that the database has of a device, wherever it stood, whatever profile it had and whether or not it is still there."""

from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from itertools import islice

from millrace_contract.language.assets import signal_problem
from millrace_contract.language.measurements import MEASUREMENTS
from millrace_contract.language.stored_points import reading_fields, stored_messages
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Quality
from millrace_contract.runtime.influx import Series, literal, quoted

from .device_models import Point

Ask = Callable[[str], list[Series]]
"""A query of the bucket of readings."""


def raw(ask: Ask, device: str, signal: str, span: range, limit: int) -> list[Point]:
    """The first readings of the span in order of time, at most so many."""
    query = f"{_selected(reading_fields([signal]), device)} AND {_within(span)} LIMIT {limit}"
    by_profile = (stored_messages(each.columns, each.rows) for each in _of_profiles(ask(query)))
    in_order = merge(*by_profile, key=lambda message: message.timestamp_ms)
    return [
        Point(
            time=format_timestamp(message.timestamp_ms),
            value=message.readings.get(signal),
            quality=message.quality.get(signal, Quality.GOOD),
        )
        for message in islice(in_order, limit)
    ]


def buckets(ask: Ask, device: str, signal: str, span: range, every_ms: int) -> list[Point]:
    """Mean, least, most, last and number of the readings of each step that has some."""
    field = quoted(signal)
    columns = f"mean({field}), min({field}), max({field}), last({field}), count({field})"
    query = f"SELECT {columns} FROM /.*/ WHERE device = {literal(device)} AND {_within(span)}"  # noqa: S608 - quoted
    found: dict[int, Point] = {}
    for series in _of_profiles(ask(f"{query} GROUP BY time({every_ms}ms) fill(none)")):
        for at_ms, mean, least, most, last, count in series.rows:
            if count:
                point = Point(time=format_timestamp(int(at_ms)), mean=mean, min=least, max=most, last=last, count=count)
                found[at_ms] = _together(found[at_ms], point) if at_ms in found else point
    return [found[at_ms] for at_ms in sorted(found)]


def has(ask: Ask, device: str, signal: str) -> bool:
    """Whether there is any reading of this signal, or of any where no signal can be called so."""
    if signal_problem(signal) is not None:
        return False
    return any(True for _ in _of_profiles(ask(f"{_selected(reading_fields([signal]), device)} LIMIT 1")))


def _selected(fields: Iterable[str], device: str) -> str:
    # A device's id is its own in the plant, so neither line nor profile need be known: both may have been others.
    return f"SELECT {', '.join(map(quoted, fields))} FROM /.*/ WHERE device = {literal(device)}"  # noqa: S608 - quoted


def _within(span: range) -> str:
    return f"time >= {span.start}ms AND time < {span.stop}ms"


def _of_profiles(found: Iterable[Series]) -> Iterator[Series]:
    """Without what is no reading: lags and OEE of the shift in progress stand in the same bucket."""
    return (each for each in found if each.name not in MEASUREMENTS)


def _together(one: Point, other: Point) -> Point:
    """A step in which the device had two profiles; the last reading is that of either."""
    mine, theirs = one.count or 0, other.count or 0
    return Point(
        time=one.time,
        mean=((one.mean or 0) * mine + (other.mean or 0) * theirs) / (mine + theirs),
        min=min(each.min for each in (one, other) if each.min is not None),
        max=max(each.max for each in (one, other) if each.max is not None),
        last=other.last,
        count=mine + theirs,
    )
