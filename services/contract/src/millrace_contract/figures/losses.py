"""Where the time went: losses in time and in parts, and the waterfall from all time down to good time (oee.md A4).

All of it is whole milliseconds, so that it closes to the last one: planned production time = good time + all losses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ..language.oee_messages import OeeDocument
from ..language.words import ALL_TIME, PRODUCTION_LEAVES, BigLoss, Leaf
from .ratios import round_half_even

LOSS_OF_LEAF: Mapping[Leaf, BigLoss] = {
    Leaf.PLANNED_STOP: BigLoss.PLANNED_STOPS,
    Leaf.SETUP: BigLoss.SETUP,
    Leaf.UNPLANNED_STOP: BigLoss.BREAKDOWNS,
    Leaf.MINOR_STOP: BigLoss.MINOR_STOPS,
}
OUTSIDE_PRODUCTION = tuple(leaf for leaf in Leaf if leaf not in PRODUCTION_LEAVES)
AVAILABILITY_LOSSES = (BigLoss.PLANNED_STOPS, BigLoss.SETUP, BigLoss.BREAKDOWNS)
SPEED_LOSSES = (BigLoss.MINOR_STOPS, BigLoss.REDUCED_SPEED)
QUALITY_LOSSES = (BigLoss.STARTUP, BigLoss.DEFECTS)
NS_A_MS = 1_000_000
ByLeaf = Mapping[Leaf, int] | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the waterfall: time that is left, or what it is less by. A loss may be below 0 (oee.md A10)."""

    name: str
    ms: int
    is_loss: bool


def planned_ms(ms: ByLeaf, outside: Collection[Leaf] = ()) -> int:
    """Planned production time, OEE's denominator, without the stops that a line leaves outside of it."""
    return sum(ms[leaf] for leaf in PRODUCTION_LEAVES if leaf not in outside)


def losses(
    ms: ByLeaf, *, ideal_ms: int | None, good_ms: int | None, startup_ms: int | None = None, outside: Collection[Leaf] = ()
) -> dict[str, int]:
    """Time lost by kind, in milliseconds, in the order in which time is taken away.

    `ideal_ms`, `good_ms`: None where pace or quality is not known; what would follow from them is then left out. Slowness is what
    remains of run time beside ideal time and micro-stops, below 0 where parts came faster than the ideal cycle allows.
    `startup_ms`: the ideal time of what start-ups rejected, None where nobody tells it apart from other defects.
    """
    found: dict[str, int] = {loss: ms[leaf] for leaf, loss in LOSS_OF_LEAF.items() if leaf not in outside}
    if ideal_ms is None:
        return found
    found[BigLoss.REDUCED_SPEED] = ms[Leaf.RUN] - ideal_ms
    if good_ms is not None:
        if startup_ms is not None:
            found[BigLoss.STARTUP] = startup_ms
        found[BigLoss.DEFECTS] = ideal_ms - good_ms - (startup_ms or 0)
    return found


def waterfall(document: OeeDocument) -> list[Step]:
    """From all time down to good time, or to the last time that is known. Each time is the one before less the losses between."""
    outside = document.basis.outside
    steps = [Step(ALL_TIME, document.ms[ALL_TIME], False)]
    steps += [Step(leaf, document.ms[leaf], True) for leaf in (*OUTSIDE_PRODUCTION, *outside)]
    left_ms = planned_ms(document.ms, outside)
    for name, taken in (
        ("planned_production", ()),
        ("run_time", AVAILABILITY_LOSSES),
        ("ideal_time", SPEED_LOSSES),
        ("good_time", QUALITY_LOSSES),
    ):
        known = [loss for loss in taken if loss in document.losses]
        if taken and taken[-1] not in document.losses:
            return steps
        steps += [Step(loss, document.losses[loss], True) for loss in known]
        left_ms -= sum(document.losses[loss] for loss in known)
        steps.append(Step(name, left_ms, False))
    return steps


def lost_parts(document: OeeDocument) -> dict[str, int]:
    """Good parts that could have been made in the time lost, by kind; empty without an ideal cycle.

    Whole parts that add up to those of the whole time: each is the difference of two rounded sums.
    """
    if not document.ideal_cycle_s:
        return {}
    cycle_ns = round(document.ideal_cycle_s * 1_000_000_000)
    reached_ms, edges = 0, [0]
    for ms in document.losses.values():
        reached_ms += ms
        edges.append(round_half_even(reached_ms * NS_A_MS, cycle_ns))
    return {loss: until - since for loss, (since, until) in zip(document.losses, pairwise(edges), strict=True)}
