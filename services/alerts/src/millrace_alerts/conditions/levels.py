"""A signal beyond limits of which one is worse than the other: one alert, at the worst level that is reached.

Each level has its own deadband and delays. A worse level, or one of the other side, is told anew: the alert escalates, and waits
for somebody to acknowledge it again. A milder one is told, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from millrace_contract.language.words import AlertLevel, Evaluation
from millrace_contract.plant import Levels, Profile, hold_ms
from millrace_contract.plant.holds import FOREVER_MS, is_fresh

from .. import timer as timers
from ..alert import Alert, Transition
from ..changes import Outcome, Terms, act, changed, peaked
from ..lifecycle import Ease, Escalate
from ..memories import LevelsMemory
from ..observations import Observation, Pause, Reading, Tick
from ..records import DeviceRecord
from ..timer import Delays, Flip, Timer, advance_by, threshold_wish
from .listening import Listening


@dataclass(frozen=True, slots=True)
class LevelStage:
    """One of the limits. Delays of None are the rule's."""

    limit: float
    deadband: float
    on_ms: int | None = None
    off_ms: int | None = None

    def delays(self, of_rule: Delays, hold_ms: int | None) -> Delays:
        return Delays(
            of_rule.on_ms if self.on_ms is None else self.on_ms,
            of_rule.off_ms if self.off_ms is None else self.off_ms,
            of_rule.fresh_ms if hold_ms is None else hold_ms,
        )


@dataclass(frozen=True, slots=True)
class Stages:
    """The limits of one signal, by level."""

    signal: str
    stages: Mapping[AlertLevel, LevelStage]
    unit: str | None = None
    fresh_ms: int = FOREVER_MS

    @classmethod
    def of(cls, model: Levels, profile: Profile) -> Stages:
        stages = {
            level: LevelStage(limit.at, limit.deadband, _ms(limit.on_delay_s), _ms(limit.off_delay_s))
            for level, limit in model.limits.items()
        }
        return cls(model.signal, stages, profile.signals[model.signal].unit, hold_ms(profile, model.signal))

    @property
    def listening(self) -> Listening:
        return Listening(readings=(self.signal,))

    @property
    def worse(self) -> bool | None:
        return None

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms, self.fresh_ms)

    def restored(self, alert: Alert, record: DeviceRecord) -> Alert:
        """With the newest reading, which is saved with its device only where it changed nothing of the alert."""
        latest = record.readings.get(self.signal)
        if latest is None or latest.at_ms <= alert.seen_ms or _pends(alert):
            return alert
        return msgspec.structs.replace(alert, seen_ms=latest.at_ms, seen_value=latest.value, seen_hold_ms=latest.hold_ms)

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        if isinstance(observation, Tick) and not _pends(alert):
            return self._aged(alert, observation.now_ms), ()
        held = {level: stage.delays(terms.delays, alert.seen_hold_ms) for level, stage in self.stages.items()}
        timers_now, flips = self._timers(alert), dict[AlertLevel, tuple[Flip, ...]]()
        match observation:
            case Tick(now_ms):
                for level, timer in timers_now.items():
                    timers_now[level], flips[level] = advance_by(timer, observation, held[level])
                alert, made = self._flipped(alert, terms, timers_now, flips)
                return self._aged(alert, now_ms), made
            case Pause(at_ms):
                for level, timer in timers_now.items():
                    timers_now[level], flips[level] = timers.interrupt(timer, at_ms, held[level])
                return self._flipped(alert, terms, timers_now, flips)
            case Reading(at_ms, value) if at_ms > alert.seen_ms:
                for level, timer in timers_now.items():
                    if isinstance(value, float | int):
                        stage = self.stages[level]
                        wish = threshold_wish(value, stage.limit, stage.deadband, high=level.is_high)
                        timers_now[level], flips[level] = timers.observe(timer, wish, at_ms, held[level])
                    else:
                        timers_now[level], flips[level] = timers.interrupt(timer, at_ms, held[level])
                alert, made = self._flipped(alert, terms, timers_now, flips, observation)
                return msgspec.structs.replace(alert, seen_hold_ms=observation.hold_ms), made
            case _:
                return alert, ()

    def _aged(self, alert: Alert, now_ms: int) -> Alert:
        """The newest reading is older by now."""
        fresh_ms = self.fresh_ms if alert.seen_hold_ms is None else alert.seen_hold_ms
        is_evaluable = alert.evaluation in {Evaluation.GOOD, Evaluation.UNCERTAIN}
        if not is_evaluable or is_fresh(alert.seen_ms, fresh_ms, now_ms):
            return alert
        return msgspec.structs.replace(alert, evaluation=Evaluation.STALE)

    def _timers(self, alert: Alert) -> dict[AlertLevel, Timer]:
        kept = alert.memory.timers if isinstance(alert.memory, LevelsMemory) else {}
        return {level: kept.get(level, Timer()) for level in self.stages}

    def _flipped(
        self,
        alert: Alert,
        terms: Terms,
        now: Mapping[AlertLevel, Timer],
        flips: Mapping[AlertLevel, tuple[Flip, ...]],
        reading: Reading | None = None,
    ) -> Outcome:
        """One instant after the other; the alert is at the worst level that is reached then."""
        active = {level for level, timer in self._timers(alert).items() if timer.active}
        made: tuple[Transition, ...] = ()
        at_once: dict[int, list[tuple[Flip, AlertLevel]]] = {}
        for level, each in flips.items():
            for flip in each:
                at_once.setdefault(flip.at_ms, []).append((flip, level))
        for at_ms, together in sorted(at_once.items()):
            before = _worst_of(active, alert.level)
            for flip, level in together:
                active = active | {level} if flip.active else active - {level}
            value = reading.value if reading is not None and at_ms >= reading.at_ms else alert.seen_value
            after = _worst_of(active, alert.level)
            if after != before:
                since_ms = min(flip.since_ms for flip, _ in together)
                alert, told = _at_level(alert, terms, (before, after), Flip(after is not None, at_ms, since_ms), value)
                made += told
        if now != self._timers(alert):
            alert = msgspec.structs.replace(alert, memory=LevelsMemory(dict(now)))
        if reading is None:
            return alert, made
        is_number = isinstance(reading.value, float | int)
        good = Evaluation.UNCERTAIN if reading.uncertain else Evaluation.GOOD
        evaluation = good if is_number else Evaluation.BAD if reading.value is None else Evaluation.NOT_A_NUMBER
        terms = replace(terms, high=alert.level.is_high if alert.level is not None else None)
        alert, _ = changed(alert, terms, alert.timer, (), evaluation=evaluation, seen_ms=reading.at_ms, seen_value=reading.value)
        return alert, made


