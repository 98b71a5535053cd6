"""What the kinds that watch several signals have in common: what is known of each at an instant, and when that changes.

Everything in event time. A reading counts until the next one of its signal, or until it holds no longer; at that instant, too, the
whole is judged anew. What cannot be known is neither true nor false: delays stand still, and the alert stays as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from millrace_contract.language.words import Evaluation
from millrace_contract.plant.holds import CLOCKS_DIFFER_MS, FOREVER_MS, is_fresh

from .. import timer as timers
from ..alert import Alert, Transition
from ..changes import Outcome, Terms, changed
from ..memories import ConsumptionMemory, CountMemory, LeavesMemory, PartReading, PartsMemory, SettlingMemory
from ..observations import Observation, PartReadings, Pause, Tick
from ..records import DeviceRecord
from ..timer import Delays, Wish, advance_by
from .listening import Listening, SourceSignal

Own = LeavesMemory | SettlingMemory | CountMemory | ConsumptionMemory | None


class JointWish(NamedTuple):
    """What is known asks for. `wish` None: it cannot be known, and `why`. `next_ms`: when it is to be judged anew."""

    wish: Wish | None
    own: Own
    value: float | str | None = None
    why: Evaluation = Evaluation.GOOD
    next_ms: int | None = None


@dataclass(frozen=True, slots=True)
class KnownAt:
    """What is known at an instant."""

    newest: Mapping[str, PartReading]
    holds: Mapping[SourceSignal, int]
    at_ms: int

    def value(self, part: SourceSignal) -> float | str | None:
        """None where nobody knows."""
        latest = self.newest.get(part.key)
        return None if latest is None or not self._counts(part, latest) else latest.value

    def number(self, part: SourceSignal) -> float | None:
        """None where nobody knows, or it is a text."""
        value = self.value(part)
        return None if value is None or isinstance(value, str) else float(value)

    def why_not(self, part: SourceSignal) -> Evaluation:
        """Why it is not known; good or uncertain where it is."""
        latest = self.newest.get(part.key)
        if latest is None:
            return Evaluation.NEVER_SEEN
        if latest.value is None:
            return Evaluation.BAD
        if not self._counts(part, latest):
            return Evaluation.STALE
        return Evaluation.UNCERTAIN if latest.uncertain else Evaluation.GOOD

    def why_no_number(self, *parts: SourceSignal) -> Evaluation:
        """Of the first of these that is no number."""
        for part in parts:
            if self.number(part) is None:
                why = self.why_not(part)
                return Evaluation.NOT_A_NUMBER if why in {Evaluation.GOOD, Evaluation.UNCERTAIN} else why
        return Evaluation.GOOD

    def quality(self, *parts: SourceSignal) -> Evaluation:
        """Uncertain where one of them is."""
        is_uncertain = any(self.why_not(part) is Evaluation.UNCERTAIN for part in parts)
        return Evaluation.UNCERTAIN if is_uncertain else Evaluation.GOOD

    def _counts(self, part: SourceSignal, latest: PartReading) -> bool:
        return is_fresh(latest.at_ms, self.holds[part] if latest.hold_ms is None else latest.hold_ms, self.at_ms)


class PartsKind(ABC):
    """Base of these kinds: each has its parts, with how long a reading of each holds, and says what all of them ask for."""

    __slots__ = ()

    holds: Mapping[SourceSignal, int]

    @property
    def listening(self) -> Listening:
        return Listening(parts=tuple(self.holds))

    @property
    def worse(self) -> bool | None:
        return None

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms)

    def restored(self, alert: Alert, _record: DeviceRecord) -> Alert:
        """As it was saved: it is saved with each reading."""
        return alert

    def paused(self, own: Own) -> Own:
        """What is kept while the rule is not evaluated."""
        return own

    @abstractmethod
    def judge(self, known: KnownAt, own: Own, *, active: bool) -> JointWish:
        """What is known at that instant asks for."""

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        """The alert after the observation."""
        memory = alert.memory if isinstance(alert.memory, PartsMemory) else PartsMemory()
        match observation:
            case PartReadings():
                return _heard(self, alert, terms, memory, observation)
            case Tick(now_ms, False) if now_ms < memory.judged_ms - CLOCKS_DIFFER_MS:  # our clock was set back
                return changed(alert, terms, alert.timer, (), evaluation=Evaluation.STALE)
            case Tick(now_ms, False):
                alert, made = _looked_until(self, alert, terms, memory, now_ms)
                timer, flips = advance_by(alert.timer, observation, terms.delays)
                alert, now = changed(alert, terms, timer, flips)
                return alert, made + now
            case Pause(at_ms):
                timer, flips = timers.interrupt(alert.timer, max(at_ms, memory.judged_ms), terms.delays)
                alert, made = changed(alert, terms, timer, flips)
                memory = _paused(self, memory, max(at_ms, memory.judged_ms))
                return msgspec.structs.replace(alert, memory=memory), made
            case _:
                return alert, ()


def _heard(kind: PartsKind, alert: Alert, terms: Terms, memory: PartsMemory, observation: PartReadings) -> Outcome:
    at_ms = max(observation.at_ms, memory.judged_ms)
    made: tuple[Transition, ...] = ()
    if not observation.paused and not memory.paused:
        alert, made = _looked_until(kind, alert, terms, memory, at_ms - 1)
        memory = alert.memory if isinstance(alert.memory, PartsMemory) else memory
    read = {
        part.key: PartReading(observation.at_ms, value, hold_ms, uncertain)
        for part in kind.holds
        if part.device_id == observation.device_id and part.signal in observation.readings
        for value, uncertain, hold_ms in (observation.readings[part.signal],)
    }
    kept = {part.key: memory.newest[part.key] for part in kind.holds if part.key in memory.newest}
    memory = msgspec.structs.replace(memory, newest={**kept, **read})
    if observation.paused:
        return msgspec.structs.replace(alert, memory=_paused(kind, memory, at_ms), seen_ms=at_ms), made
    alert, now = _judged(kind, alert, terms, memory, at_ms)
    return alert, made + now


def _paused(kind: PartsKind, memory: PartsMemory, at_ms: int) -> PartsMemory:
    return msgspec.structs.replace(memory, paused=True, judged_ms=at_ms, next_ms=None, own=kind.paused(memory.own))


def _looked_until(kind: PartsKind, alert: Alert, terms: Terms, memory: PartsMemory, until_ms: int) -> Outcome:
    """Everything at which it is to be judged anew up to then, one instant after the other."""
    made: tuple[Transition, ...] = ()
    if memory.paused:  # it is evaluated again from here on; what was meanwhile is not judged
        return _judged(kind, alert, terms, memory, max(until_ms, memory.judged_ms)) if memory.newest else (alert, ())
    while memory.next_ms is not None and memory.next_ms <= until_ms:
        alert, now = _judged(kind, alert, terms, memory, memory.next_ms)
        made += now
        if not isinstance(alert.memory, PartsMemory):
            break
        memory = alert.memory
    return alert, made


def _judged(kind: PartsKind, alert: Alert, terms: Terms, memory: PartsMemory, at_ms: int) -> Outcome:
    told = kind.judge(KnownAt(memory.newest, kind.holds, at_ms), memory.own, active=alert.timer.active)
    if told.wish is None:
        timer, flips = timers.interrupt(alert.timer, at_ms, terms.delays)
    else:
        timer, flips = timers.observe(alert.timer, told.wish, at_ms, terms.delays)
    alert, made = changed(alert, terms, timer, flips, evaluation=told.why, seen_ms=at_ms, seen_value=told.value)
    ends = [*_ends(kind, memory, at_ms), *([told.next_ms] if told.next_ms is not None else [])]
    next_ms = min((each for each in ends if each > at_ms), default=None)
    memory = msgspec.structs.replace(memory, judged_ms=at_ms, next_ms=next_ms, paused=False, own=told.own)
    return msgspec.structs.replace(alert, memory=memory), made


def _ends(kind: PartsKind, memory: PartsMemory, at_ms: int) -> Iterator[int]:
    """When each reading that counts now counts no longer."""
    for part, holds_ms in kind.holds.items():
        latest = memory.newest.get(part.key)
        if latest is None or latest.value is None:
            continue
        hold_ms = holds_ms if latest.hold_ms is None else latest.hold_ms
        if hold_ms < FOREVER_MS and latest.at_ms + hold_ms >= at_ms:
            yield latest.at_ms + hold_ms + 1
