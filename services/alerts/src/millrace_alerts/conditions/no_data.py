"""Nothing good comes any more."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.language.words import Evaluation
from millrace_contract.plant import NoData, Profile
from millrace_contract.plant.holds import CLOCKS_DIFFER_MS

from .. import timer as timers
from ..alert import Alert
from ..changes import Outcome, Terms, act, changed
from ..lifecycle import Suppress, Unsuppress
from ..observations import ClockStep, Inhibit, Observation, Resume, Seen, Tick
from ..records import DeviceRecord
from ..timer import Delays, Flip, Timer, Wish
from .listening import Listening

OFFLINE = "device_offline"
"""The design rule by which an offline device hides its missing data."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No good reading of the signal (of any, when None) for `after_ms`."""

    signal: str | None
    after_ms: int

    @classmethod
    def of(cls, model: NoData, _profile: Profile) -> Silence:
        return cls(model.signal, round(model.after_s * 1000))

    @property
    def listening(self) -> Listening:
        return Listening(data=(self.signal,), is_inhibited_by_offline=True)

    @property
    def worse(self) -> bool | None:
        return None

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms)

    def restored(self, alert: Alert, record: DeviceRecord) -> Alert:
        """With the newest reading, which is saved with its device only where it changed nothing of the alert."""
        latest_ms = record.newest_good_ms(self.signal)
        if latest_ms <= alert.seen_ms:
            return alert
        return msgspec.structs.replace(alert, seen_ms=latest_ms, quiet_from_ms=max(latest_ms, alert.quiet_from_ms or 0))

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        match observation:
            case Tick(now_ms, False):
                if alert.quiet_from_ms is None:
                    alert = msgspec.structs.replace(alert, quiet_from_ms=now_ms, evaluation=Evaluation.GOOD)
                return self._quiet_until(alert, terms, now_ms)
            case Seen(at_ms, heard_ms) if at_ms > alert.seen_ms:
                alert, overdue = self._quiet_until(alert, terms, at_ms - 1)
                timer, flips = timers.observe(alert.timer, Wish.CLEAR, at_ms, terms.delays)
                evaluation = Evaluation.INHIBITED if alert.inhibited else Evaluation.GOOD
                # A sender's clock, or ours, may be wrong: what is heard now is no silence of an hour ago.
                quiet_from_ms = max(at_ms, heard_ms - CLOCKS_DIFFER_MS)
                alert = msgspec.structs.replace(alert, quiet_from_ms=quiet_from_ms)
                alert, now = changed(alert, terms, timer, flips, evaluation=evaluation, seen_ms=at_ms, seen_value=None)
                alert, shown = _uncover_silence(alert, at_ms, quiet_from_ms + self.after_ms)
                return alert, overdue + now + shown
            case Inhibit(at_ms, True) if not alert.inhibited:
                alert = msgspec.structs.replace(alert, inhibited=True, evaluation=Evaluation.INHIBITED)
                if alert.facts.in_alarm and OFFLINE not in alert.facts.designed:
                    return act(alert, Suppress(OFFLINE), at_ms)
                return alert, ()
            case Inhibit(at_ms, False) if alert.inhibited:
                # The device has to send for the first time again, so the silence counts from now.
                quiet_from_ms = max(at_ms, alert.quiet_from_ms or at_ms)
                timer = Timer(active=alert.timer.active)
                alert = msgspec.structs.replace(alert, inhibited=False, evaluation=Evaluation.GOOD, timer=timer)
                return msgspec.structs.replace(alert, quiet_from_ms=quiet_from_ms), ()
            case Resume(gap_ms, earliest_ms) if alert.quiet_from_ms is not None and not alert.facts.in_alarm:
                quiet_from_ms = max(alert.quiet_from_ms + gap_ms, earliest_ms - self.after_ms)
                return msgspec.structs.replace(alert, timer=Timer(), quiet_from_ms=quiet_from_ms), ()
            case ClockStep(step_ms) if alert.quiet_from_ms is not None:
                timer = timers.moved(alert.timer, step_ms)
                return msgspec.structs.replace(alert, timer=timer, quiet_from_ms=alert.quiet_from_ms + step_ms), ()
            case _:
                return alert, ()

    def _quiet_until(self, alert: Alert, terms: Terms, now_ms: int) -> Outcome:
        """Nothing has come until `now_ms`."""
        if alert.inhibited or alert.quiet_from_ms is None:
            return alert, ()
        quiet_ms = alert.quiet_from_ms + self.after_ms
        timer = alert.timer
        flips: tuple[Flip, ...] = ()
        if now_ms >= quiet_ms:
            timer, flips = timers.observe(timer, Wish.SET, quiet_ms, terms.delays)
        timer, later = timers.advance(timer, now_ms, terms.delays)
        alert, transitions = changed(alert, terms, timer, flips + later)
        alert, shown = _uncover_silence(alert, now_ms, quiet_ms)
        return alert, transitions + shown


def _uncover_silence(alert: Alert, now_ms: int, quiet_ms: int) -> Outcome:
    # A device that came back gets its time to send before people are told of missing data once more.
    if alert.inhibited or OFFLINE not in alert.facts.designed or (alert.timer.active and now_ms < quiet_ms):
        return alert, ()
    return act(alert, Unsuppress(OFFLINE), now_ms)
