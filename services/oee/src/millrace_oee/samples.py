"""A sample: what one telemetry message says about a machine's state and counters; and hours of samples as small blobs."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec

from millrace_contract.language.telemetry import Telemetry, Value
from millrace_contract.language.words import Quality

from .machine import BAD_STATE, ROLES, UNCERTAIN_STATE, UNREACHABLE_STATE, Machine

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


def pack(samples: Iterable[Sample]) -> bytes:
    """Samples of a device, in order, as one blob of a few bytes a sample."""
    last = Sample(0, None, 0, 0, 0)
    deltas = []
    for sample in samples:
        deltas.append(
            Sample(
                sample.ts_ms - last.ts_ms,
                sample.state,
                _minus(sample.total, last.total),
                _minus(sample.good, last.good),
                _minus(sample.reject, last.reject),
                sample.hold_ms,
            )
        )
        last = _with_counts_of(last, sample)
    return zlib.compress(_block_encoder.encode(deltas), 6)


def unpack(blob: bytes) -> list[Sample]:
    """The samples of a blob, equal to those that were packed."""
    samples = []
    last = Sample(0, None, 0, 0, 0)
    for delta in _block_decoder.decode(zlib.decompress(blob)):
        sample = Sample(
            last.ts_ms + delta.ts_ms,
            delta.state,
            _plus(last.total, delta.total),
            _plus(last.good, delta.good),
            _plus(last.reject, delta.reject),
            delta.hold_ms,
        )
        samples.append(sample)
        last = _with_counts_of(last, sample)
    return samples


def _with_counts_of(last: Sample, sample: Sample) -> Sample:
    """The newest good counts: what the next ones differ little from."""
    counts = {role: count for role in ROLES if (count := sample.count(role)) is not None}
    return msgspec.structs.replace(last, ts_ms=sample.ts_ms, **counts)


def _minus(value: int | None, base: int | None) -> int | None:
    return None if value is None else value - (base or 0)


def _plus(base: int | None, delta: int | None) -> int | None:
    return None if delta is None else (base or 0) + delta
