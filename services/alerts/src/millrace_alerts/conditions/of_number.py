"""What the kinds that watch one signal have in common: freshness, delays, bad readings; a kind says what a reading asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import msgspec

from millrace_contract.language.words import Evaluation
from millrace_contract.plant.holds import is_fresh

from .. import timer as timers
from ..alert import Alert
from ..changes import Outcome, Terms, changed
from ..memories import Memory
from ..observations import Observation, Pause, Reading, Tick
from ..records import DeviceRecord
from ..timer import Delays, Wish, advance_by
from .listening import Listening


class Judged(NamedTuple):
    """What a reading asks for; `is_ready` False while there is not enough yet to judge by; `why` where it says nothing."""

    wish: Wish
    memory: Memory | None
    is_ready: bool = True
    why: Evaluation | None = None


class NumberKind(ABC):
    """Base of these kinds: each has the signal, how long a reading of it counts, and says what a good reading asks for.

    takes_text: a reading may be a text; else it must be a number.
    """

    __slots__ = ()

    takes_text: ClassVar[bool] = False
    signal: str
    fresh_ms: int

    @property
    def listening(self) -> Listening:
        return Listening(readings=(self.signal,))

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms, self.fresh_ms)

    def restored(self, alert: Alert, _record: DeviceRecord) -> Alert:
        """As it was saved: a kind with a memory is saved with each reading."""
        return alert

    @abstractmethod
    def judge(self, memory: Memory | None, value: Any, at_ms: int, *, active: bool) -> Judged:
        """What a good reading (a number, where the kind takes no text) does to the memory, and what it asks for."""

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        """The alert after the observation."""
        return _evaluated(self, alert, terms, observation)


def _evaluated(judge: NumberKind, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
    """The alert after the observation, for a kind that judges one signal."""
    delays = terms.delays if alert.seen_hold_ms is None else replace(terms.delays, fresh_ms=alert.seen_hold_ms)
    if isinstance(observation, Tick):
        timer, flips = advance_by(alert.timer, observation, delays)
        fresh = is_fresh(alert.seen_ms, delays.fresh_ms, observation.now_ms)
        evaluable = alert.evaluation in {Evaluation.GOOD, Evaluation.UNCERTAIN, Evaluation.LEARNING}
        evaluation = alert.evaluation if fresh or not evaluable else Evaluation.STALE
        return changed(alert, terms, timer, flips, evaluation=evaluation)
    if isinstance(observation, Pause):
        timer, flips = timers.interrupt(alert.timer, observation.at_ms, delays)
        return changed(alert, terms, timer, flips)
    if not isinstance(observation, Reading) or observation.at_ms <= alert.seen_ms:
        return alert, ()
    value, memory = observation.value, alert.memory
    is_number = isinstance(value, float | int)
    if value is not None and (is_number or judge.takes_text):
        judged = judge.judge(memory, float(value) if is_number else value, observation.at_ms, active=alert.timer.active)
        memory = judged.memory
        if judged.why is not None:
            timer, flips = timers.interrupt(alert.timer, observation.at_ms, delays)
        else:
            timer, flips = timers.observe(alert.timer, judged.wish, observation.at_ms, delays)
        evaluation = Evaluation.UNCERTAIN if observation.uncertain else Evaluation.GOOD
        evaluation = judged.why or (evaluation if judged.is_ready else Evaluation.LEARNING)
    else:
        timer, flips = timers.interrupt(alert.timer, observation.at_ms, delays)
        evaluation = Evaluation.BAD if value is None else Evaluation.NOT_A_NUMBER
    alert, transitions = changed(alert, terms, timer, flips, evaluation=evaluation, seen_ms=observation.at_ms, seen_value=value)
    return msgspec.structs.replace(alert, seen_hold_ms=observation.hold_ms, memory=memory), transitions
