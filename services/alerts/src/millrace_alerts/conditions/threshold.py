"""A signal beyond a limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from millrace_contract.language.words import Evaluation
from millrace_contract.plant import Profile, Threshold, hold_ms
from millrace_contract.plant.holds import FOREVER_MS, is_fresh

from .. import timer as timers
from ..alert import Alert
from ..changes import Outcome, Terms, changed
from ..observations import Observation, Pause, Reading, Tick
from ..records import DeviceRecord
from ..timer import Delays, advance_by
from .listening import Listening


@dataclass(frozen=True, slots=True)
class Limit:
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
    def listening(self) -> Listening:
        return Listening(readings=(self.signal,))

    @property
    def worse(self) -> bool | None:
        return self.high

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms, self.fresh_ms)

    def restored(self, alert: Alert, record: DeviceRecord) -> Alert:
        """With the newest reading, which is saved with its device only where it changed nothing of the alert."""
        latest = record.readings.get(self.signal)
        if latest is None or latest.at_ms <= alert.seen_ms or alert.timer.since_ms is not None:
            return alert
        return msgspec.structs.replace(alert, seen_ms=latest.at_ms, seen_value=latest.value, seen_hold_ms=latest.hold_ms)

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        # What is pending counts for as long as the newest reading holds: the one that came before this observation.
        delays = terms.delays
        if alert.seen_hold_ms is not None:
            delays = replace(delays, fresh_ms=alert.seen_hold_ms)
        if isinstance(observation, Tick):
            timer, flips = advance_by(alert.timer, observation, delays)
            fresh = is_fresh(alert.seen_ms, delays.fresh_ms, observation.now_ms)
            evaluable = alert.evaluation in {Evaluation.GOOD, Evaluation.UNCERTAIN}
            evaluation = alert.evaluation if fresh or not evaluable else Evaluation.STALE
            return changed(alert, terms, timer, flips, evaluation=evaluation)
        if isinstance(observation, Pause):
            timer, flips = timers.interrupt(alert.timer, observation.at_ms, delays)
            return changed(alert, terms, timer, flips)
        if not isinstance(observation, Reading) or observation.at_ms <= alert.seen_ms:
            return alert, ()
        value = observation.value
        if isinstance(value, float | int):
            wish = timers.threshold_wish(value, self.limit, self.deadband, high=self.high)
            timer, flips = timers.observe(alert.timer, wish, observation.at_ms, delays)
            evaluation = Evaluation.UNCERTAIN if observation.uncertain else Evaluation.GOOD
        else:
            timer, flips = timers.interrupt(alert.timer, observation.at_ms, delays)
            evaluation = Evaluation.BAD if value is None else Evaluation.NOT_A_NUMBER
        alert, transitions = changed(alert, terms, timer, flips, evaluation=evaluation, seen_ms=observation.at_ms, seen_value=value)
        return msgspec.structs.replace(alert, seen_hold_ms=observation.hold_ms), transitions
