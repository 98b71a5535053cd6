"""Samples of a machine read back from InfluxDB: for gaps and for recomputing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from millrace_contract.language.entries import PlacedEntry
from millrace_contract.language.field_names import (
    HOLD_FIELD,
    PREV_FIELD,
    SEQ_FIELD,
    STREAM_FIELD,
    UNREACHABLE_FIELD,
    quality_field,
)
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.stored_points import ENTRY_COLUMNS, message_fields, reading_fields, stored_entries, stored_messages
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.words import Leaf
from millrace_contract.runtime.influx import Influx, literal, quoted

from .gaps import BEFORE_ALL, Gap, Link
from .machine import LATENESS_MS, Machine
from .samples import Sample
from .stored_samples import stored_samples

PAGE_MS = 6 * 3_600_000
BASELINE_STEPS_MS = (3_600_000, 24 * 3_600_000, 30 * 24 * 3_600_000, 3650 * 24 * 3_600_000)


def read_messages(influx: Influx, machine: Machine, from_ms: int, to_ms: int) -> Iterator[Telemetry]:
    """The machine's messages of [from, to], with the readings that OEE needs, in order of time.

    Raises Unavailable, Refused or QueryFailed.
    """
    for where in _pages(from_ms, to_ms):
        yield from _messages(influx, machine, where, "ASC")


def read_samples(influx: Influx, machine: Machine, from_ms: int, to_ms: int) -> Iterator[Iterator[Sample]]:
    """The machine's samples of [from, to], in order of time, a page at a time. Raises as `read_messages`."""
    fields = [*reading_fields(machine.signals), HOLD_FIELD, UNREACHABLE_FIELD]
    for where in _pages(from_ms, to_ms):
        series = influx.query(TELEMETRY_BUCKET, _query(machine, fields, where, "ASC"))
        yield (sample for each in series for sample in stored_samples(machine, each.columns, each.rows))


def read_links(influx: Influx, gap: Gap, from_ms: int, to_ms: int) -> list[Link]:
    """What the database holds of a gap's messages of [from, to], wherever the device stood and whatever profile it had then.

    At the beginning of a stream the missing message itself, of whatever time: it may be older than what was known.
    Raises Unavailable, Refused or QueryFailed.
    """
    if gap.after_seq == BEFORE_ALL and gap.missing_seq is not None:
        which = f"{quoted(SEQ_FIELD)} = {gap.missing_seq} AND time < {gap.before_ms + 1}ms"
    else:
        which = f"time >= {from_ms}ms AND time < {to_ms + 1}ms"
    query = (
        f"SELECT {', '.join(map(quoted, (STREAM_FIELD, SEQ_FIELD, PREV_FIELD)))} FROM /.*/ "  # noqa: S608 - quoted
        f"WHERE device = {literal(gap.device)} AND {quoted(STREAM_FIELD)} = {literal(gap.stream)} AND {which}"
    )
    return [
        Link(gap.device, gap.stream, message.seq, message.prev, message.timestamp_ms)
        for series in influx.query(TELEMETRY_BUCKET, query)
        for message in stored_messages(series.columns, series.rows)
        if message.seq is not None
    ]


def read_baseline_messages(influx: Influx, machine: Machine, before_ms: int) -> list[Telemetry]:
    """Messages before an instant, newest last, reaching back until every counter has a good reading, or nothing is left."""
    found: list[Telemetry] = []
    upper_ms = before_ms
    for step_ms in BASELINE_STEPS_MS:
        lower_ms = before_ms - step_ms
        while upper_ms > lower_ms:
            page = list(_messages(influx, machine, f"time >= {lower_ms}ms AND time < {upper_ms}ms", "DESC LIMIT 1000"))
            found += page
            if all(_is_known(found, machine.counters[role].signal) for role in machine.counters):
                return found[::-1]
            upper_ms = page[-1].timestamp_ms if len(page) == 1000 else lower_ms
    return found[::-1]


