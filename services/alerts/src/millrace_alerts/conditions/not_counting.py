"""A counter does not rise while the machine runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_contract.language.words import Evaluation, MachineState
from millrace_contract.plant import NotCounting, hold_ms
from millrace_contract.plant.machine_states import StateSource

from ..memories import CountMemory
from ..timer import Wish
from .listening import SourceSignal
from .of_parts import JointWish, KnownAt, Own, PartsKind
from .site import RuleSite


@dataclass(frozen=True, slots=True)
class CountStandsStill(PartsKind):
    """`after_ms` of time in one of `states`, as `source` tells it, in which the counter keeps its value."""

    counter: SourceSignal
    state: SourceSignal
    source: StateSource
    states: frozenset[MachineState]
    after_ms: int
    holds: Mapping[SourceSignal, int]

    @classmethod
    def of(cls, model: NotCounting, site: RuleSite) -> CountStandsStill:
        profile, source = site.profile, site.profile.state_source
        if source is None or source.signal is None:
            raise ValueError("a rule about the state of a machine that tells none passed the check of the plant model")
        counter, state = SourceSignal(site.device.id, model.signal), SourceSignal(site.device.id, source.signal)
        holds = {part: hold_ms(profile, part.signal) for part in (counter, state)}
        return cls(counter, state, source, frozenset(model.states), round(model.after_s * 1000), holds)

    def paused(self, own: Own) -> Own:
        return _standing(own, own.at_ms) if isinstance(own, CountMemory) else None

    def judge(self, known: KnownAt, own: Own, *, active: bool) -> JointWish:
        count, said, at_ms = known.number(self.counter), known.value(self.state), known.at_ms
        kept = own if isinstance(own, CountMemory) else None
        if kept is not None and kept.runs and at_ms > kept.at_ms:  # what was known before held until now
            kept = CountMemory(kept.count, kept.run_ms + at_ms - kept.at_ms, at_ms)
        if count is None:
            return JointWish(None, _standing(kept, at_ms), why=known.why_no_number(self.counter))
        if kept is None or count != kept.count:
            kept = CountMemory(count, 0, at_ms)
        if said is None:
            return JointWish(None, _standing(kept, at_ms), count, known.why_not(self.state))
        runs = self._runs(said, runs=isinstance(own, CountMemory) and own.runs)
        if runs is None:
            return JointWish(None, _standing(kept, at_ms), count, Evaluation.BAD)
        kept, left_ms = CountMemory(count, kept.run_ms, at_ms, runs), self.after_ms - kept.run_ms
        wish = Wish.SET if left_ms <= 0 else Wish.KEEP if active and kept.run_ms else Wish.CLEAR
        quality = known.quality(self.counter, self.state)
        return JointWish(wish, kept, count, quality, at_ms + left_ms if runs and left_ms > 0 else None)

    def _runs(self, said: float | str, *, runs: bool) -> bool | None:
        state = self.source.state_of(said)
        if state is None:
            return runs if self.source.band is not None else None
        return state in self.states


def _standing(kept: CountMemory | None, at_ms: int) -> CountMemory | None:
    """While nobody knows, no running time is counted."""
    return None if kept is None else CountMemory(kept.count, kept.run_ms, at_ms)
