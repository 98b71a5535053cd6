"""A part costs too much energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_contract.language.counters import counter_delta
from millrace_contract.language.words import Evaluation
from millrace_contract.plant import Counter, EnergyPerPart, hold_ms

from ..memories import ConsumptionMemory
from ..timer import threshold_wish
from .listening import SourceSignal
from .of_parts import JointWish, KnownAt, Own, PartsKind
from .site import RuleSite

STEPS = 60
"""The window goes on in so many steps: of each it is kept how far both counters had come."""
MILLIONTHS = 1_000_000
"""Counters are compared in whole numbers."""


@dataclass(frozen=True, slots=True)
class Consumption(PartsKind):
    """Of the last `over_ms`, in the unit of the energy signal."""

    energy: SourceSignal
    parts: SourceSignal
    counters: Mapping[SourceSignal, Counter]
    limit: float
    deadband: float
    over_ms: int
    least_parts: int
    unit: str | None
    holds: Mapping[SourceSignal, int]

    @classmethod
    def of(cls, model: EnergyPerPart, site: RuleSite) -> Consumption:
        energy = SourceSignal(model.device or site.device.id, model.energy)
        parts = SourceSignal(site.device.id, model.parts)
        profiles = {signal: site.profile_at(signal.device_id) for signal in (energy, parts)}
        counters = {signal: profiles[signal].signals[signal.signal].counter for signal in (energy, parts)}
        holds = {signal: hold_ms(profiles[signal], signal.signal) for signal in (energy, parts)}
        unit = profiles[energy].signals[energy.signal].unit or None
        found = {signal: counter for signal, counter in counters.items() if counter is not None}
        over_ms = round(model.over_s * 1000)
        return cls(energy, parts, found, model.above, model.deadband, over_ms, model.least_parts, unit, holds)

    @property
    def worse(self) -> bool | None:
        return True

    def judge(self, known: KnownAt, own: Own, *, active: bool) -> JointWish:  # noqa: ARG002 - of the protocol
        energy, parts, at_ms = known.number(self.energy), known.number(self.parts), known.at_ms
        kept = own if isinstance(own, ConsumptionMemory) else None
        if energy is None or parts is None:
            return JointWish(None, kept, why=known.why_no_number(self.energy, self.parts))
        if energy < 0 or parts < 0:
            return JointWish(None, None, why=Evaluation.BAD)
        if kept is None or at_ms < kept.at_ms:
            return JointWish(None, ConsumptionMemory(energy, parts, at_ms, ((at_ms, 0.0, 0.0),)), why=Evaluation.LEARNING)
        kept = self._followed(kept, energy, parts, at_ms)
        began_ms, used_before, made_before = kept.steps[0]
        if at_ms - began_ms < self.over_ms or kept.made - made_before < self.least_parts:
            return JointWish(None, kept, why=Evaluation.LEARNING)
        each = (kept.used - used_before) / (kept.made - made_before)
        wish = threshold_wish(each, self.limit, self.deadband, high=True)
        return JointWish(wish, kept, each, known.quality(self.energy, self.parts))

    def _followed(self, kept: ConsumptionMemory, energy: float, parts: float, at_ms: int) -> ConsumptionMemory:
        used = kept.used + self._risen(self.energy, kept.energy, energy, at_ms - kept.at_ms)
        made = kept.made + self._risen(self.parts, kept.parts, parts, at_ms - kept.at_ms)
        steps = kept.steps
        if at_ms - steps[-1][0] >= self.over_ms / STEPS:
            steps = (*steps, (at_ms, used, made))
        while len(steps) > 1 and steps[1][0] <= at_ms - self.over_ms:  # the first one is the last before the window
            steps = steps[1:]
        return ConsumptionMemory(energy, parts, at_ms, steps, used, made)

    def _risen(self, signal: SourceSignal, before: float, now: float, elapsed_ms: int) -> float:
        """As everywhere that counters are read: over wraps and resets, and nothing for what cannot be."""
        counter = self.counters[signal]
        delta = counter_delta(
            round(before * MILLIONTHS),
            round(now * MILLIONTHS),
            max(elapsed_ms, 0),
            modulus=counter.modulus,
            max_rate_per_s=counter.max_rate_per_s,
            unit=MILLIONTHS,
        )
        return delta.parts / MILLIONTHS
