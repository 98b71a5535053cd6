"""How fast a machine goes at its best: the cycle that it keeps up, as a proposal for its ideal cycle (oee.md A10). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from millrace_contract.language.words import Leaf

from .machine import Machine
from .samples import Sample
from .windows import Sums

PARTS_A_CYCLE = 10
"""So many parts in a row, at least, make one mean cycle: a single one is as uncertain as the times of two readings."""
BEST_SHARE = 0.05
FEWEST_CYCLES = 20


@dataclass(frozen=True, slots=True)
class Cycles:
    """Mean cycles of uninterrupted runs of at least ten parts, in milliseconds."""

    ms: tuple[float, ...] = ()

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(self.ms + other.ms)

    @property
    def best_s(self) -> float | None:
        """The 5th percentile (nearest rank), to the millisecond; None of too few."""
        if len(self.ms) < FEWEST_CYCLES:
            return None
        return round(sorted(self.ms)[ceil(BEST_SHARE * len(self.ms)) - 1]) / 1000


@dataclass(frozen=True, slots=True)
class SpeedLoss:
    """What running slower than at its best cost a machine: run time, micro-stops aside, beyond what its parts take at the best
    cycle. Below 0 where it kept up a better one for a short time. `lost_parts`: what it could have made in it."""

    best_cycle_s: float
    ideal_cycle_s: float | None
    run_ms: int
    parts: int
    lost_ms: int
    lost_parts: int


def speed_loss(machine: Machine, cycles: Cycles, sums: Sums) -> SpeedLoss | None:
    """Of a period; None where too few cycles tell the best one, or its parts are not counted."""
    best_s = cycles.best_s
    if best_s is None or not sums.counted:
        return None
    best_ms, run_ms = round(best_s * 1000), sums.ms[Leaf.RUN]
    lost_ms = run_ms - sums.matched * best_ms
    ideal_s = None if machine.ideal_ns is None else machine.ideal_ns / 1_000_000_000
    return SpeedLoss(best_s, ideal_s, run_ms, sums.matched, lost_ms, round(lost_ms / best_ms))


def cycles_of(machine: Machine, samples: Iterable[Sample]) -> Cycles:
    """From samples in order of time. A row begins and ends with a step of the counter; what stops it begins anew."""
    role = "total" if "total" in machine.all_counters else "good"
    found: list[float] = []
    began: tuple[int, int] | None = None
    last: int | None = None
    known_until_ms = 0
    for sample in samples:
        at, value = machine.at(sample.ts_ms), sample.count(role)
        if sample.ts_ms > known_until_ms:
            began = last = None
        if sample.state is not None:
            holds_ms = at.stale_ms if sample.hold_ms is None else sample.hold_ms
            known_until_ms = sample.ts_ms + holds_ms if at.leaves[at.state_name(sample.state)] is Leaf.RUN else 0
        if value is None or role not in at.counters or not known_until_ms:
            continue
        if last is None or value < last:
            began, last = None, value
        elif value > last:
            last = value
            if began is None:
                began = (sample.ts_ms, value)
            elif value - began[1] >= PARTS_A_CYCLE:
                count_ms = (sample.ts_ms - began[0]) / (value - began[1])
                if count_ms * at.counters[role].max_rate_per_s >= 1000:
                    found.append(count_ms / at.counters[role].parts_per_count)
                began = (sample.ts_ms, value)
    return Cycles(tuple(found))
