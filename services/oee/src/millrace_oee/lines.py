"""A line's sums from its machines' sums: never an average of percentages (oee.md A15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import msgspec

from millrace_contract.plant import PlantModel

from .machine import Machine
from .windows import Sums, add


@dataclass(frozen=True, slots=True)
class LinePlan:
    """How one line is made of machines, in the order of the material flow."""

    name: str
    method: str
    coverage_min: float
    machines: tuple[Machine, ...]

    @property
    def bottleneck(self) -> Machine:
        """The machine with the longest ideal time a part; the last one where none has an ideal time."""
        paced = [machine for machine in self.machines if machine.ideal_ns is not None]
        return max(paced, key=lambda machine: machine.ideal_ns or 0) if paced else self.machines[-1]

    @property
    def end_of_line(self) -> Machine:
        """The machine whose good parts are the line's: the last one that counts."""
        counting = [machine for machine in self.machines if machine.counters]
        return counting[-1] if counting else self.machines[-1]


@dataclass(frozen=True, slots=True)
class LineSums:
    """The line's sums, and the machines' sums that decide about their coverage."""

    sums: Sums
    witnesses: tuple[Sums, ...] = ()


def load_lines(plant: PlantModel, machines: Mapping[str, Machine]) -> dict[str, LinePlan]:
    """Every line that has at least one machine with OEE. `oee.machines` names them; default: all that have an ideal cycle."""
    plans = {}
    for line in plant.lines.values():
        candidates = [machines[name] for name in line.oee.machines or line.devices if name in machines]
        paced = [machine for machine in candidates if machine.ideal_ns is not None]
        chosen = candidates if line.oee.machines or not paced else paced
        if chosen:
            plans[line.name] = LinePlan(line.name, line.oee.method, line.oee.coverage_min, tuple(chosen))
    return plans


def line_sums(plan: LinePlan, by_machine: Mapping[str, Sums]) -> LineSums:
    """`by_machine` holds the sums of every machine of the plan over the same window."""
    if plan.method == "sum":
        return LineSums(side_by_side([by_machine[machine.id] for machine in plan.machines]))
    return _constraint(plan, by_machine)


def side_by_side(parts: Sequence[Sums]) -> Sums:
    """Sums of machines that work in parallel; a ratio is known only if it is for each that had planned time."""
    working = [sums for sums in parts if sums.production_ms] or list(parts)
    return msgspec.structs.replace(
        reduce(add, parts),
        counted=all(sums.counted for sums in working),
        judged=all(sums.judged for sums in working),
        paced=all(sums.paced for sums in working),
    )


def _constraint(plan: LinePlan, by_machine: Mapping[str, Sums]) -> LineSums:
    """Machines in a row: the bottleneck's time, and what comes off the end in the bottleneck's ideal time.

    OEE = good parts at the end x the bottleneck's ideal time / its planned production time.
    """
    bottleneck, end = plan.bottleneck, plan.end_of_line
    first, last = by_machine[bottleneck.id], by_machine[end.id]
    if bottleneck.id == end.id:
        return LineSums(first)
    sums = msgspec.structs.replace(
        first,
        total=last.total,
        scrap=last.scrap,
        unseen=last.unseen,
        good_ns=last.matched_good * (bottleneck.ideal_ns or 0),
        matched_good=last.matched_good,
        counted=first.counted and last.counted,
        judged=last.judged,
        events=first.events | last.events,
    )
    return LineSums(sums, (last,))
