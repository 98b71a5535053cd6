"""Who read which device where, and by which profile, in every plant model so far; also in one that the service does not run yet."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import ConfigurationProblems
from ..plant import PlantModel, load_plant
from ..plant.accepted import stamp_of_plant
from ..plant.known_devices import KnownDevice, KnownDevices, with_plant
from .clock import Clock, SystemClock
from .files import replace_file
from .logs import get_logger

KNOWN_DEVICES = "known-devices.json"
"""In the data folder of each service that hears telemetry."""
LOOK_S = 1.0

_log = get_logger(__name__)


def remember_devices(data: Path, plant: PlantModel, before: KnownDevices | None = None, clock: Clock | None = None) -> KnownDevices:
    """Every device that an accepted plant model had, this one included; it is kept for later where that changed something.

    `before`: what is remembered already; without it, what was kept.
    """
    if before is None:
        before = _known_devices(data)
    known = with_plant(before, plant, min(plant.edited_ms, (clock or SystemClock()).now_ms()))
    if known != before:
        try:
            replace_file(data / KNOWN_DEVICES, msgspec.json.encode(known))
        except OSError as error:
            _log.error("known_devices_not_kept", problem=str(error))
    return known


class RememberedDevices:
    """What a service remembers that goes on with the plant model of its start: gateways may have taken over an edit before it.

    `edited_ms`: when the plant model of the start was written. Of one thread.
    """

    def __init__(self, config: Path, data: Path, plant: PlantModel, clock: Clock) -> None:
        self._config, self._data, self._root, self._clock = config, data, plant.root, clock
        self._seen = stamp_of_plant(config)
        self._look_due_s = 0.0
        self._known = remember_devices(data, plant, clock=clock)
        self.edited_ms = min(plant.edited_ms, clock.now_ms())

    def look(self) -> KnownDevices:
        """What is known, with what was edited since; it is looked for once a second. Files with mistakes say nothing."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_due_s:
            return self._known
        self._look_due_s = now_s + LOOK_S
        stamp = stamp_of_plant(self._config)
        if stamp != self._seen:
            self._seen = stamp
            try:
                plant = load_plant(self._config)
            except ConfigurationProblems:
                return self._known
            if plant.root == self._root:
                self._known = remember_devices(self._data, plant, self._known, self._clock)
        return self._known


def _known_devices(data: Path) -> dict[str, KnownDevice]:
    """Empty where there is no file, or where it cannot be read: then only the present plant model is believed."""
    try:
        return msgspec.json.decode((data / KNOWN_DEVICES).read_bytes(), type=dict[str, KnownDevice])
    except (OSError, msgspec.MsgspecError):
        return {}
