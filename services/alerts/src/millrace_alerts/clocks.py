"""What a clock that was set does to what is remembered. Pure: both clocks are handed in.

* A remembered time further ahead of now than a reading may be is void: the clock by which it was noted was wrong.
* Wall and monotonic clock are compared at each turn: where they part, the clock was set (or the machine slept).
* A new stream of a device begins anew, whatever the times of the one before: its sender's clock stepped back, or its outbox was
  lost. Within a stream the number counts, not the time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from millrace_contract.language.streams import clock_steps
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import FUTURE_LIMIT_MS
from millrace_contract.plant.holds import CLOCKS_DIFFER_MS
from millrace_contract.runtime.clock import Now

from .alert import Alert
from .in_order import newest_ms
from .lifecycle import Shelf
from .reconcile import forgetful
from .records import DeviceRecord, Gateway, Saved

STEP_MS = 5_000
"""Wall and monotonic clock part by so much from one turn to the next: more than any slewing, less than any delay worth having."""
MAX_STREAMS = 8
"""So many former streams of a device are remembered."""


class ClockWatch:
    """Compares the clock that is set with the one that only grows, from one look to the next."""

    def __init__(self) -> None:
        self._seen: Now | None = None

    def step_ms(self, now: Now) -> int:
        """By how much the clock was set since the last look; 0 where it only went on."""
        seen, self._seen = self._seen, now
        if seen is None:
            return 0
        parted_ms = round(now.epoch_ms - seen.epoch_ms - (now.monotonic_s - seen.monotonic_s) * 1000)
        return parted_ms if abs(parted_ms) >= STEP_MS else 0


def is_void(at_ms: int | None, now_ms: int) -> bool:
    """Whether a remembered time lies so far ahead that the clock by which it was noted was wrong."""
    return at_ms is not None and at_ms > now_ms + FUTURE_LIMIT_MS


def plausible(saved: Saved, now_ms: int) -> Saved:
    """What was remembered, without what lies in the future."""
    return Saved(
        alerts={name: plausible_alert(alert, now_ms) for name, alert in saved.alerts.items()},
        devices={name: plausible_record(record, now_ms) for name, record in saved.devices.items()},
        gateways={
            name: Gateway(gateway.alive, now_ms) if is_void(gateway.changed_ms, now_ms) else gateway
            for name, gateway in saved.gateways.items()
        },
    )


def plausible_record(record: DeviceRecord, now_ms: int) -> DeviceRecord:
    """The same object where nothing of it lies in the future."""
    readings = {name: latest for name, latest in record.readings.items() if not is_void(latest.at_ms, now_ms)}
    if len(readings) == len(record.readings) and not is_void(record.heard_ms, now_ms):
        return record
    heard_ms = max((latest.at_ms for latest in readings.values()), default=0)
    return msgspec.structs.replace(record, readings=readings, heard_ms=heard_ms)


def plausible_alert(alert: Alert, now_ms: int) -> Alert:
    """The same object where nothing of it lies in the future. What it has been through stays as it was told."""
    shelf = alert.facts.shelf
    if shelf is not None and is_void(shelf.since_ms, now_ms):
        facts = msgspec.structs.replace(alert.facts, shelf=_moved(shelf, now_ms - shelf.since_ms))
        alert = msgspec.structs.replace(alert, facts=facts)
    if is_void(alert.blind_since_ms, now_ms):
        alert = msgspec.structs.replace(alert, blind_since_ms=None)
    timer = alert.timer
    if any(is_void(at_ms, now_ms) for at_ms in (newest_ms(alert), alert.quiet_from_ms, timer.since_ms, timer.counted_to_ms)):
        return begun_anew(alert)
    return alert


def begun_anew(alert: Alert) -> Alert:
    """Without what was observed, so that the next observation counts whatever its time. An alert that is active stays so."""
    return msgspec.structs.replace(forgetful(alert), seen_ms=0, waiting=(), told_ms=0)


def _moved(shelf: Shelf, by_ms: int) -> Shelf:
    return msgspec.structs.replace(shelf, since_ms=shelf.since_ms + by_ms, until_ms=shelf.until_ms + by_ms)


def counts_from_ms(at_ms: int, now_ms: int) -> int:
    """The time at which a reading counts. Where it lies ahead of ours by more than clocks differ, one of the two clocks is wrong: a
    sender whose clock stepped back gives times that hardly move until it has caught up, and no delay may wait for that.
    """
    return now_ms if at_ms > now_ms + CLOCKS_DIFFER_MS else at_ms


class Order(msgspec.Struct, frozen=True):
    """Where a live message stands: `is_late`: it is not news; `is_anew`: it counts whatever its time; else its time decides."""

    is_late: bool = False
    is_anew: bool = False


LATE, ANEW, BY_TIME = Order(is_late=True), Order(is_anew=True), Order()


def order_of(record: DeviceRecord, message: Telemetry) -> Order:
    """By (stream, seq) where the message has one. What stands outside its chain (no `prev`) was late at its sensor already."""
    stream, seq = message.stream, message.seq
    if stream is None or seq is None or message.backfill or not record.stream:
        return BY_TIME
    if stream == record.stream:
        if seq <= record.seq:
            return LATE
        return BY_TIME if message.prev is None else ANEW
    if stream in record.streams:
        is_older = _token(stream) == _token(record.stream) and clock_steps(stream) < clock_steps(record.stream)
        return LATE if is_older or seq <= record.streams[stream] else BY_TIME
    return ANEW


def follow(record: DeviceRecord, message: Telemetry) -> None:
    """The record's device speaks in this stream now."""
    if message.stream is None or message.seq is None or message.backfill:
        return
    if record.stream and record.stream != message.stream:
        former = {**record.streams, record.stream: record.seq}
        former.pop(message.stream, None)
        record.streams = dict(_newest(former.items()))
    record.stream, record.seq = message.stream, message.seq


def _newest(streams: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return list(streams)[-MAX_STREAMS:]


def _token(stream: str) -> str:
    return stream.partition("+")[0]
