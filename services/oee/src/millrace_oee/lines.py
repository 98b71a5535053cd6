"""A line's sums from its machines' sums: never an average of percentages (oee.md A15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import prod

import msgspec

from millrace_contract.language.words import Leaf, UnknownPolicy
from millrace_contract.plant import PlantModel

from .machine import Machine
from .windows import Sums, add

Station = tuple[Machine, ...]
"""Machines side by side, which do the same step of the flow; most often one."""


@dataclass(frozen=True, slots=True)
class LinePlan:
    """How one line is made of stations, in the order of the material flow."""

    name: str
    method: str
    coverage_min: float
    stations: tuple[Station, ...]
    outside: frozenset[Leaf] = frozenset()

    @property
    def machines(self) -> tuple[Machine, ...]:
        return tuple(machine for station in self.stations for machine in station)

    @property
    def unknown(self) -> UnknownPolicy | None:
        """What its machines' figures rest on where nobody knew what they did; None where they differ."""
        policies = {machine.unknown for machine in self.machines}
        return policies.pop() if len(policies) == 1 else None

    @property
    def version(self) -> list[object]:
        """What of the plan itself figures depend on."""
        return [self.method, [[machine.id for machine in station] for station in self.stations]]

    @property
    def bottleneck(self) -> int:
        """The place of the slowest station; of the last one where none has an ideal time."""
        paces = [(pace, place) for place, station in enumerate(self.stations) if (pace := pace_ns(station)) is not None]
        return max(paces, key=lambda entry: (entry[0], -entry[1]))[1] if paces else len(self.stations) - 1

    @property
    def ideal_ns(self) -> int | None:
        """The ideal time of one part in the time of the bottleneck's machines; None where the line has no pace of its own."""
        if self.method == "sum" and len(self.machines) > 1:
            return None
        station = self.stations[self.bottleneck]
        pace = pace_ns(station)
        return None if pace is None else round(pace * len(station))

    @property
    def end(self) -> int:
        """The place of the station whose good parts are the line's: the last one that counts."""
        counting = [place for place, station in enumerate(self.stations) if all(machine.counters for machine in station)]
        return counting[-1] if counting else len(self.stations) - 1


@dataclass(frozen=True, slots=True)
class LineSums:
    """The line's sums, and the sums of the other stations that decide about their coverage.

    `wip_moved`: how many good parts came off the end beyond those that the bottleneck made; below 0 they stay in the line. Never
    scrap. `end_ns`: the good parts at the end in the bottleneck's ideal time. Both None where they are not known, or mean nothing.
    """

    sums: Sums
    witnesses: tuple[Sums, ...] = ()
    wip_moved: int | None = None
    end_ns: int | None = None


def pace_ns(station: Station) -> Fraction | None:
    """The ideal time from one part to the next; None where a machine has none."""
    paces = [machine.ideal_ns for machine in station if machine.ideal_ns]
    if len(paces) < len(station):
        return None
    return 1 / sum((Fraction(1, pace) for pace in paces), Fraction(0))


def load_lines(plant: PlantModel, machines: Mapping[str, Machine]) -> dict[str, LinePlan]:
    """Every line that has at least one machine with OEE. `oee.machines` names them; default: all that have an ideal cycle."""
    plans = {}
    for line in plant.lines.values():
        named = line.oee.stations or tuple((name,) for name in line.devices)
        candidates = [tuple(machines[name] for name in station if name in machines) for station in named]
        paced = [station for station in candidates if station and all(machine.ideal_ns is not None for machine in station)]
        chosen = [station for station in candidates if station] if line.oee.stations or not paced else paced
        if chosen:
            plans[line.name] = LinePlan(
                line.name, line.oee.method, line.oee.coverage_min, tuple(chosen), frozenset(line.oee.outside)
            )
    return plans


def line_sums(plan: LinePlan, by_machine: Mapping[str, Sums]) -> LineSums:
    """`by_machine` holds the sums of every machine of the plan over the same window."""
    if plan.method == "sum":
        return LineSums(side_by_side([by_machine[machine.id] for machine in plan.machines]))
    stations = [side_by_side([by_machine[machine.id] for machine in station]) for station in plan.stations]
    return LineSums(stations[0]) if len(stations) == 1 else _constraint(plan, stations)


def side_by_side(parts: Sequence[Sums]) -> Sums:
    """Sums of machines that work in parallel; a ratio is known only if it is for each that had planned time."""
    working = [sums for sums in parts if sums.production_ms] or list(parts)
    return msgspec.structs.replace(
        reduce(add, parts),
        counted=all(sums.counted for sums in working),
        judged=all(sums.judged for sums in working),
        paced=all(sums.paced for sums in working),
    )


def _constraint(plan: LinePlan, stations: Sequence[Sums]) -> LineSums:
    """Stations in a row: time and pace are the bottleneck's, and each station's scrap lowers quality by its own counters.

    What comes off the end is no measure of a window's quality: it also depends on what the buffers held.
    """
    slow, end = stations[plan.bottleneck], stations[plan.end]
    judging = [sums for station, sums in zip(plan.stations, stations, strict=True) if all(map(_tells_scrap, station))]
    scrap, rework = sum(sums.scrap for sums in judging), sum(sums.rework for sums in judging)
    passed = end.total - end.scrap  # what was reworked goes on with the flow
    downstream = sum(sums.scrap for sums in stations[plan.bottleneck :] if sums in judging)
    is_known = slow.counted and end.counted and plan.end >= plan.bottleneck
    pace = pace_ns(plan.stations[plan.bottleneck])
    sums = msgspec.structs.replace(
        slow,
        total=passed + scrap,
        scrap=scrap,
        rework=rework,
        unseen=end.unseen,
        quarantined=sum(each.quarantined for each in stations),
        good_ns=_good_ns(slow.ideal_ns, judging),
        counted=slow.counted and end.counted,
        judged=bool(judging) and all(each.judged for each in judging),
        events=frozenset().union(*(each.events for each in (slow, end, *judging))),
        codes=frozenset().union(*(each.codes for each in stations)),
    )
    return LineSums(
        sums,
        (end, *judging),
        wip_moved=passed - (slow.total - downstream) if is_known else None,
        end_ns=round((passed - rework) * pace * len(plan.stations[plan.bottleneck])) if is_known and pace is not None else None,
    )


def _good_ns(ideal_ns: int, judging: Sequence[Sums]) -> int:
    """The bottleneck's ideal time times the share of good parts of each station."""
    made = [sums for sums in judging if sums.total]
    if any(sums.good < 0 for sums in judging):
        return -1
    return round(Fraction(ideal_ns * prod(sums.good for sums in made), prod(sums.total for sums in made)))


def _tells_scrap(machine: Machine) -> bool:
    return len(machine.counters) > 1
