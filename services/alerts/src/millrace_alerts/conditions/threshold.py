"""A signal beyond a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from millrace_contract.plant import Profile, Threshold, hold_ms
from millrace_contract.plant.holds import FOREVER_MS

from ..alert import Alert
from ..changes import Outcome, Terms
from ..in_force import PRODUCT, SHIFT
from ..memories import Memory
from ..observations import Chosen, Observation
from ..records import DeviceRecord
from ..timer import threshold_wish
from .listening import Listening
from .of_number import Judged, NumberKind


@dataclass(frozen=True, slots=True)
class Limit(NumberKind):
    """An upper limit, or a lower one, of one signal. `unit` is the signal's; `fresh_ms` is how long a reading of it holds.

    table: limits in place of `limit`, by what is in force of `table_by`.
    """

    signal: str
    limit: float
    deadband: float
    high: bool
    unit: str | None = None
    fresh_ms: int = FOREVER_MS
    table: Mapping[str, float] = field(default_factory=dict)
    table_by: str | None = None

    @classmethod
    def of(cls, model: Threshold, profile: Profile) -> Limit:
        unit, fresh_ms = profile.signals[model.signal].unit, hold_ms(profile, model.signal)
        key, table = model.table
        table_by = {"by_product": PRODUCT, "by_shift": SHIFT}.get(key)
        return cls(model.signal, model.limit, model.deadband, model.above is not None, unit, fresh_ms, table, table_by)

    @property
    def listening(self) -> Listening:
        return Listening(readings=(self.signal,), table=self.table_by)

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        """By the limit that is in force; which one, was told before."""
        if isinstance(observation, Chosen):
            return msgspec.structs.replace(alert, chosen=observation.value) if observation.value != alert.chosen else alert, ()
        if not self.table:
            return super(Limit, self).evaluate(alert, terms, observation)
        held = replace(self, limit=self.table.get(alert.chosen or "", self.limit), table={})
        return held.evaluate(alert, terms, observation)

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
