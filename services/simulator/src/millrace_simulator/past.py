"""What gateways would have read in the past: a coarser record of the same lives that the live plant goes on with. Pure.

Each device is read every `step_s`, and once more within a second of each change of its state: so states and parts are as exact as
live ones, while temperatures have fewer points. Nobody served these reads, so `reads_served` is not among the readings.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from millrace_contract.language.telemetry import MAX_HOLD_S, Value
from millrace_contract.plant import Calendar, Device, PlantModel

from .devices import build_machine
from .image import Image
from .registers import reading_of

POLL_MS = 1_000


@dataclass(frozen=True, slots=True)
class PastMessage:
    """What one read of a device brought: every signal that has a reading; `bad` names those outside their limits."""

    time_ms: int
    device: Device
    readings: dict[str, Value]
    bad: tuple[str, ...]


def step_ms_of(plant: PlantModel, device: Device, step_s: float) -> int:
    """How far apart the device's past readings lie: `step_s`, or less where its state can't be promised to hold for so long."""
    has_oee = plant.profile_of(device.id).oee is not None
    return round((min(step_s, float(MAX_HOLD_S)) if has_oee else step_s) * 1000)


def past(
    plant: PlantModel, calendar: Calendar, devices: Iterable[Device], *, seed: int, from_ms: int, to_ms: int, step_s: float
) -> Iterator[PastMessage]:
    """All messages with from_ms <= time < to_ms, in order of time over all devices."""
    streams = [
        _past_of(plant, calendar, device, seed, range(from_ms + 7 * index, to_ms, step_ms_of(plant, device, step_s)))
        for index, device in enumerate(devices)
    ]
    return heapq.merge(*streams, key=lambda message: message.time_ms)


def _past_of(plant: PlantModel, calendar: Calendar, device: Device, seed: int, grid: range) -> Iterator[PastMessage]:
    profile = plant.profile_of(device.id)
    image = Image(profile)
    machine = build_machine(plant, calendar, device, seed)
    signals = profile.register_signals

    def message(time_ms: int) -> PastMessage:
        machine.advance(time_ms)
        raw = image.signals(machine, time_ms, list(signals))
        found = {name: reading_of(signals[name], value) for name, value in raw.items()}
        readings = {name: value for name, value in found.items() if value is not None}
        return PastMessage(time_ms, device, readings, tuple(name for name, value in found.items() if value is None))

    def changes_until(time_ms: int) -> Iterator[PastMessage]:
        # The poll that first sees a change comes within a second of it; two changes in one second are seen as one.
        while (seen_ms := _next_poll_ms(machine.next_change_ms, grid.start)) < time_ms:
            yield message(seen_ms)

    machine.begin(grid.start)
    for time_ms in grid:
        yield from changes_until(time_ms)
        yield message(time_ms)
    yield from changes_until(grid.stop)


def _next_poll_ms(change_ms: int, start_ms: int) -> int:
    """The first poll after a change, when there is one each second from `start_ms` on."""
    return start_ms + ((change_ms - start_ms) // POLL_MS + 1) * POLL_MS
