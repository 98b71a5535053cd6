"""The device cannot be reached."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.language.words import Evaluation
from millrace_contract.plant import DeviceOffline, Profile

from .. import timer as timers
from ..alert import Alert
from ..changes import Outcome, Terms, changed
from ..observations import ClockStep, Link, Observation, Tick
from ..records import DeviceRecord
from ..timer import Delays, Wish, advance_by
from .listening import Listening


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The device or its gateway is offline."""

    @classmethod
    def of(cls, _model: DeviceOffline, _profile: Profile) -> Unreachable:
        return cls()

    @property
    def listening(self) -> Listening:
        return Listening(link=True)

    @property
    def worse(self) -> bool | None:
        return None

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms)

    def restored(self, alert: Alert, _record: DeviceRecord) -> Alert:
        """As it was saved: whether a device can be reached is asked anew."""
        return alert

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        match observation:
            case Tick():
                timer, flips = advance_by(alert.timer, observation, terms.delays)
                return changed(alert, terms, timer, flips)
            case Link(at_ms, offline):
                at_ms = max(at_ms, alert.seen_ms)  # The gateway's and our own clock may differ by a little.
                timer, flips = timers.observe(alert.timer, Wish.SET if offline else Wish.CLEAR, at_ms, terms.delays)
                return changed(alert, terms, timer, flips, evaluation=Evaluation.GOOD, seen_ms=at_ms)
            case ClockStep(step_ms):
                timer, seen_ms = timers.moved(alert.timer, step_ms), max(alert.seen_ms + step_ms, 0)
                return msgspec.structs.replace(alert, timer=timer, seen_ms=seen_ms), ()
            case _:
                return alert, ()
