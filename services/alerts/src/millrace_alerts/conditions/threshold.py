"""A signal beyond a limit."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.plant import Profile, Threshold, hold_ms
from millrace_contract.plant.holds import FOREVER_MS

from ..alert import Alert
from ..memories import Memory
from ..records import DeviceRecord
from ..timer import threshold_wish
from .of_number import Judged, NumberKind


@dataclass(frozen=True, slots=True)
class Limit(NumberKind):
    """An upper limit, or a lower one, of one signal. `unit` is the signal's; `fresh_ms` is how long a reading of it holds."""

    signal: str
    limit: float
    deadband: float
    high: bool
    unit: str | None = None
    fresh_ms: int = FOREVER_MS

    @classmethod
    def of(cls, model: Threshold, profile: Profile) -> Limit:
        unit, fresh_ms = profile.signals[model.signal].unit, hold_ms(profile, model.signal)
        return cls(model.signal, model.limit, model.deadband, model.above is not None, unit, fresh_ms)

    @property
    def worse(self) -> bool | None:
        return self.high

    def restored(self, alert: Alert, record: DeviceRecord) -> Alert:
        """With the newest reading, which is saved with its device only where it changed nothing of the alert."""
        latest = record.readings.get(self.signal)
        if latest is None or latest.at_ms <= alert.seen_ms or alert.timer.since_ms is not None:
            return alert
        return msgspec.structs.replace(alert, seen_ms=latest.at_ms, seen_value=latest.value, seen_hold_ms=latest.hold_ms)

    def judge(self, memory: Memory | None, value: float | str, at_ms: int, *, active: bool) -> Judged:  # noqa: ARG002 - of the protocol
        return Judged(threshold_wish(float(value), self.limit, self.deadband, high=self.high), None)