def _at_level(
    alert: Alert, terms: Terms, levels: tuple[AlertLevel | None, AlertLevel | None], flip: Flip, value: float | str | None
) -> Outcome:
    """The alert goes from one level to another; None: none is reached."""
    before, after = levels
    if after is None or before is None:
        if after is not None:
            alert = _reached(msgspec.structs.replace(alert, peak=None, peak_ms=None), terms, after, value, flip.at_ms)
        return changed(alert, terms, Timer(active=flip.active), (flip,), seen_ms=alert.seen_ms, seen_value=value)
    if after.is_high is not before.is_high:
        alert = msgspec.structs.replace(alert, peak=None, peak_ms=None)
    alert = msgspec.structs.replace(_reached(alert, terms, after, value, flip.at_ms), value=value)
    is_worse = after.is_high is not before.is_high or after.is_worst
    return act(alert, Escalate() if is_worse else Ease(), flip.at_ms)


def _reached(alert: Alert, terms: Terms, level: AlertLevel, value: float | str | None, at_ms: int) -> Alert:
    alert = msgspec.structs.replace(alert, level=level)
    return peaked(alert, replace(terms, high=level.is_high), value, at_ms)


def _pends(alert: Alert) -> bool:
    return isinstance(alert.memory, LevelsMemory) and any(timer.since_ms is not None for timer in alert.memory.timers.values())


def _worst_of(active: set[AlertLevel], present: AlertLevel | None) -> AlertLevel | None:
    """The worst one; of two as bad as each other, of either side, the one that it is not at."""
    return min(active, key=lambda level: (not level.is_worst, level == present, level), default=None)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
