"""The device cannot be reached."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.language.words import Evaluation
from millrace_contract.plant import DeviceOffline, Profile

from .. import timer as timers
from ..alert import Alert, Transition
from ..changes import Outcome, Terms, act, changed
from ..lifecycle import Suppress, Unsuppress
from ..observations import ClockStep, Link, Observation, Tick
from ..records import DeviceRecord
from ..timer import Delays, Timer, Wish, advance_by
from .listening import Listening

GATEWAY = "gateway"
"""The design rule by which a gateway that is gone hides that its devices are offline."""


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
                return _uncovered(*changed(alert, terms, timer, flips), observation.now_ms)
            case Link(at_ms, _, True):
                # One cause, one alert: that the gateway is gone says it of all its devices.
                timer, seen_ms = Timer(active=alert.timer.active), max(at_ms, alert.seen_ms)
                alert = msgspec.structs.replace(
                    alert, timer=timer, seen_ms=seen_ms, inhibited=True, evaluation=Evaluation.INHIBITED
                )
                if alert.facts.in_alarm and GATEWAY not in alert.facts.designed:
                    return act(alert, Suppress(GATEWAY), at_ms)
                return alert, ()
            case Link(at_ms, offline):
                at_ms = max(at_ms, alert.seen_ms)  # The gateway's and our own clock may differ by a little.
                alert = msgspec.structs.replace(alert, inhibited=False) if alert.inhibited else alert
                timer, flips = timers.observe(alert.timer, Wish.SET if offline else Wish.CLEAR, at_ms, terms.delays)
                return _uncovered(*changed(alert, terms, timer, flips, evaluation=Evaluation.GOOD, seen_ms=at_ms), at_ms)
            case ClockStep(step_ms):
                timer, seen_ms = timers.moved(alert.timer, step_ms), max(alert.seen_ms + step_ms, 0)
                return msgspec.structs.replace(alert, timer=timer, seen_ms=seen_ms), ()
            case _:
                return alert, ()


def _uncovered(alert: Alert, made: tuple[Transition, ...], at_ms: int) -> Outcome:
    """What the gateway's absence hid shows again once it is known how the device is."""
    is_settled = not alert.facts.in_alarm or alert.timer.since_ms is None
    if alert.inhibited or GATEWAY not in alert.facts.designed or not is_settled:
        return alert, made
    alert, shown = act(alert, Unsuppress(GATEWAY), at_ms)
    return alert, made + shown