def read_lasting_stop(influx: Influx, machine: Machine, before_ms: int) -> list[Telemetry]:
    """Messages of the stop that lasted at an instant, from its beginning, with their states only; none where the machine ran.

    A stop that is older than figures may be revised is one that began then. Of a machine whose state no reading alone tells (it
    only counts, or runs above a limit of some quantity) nothing is read.
    """
    found: list[Telemetry] = []
    known_from_ms, upper_ms, lower_ms = before_ms, before_ms, before_ms - LATENESS_MS
    while upper_ms > lower_ms:
        page = list(_messages(influx, machine, f"time >= {lower_ms}ms AND time < {upper_ms}ms", "DESC LIMIT 1000"))
        for message in page:
            at = machine.at(message.timestamp_ms)
            if not at.state_signal or at.band is not None:
                return found[::-1]
            state = message.readings.get(at.state_signal)
            if state is None:
                continue
            holds_ms = at.stale_ms if message.hold_ms is None else message.hold_ms
            if at.leaves[at.state_name(state)] is not Leaf.UNPLANNED_STOP or message.timestamp_ms + holds_ms < known_from_ms:
                return found[::-1]
            known_from_ms = message.timestamp_ms
            found.append(msgspec.structs.replace(message, readings={at.state_signal: state}, seq=None, prev=None))
        if len(page) < 1000:
            break
        upper_ms = page[-1].timestamp_ms
    return found[::-1]


def read_until_counted(influx: Influx, machine: Machine, after_ms: int) -> Iterator[Telemetry]:
    """Messages after an instant, in order, until every counter was read: its step says what was made before, too."""
    missing = {counter.signal for counter in machine.at(after_ms).counters.values()}
    from_ms, until_ms = after_ms + 1, after_ms + LATENESS_MS
    while missing and from_ms < until_ms:
        page = list(_messages(influx, machine, f"time >= {from_ms}ms AND time < {until_ms}ms", "ASC LIMIT 1000"))
        for message in page:
            yield message
            missing -= {signal for signal in missing if signal in message.readings and signal not in message.quality}
            if not missing:
                return
        if len(page) < 1000:
            return
        from_ms = page[-1].timestamp_ms + 1


def read_entries(influx: Influx, from_ms: int = 0, to_ms: int | None = None) -> Iterator[PlacedEntry]:
    """Everything that people and MES entered in [from, to], of all lines and devices; what was corrected later is among it.

    Raises Unavailable, Refused or QueryFailed.
    """
    until = "" if to_ms is None else f" AND time < {to_ms + 1}ms"
    query = f"SELECT {', '.join(map(quoted, ENTRY_COLUMNS))} FROM context_event WHERE time >= {from_ms}ms{until}"  # noqa: S608
    for series in influx.query(PRODUCTION_BUCKET, query):
        yield from stored_entries(series.columns, series.rows)


def read_was_running(influx: Influx, machine: Machine, before_ms: int) -> bool | None:
    """Of a machine whose state is a quantity: on which side of its band the last good reading before then was that lay outside."""
    band = machine.band
    if band is None:
        return None
    name, quality = quoted(machine.state_signal), quoted(quality_field(machine.state_signal))
    query = (
        f"SELECT {name}, {quality} FROM {quoted(machine.measurement)} WHERE line = {literal(machine.line)} "  # noqa: S608 - quoted
        f"AND device = {literal(machine.id)} AND time < {before_ms}ms AND ({name} > {band.above!r} OR {name} < {band.below!r}) "
        "ORDER BY time DESC LIMIT 100"
    )
    for series in influx.query(TELEMETRY_BUCKET, query):
        for _, value, word in series.rows:
            if word is None and isinstance(value, int | float):
                return float(value) > band.above
    return None


def _is_known(messages: Sequence[Telemetry], signal: str) -> bool:
    return any(signal in message.readings and signal not in message.quality for message in messages)


def _pages(from_ms: int, to_ms: int) -> Iterator[str]:
    for page_ms in range(from_ms, to_ms + 1, PAGE_MS):
        # Up to the next millisecond: a point may lie a few nanoseconds behind its own.
        yield f"time >= {page_ms}ms AND time < {min(page_ms + PAGE_MS, to_ms + 1)}ms"


def _messages(influx: Influx, machine: Machine, where: str, order: str) -> Iterator[Telemetry]:
    for series in influx.query(TELEMETRY_BUCKET, _query(machine, message_fields(machine.signals), where, order)):
        yield from stored_messages(series.columns, series.rows)


def _query(machine: Machine, fields: Sequence[str], where: str, order: str) -> str:
    return (
        f"SELECT {', '.join(map(quoted, fields))} FROM {quoted(machine.measurement)} "  # noqa: S608 - quoted
        f"WHERE line = {literal(machine.line)} AND device = {literal(machine.id)} AND {where} ORDER BY time {order}"
    )
