"""A sample: what one telemetry message says about a machine's state and counters; and hours of samples as small blobs."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec

from millrace_contract.language.telemetry import Telemetry, Value
from millrace_contract.language.words import Quality

from .machine import BAD_STATE, UNCERTAIN_STATE, UNREACHABLE_STATE, Machine

MOST_PARTS = float(1 << 53)
"""Beyond this a reading, which is a float64, can't tell one part from the next; SQLite's integers would end at 2^63."""


NOT_GOOD = -1
"""In place of a counter whose reading was bad or uncertain."""
NOT_GOOD_STATES = frozenset({BAD_STATE, UNCERTAIN_STATE, UNREACHABLE_STATE})


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """State and counters at one event time; None where the message says nothing that can be trusted.

    `state` is the reading itself (a number or a text), so that a corrected profile gives corrected figures.
    """

    ts_ms: int
    state: Value | None = None
    total: int | None = None
    good: int | None = None
    reject: int | None = None
    hold_ms: int | None = None
    """How long the state is in force if nothing follows; None for the machine's `stale_ms`."""

    @property
    def empty(self) -> bool:
        return self.state is None and self.total is None and self.good is None and self.reject is None

    def count(self, role: str) -> int | None:
        """What the counter of this role showed; None where it was not read well."""
        value: int | None = getattr(self, role)
        return None if value == NOT_GOOD else value


def sample_of(machine: Machine, message: Telemetry) -> Sample:
    """What the message tells about this machine. Only a good reading counts; a bad state is knowledge too: it ends the last one."""
    return Sample(
        message.timestamp_ms,
        UNREACHABLE_STATE if message.unreachable else _state(machine, message),
        _count(machine, "total", message),
        _count(machine, "good", message),
        _count(machine, "reject", message),
        hold_ms=message.hold_ms,
    )


def merged(old: Sample, new: Sample) -> Sample:
    """Two samples of one instant, as the database merges them: signal by signal, the later write wins. Who said that a reading is
    not good is not contradicted by a good one, which says nothing of quality."""
    return Sample(
        new.ts_ms,
        _merged_state(old.state, new.state),
        _merged_count(old.total, new.total),
        _merged_count(old.good, new.good),
        _merged_count(old.reject, new.reject),
        old.hold_ms if new.hold_ms is None else new.hold_ms,
    )


def _merged_state(old: Value | None, new: Value | None) -> Value | None:
    if new is None or old is None:
        return old if new is None else new
    if UNREACHABLE_STATE in (old, new):
        return UNREACHABLE_STATE
    return old if old in NOT_GOOD_STATES and new not in NOT_GOOD_STATES else new


def _merged_count(old: int | None, new: int | None) -> int | None:
    if new is None or old is None:
        return old if new is None else new
    return NOT_GOOD if NOT_GOOD in (old, new) else new


def _state(machine: Machine, message: Telemetry) -> Value | None:
    quality = message.quality.get(machine.state_signal)
    if quality is not None:
        return BAD_STATE if quality is Quality.BAD else UNCERTAIN_STATE
    value = message.readings.get(machine.state_signal)
    return BAD_STATE if value in NOT_GOOD_STATES else value


def _count(machine: Machine, role: str, message: Telemetry) -> int | None:
    settings = machine.counters.get(role)
    if settings is None:
        return None
    if settings.signal in message.quality:
        return NOT_GOOD
    value = message.readings.get(settings.signal)
    if not isinstance(value, float) or not value.is_integer() or not 0 <= value <= MOST_PARTS:
        return None
    return int(value)


_block_encoder = msgspec.msgpack.Encoder()
_block_decoder = msgspec.msgpack.Decoder(list[Sample])


def pack(samples: Iterable[Sample], level: int = 6) -> bytes:
    """Samples of a device, in order, as one blob of a few bytes a sample: each counts from the newest good counts before it."""
    ts_ms = total = good = reject = 0
    deltas = []
    for each in samples:
        all_, ok, bad = each.total, each.good, each.reject
        deltas.append(
            Sample(
                each.ts_ms - ts_ms,
                each.state,
                None if all_ is None else all_ - total,
                None if ok is None else ok - good,
                None if bad is None else bad - reject,
                each.hold_ms,
            )
        )
        ts_ms, total, good, reject = each.ts_ms, _newer(all_, total), _newer(ok, good), _newer(bad, reject)
    return zlib.compress(_block_encoder.encode(deltas), level)


def unpack(blob: bytes) -> list[Sample]:
    """The samples of a blob, equal to those that were packed."""
    ts_ms = total = good = reject = 0
    samples = []
    for delta in _block_decoder.decode(zlib.decompress(blob)):
        ts_ms += delta.ts_ms
        all_ = None if delta.total is None else total + delta.total
        ok = None if delta.good is None else good + delta.good
        bad = None if delta.reject is None else reject + delta.reject
        samples.append(Sample(ts_ms, delta.state, all_, ok, bad, delta.hold_ms))
        total, good, reject = _newer(all_, total), _newer(ok, good), _newer(bad, reject)
    return samples


def _newer(count: int | None, last: int) -> int:
    """The newest good count."""
    return last if count is None or count == NOT_GOOD else count
