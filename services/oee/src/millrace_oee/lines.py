"""A line's sums from its machines' sums: never an average of percentages (oee.md A15)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from fractions import Fraction
from functools import reduce
from math import prod
from typing import Any

import msgspec

from millrace_contract.language.words import Leaf, NoOrder, UnknownPolicy
from millrace_contract.plant import PlantModel
from millrace_contract.plant.model import stations_of

from .machine import Machine, dated_steps
from .steps import ALWAYS, Steps, ValueStep, together
from .windows import OrderSums, Sums, add, add_orders

KEYS = ("method", "coverage_min", "outside", "machines")
"""What a plant says of a line's figures."""
Station = tuple[Machine, ...]
"""Machines side by side, which do the same step of the flow; most often one."""


@dataclass(frozen=True, slots=True)
class LinePlan:
    """How one line is made of stations, in the order of the material flow.

    Its values are the latest ones. `versions`: since when which hold, where others did; a window is told by those at its end.
    """

    name: str
    method: str
    coverage_min: float
    stations: tuple[Station, ...]
    outside: frozenset[Leaf] = frozenset()
    versions: tuple[tuple[int, LinePlan], ...] = field(default=(), repr=False)

    def until(self, end_ms: int) -> LinePlan:
        """The line as it was just before that instant."""
        if not self.versions:
            return self
        return self.versions[bisect_left(self.versions, end_ms, lo=1, key=lambda each: each[0]) - 1][1]

    @property
    def all_machines(self) -> tuple[str, ...]:
        """Ids of those of every version, the latest one's first."""
        plans = [self, *(plan for _, plan in reversed(self.versions))]
        return tuple(dict.fromkeys(machine.id for plan in plans for machine in plan.machines))

    @property
    def machines(self) -> tuple[Machine, ...]:
        return tuple(machine for station in self.stations for machine in station)

    @property
    def no_order(self) -> NoOrder | None:
        """What time without an order is for its machines."""
        return self.machines[0].no_order

    def paced(self, part_ns: Mapping[str, int | None]) -> LinePlan:
        """The line at these ideal times of a part, by machine: those of the product that it makes."""
        stations = tuple(
            tuple(replace(each, ideal_ns=part_ns.get(each.id, each.ideal_ns)) for each in station) for station in self.stations
        )
        return replace(self, stations=stations)

    @property
    def flow(self) -> tuple[tuple[str, ...], ...]:
        """Its machines by station; of machines that work side by side none comes before another."""
        return () if self.method == "sum" else tuple(tuple(machine.id for machine in station) for station in self.stations)

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
    def machines_in_time(self) -> int:
        """How many machines' time its figures are made of."""
        return len(self.machines) if self.method == "sum" else len(self.stations[self.bottleneck])

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


def written_lines(plant: PlantModel, zone: tzinfo) -> dict[str, dict[str, Steps]]:
    """What is said of each line, and from when on."""
    return {
        line.name: {key: dated_steps(getattr(line.oee, key), line.oee.changes, key, zone) for key in KEYS}
        for line in plant.lines.values()
    }


def load_lines(
    plant: PlantModel, machines: Mapping[str, Machine], written: Mapping[str, Mapping[str, Steps]]
) -> dict[str, LinePlan]:
    """Every line that has at least one machine with OEE. `oee.machines` names them; default: all that have an ideal cycle."""
    plans = {}
    for line in plant.lines.values():
        here = {name: machines[name] for name in line.devices if name in machines}
        changes = sorted({at_ms for machine in here.values() for at_ms, _ in machine.versions})
        versions: list[tuple[int, LinePlan]] = []
        for at_ms, said in together({**written[line.name], "": tuple(ValueStep(at_ms, at_ms) for at_ms in [ALWAYS, *changes])}):
            plan = _line_plan(line.name, said, {name: machine.at(at_ms) for name, machine in here.items()})
            if plan is not None and (not versions or versions[-1][1] != plan):
                versions.append((at_ms, plan))
        if versions:
            latest = versions[-1][1]
            plans[line.name] = latest if len(versions) == 1 else replace(latest, versions=tuple(versions))
    return plans


def _line_plan(name: str, said: Mapping[str, Any], machines: Mapping[str, Machine]) -> LinePlan | None:
    flow = stations_of(said["machines"])
    candidates = [
        tuple(machines[each] for each in station if each in machines) for station in flow or [(each,) for each in machines]
    ]
    paced = [station for station in candidates if station and all(machine.ideal_ns is not None for machine in station)]
    chosen = [station for station in candidates if station] if flow or not paced else paced
    return LinePlan(name, said["method"], said["coverage_min"], tuple(chosen), frozenset(said["outside"])) if chosen else None


def line_sums(plan: LinePlan, by_machine: Mapping[str, Sums]) -> LineSums:
    """`by_machine` holds the sums of every machine of the plan over the same window."""
    if plan.method == "sum":
        return LineSums(side_by_side([by_machine[machine.id] for machine in plan.machines]))
    stations = [side_by_side([by_machine[machine.id] for machine in station]) for station in plan.stations]
    if len(stations) == 1:
        return LineSums(stations[0])
    whole = _constraint(plan, stations)
    orders = _common_orders(plan, by_machine)
    return _by_order(plan, whole, orders) if orders else whole


def _common_orders(plan: LinePlan, by_machine: Mapping[str, Sums]) -> list[dict[str, OrderSums]]:
    """By order of the line, what each machine did for it; empty where they worked on different ones."""
    of_each = [{each.key: each for each in by_machine[machine.id].orders or ()} for machine in plan.machines]
    first = of_each[0]
    if any(
        [(key, each.start_ms, each.end_ms, each.sums.all_ms) for key, each in found.items()]
        != [(key, each.start_ms, each.end_ms, each.sums.all_ms) for key, each in first.items()]
        for found in of_each
    ):
        return []
    ids = [machine.id for machine in plan.machines]
    return [dict(zip(ids, (found[key] for found in of_each), strict=True)) for key in first]


def _by_order(plan: LinePlan, whole: LineSums, orders: Sequence[dict[str, OrderSums]]) -> LineSums:
    """Each product has a bottleneck of its own: the line's sums are those of its orders, one after the other."""
    told: list[tuple[OrderSums, LineSums]] = []
    for of_machine in orders:
        paced = plan.paced({name: each.part_ns for name, each in of_machine.items()})
        stations = [side_by_side([of_machine[machine.id].sums for machine in station]) for station in paced.stations]
        line = _constraint(paced, stations)
        slow = [of_machine[machine.id] for machine in paced.stations[paced.bottleneck]]
        [one] = add_orders(slow)
        told.append((msgspec.structs.replace(one, sums=line.sums, part_ns=paced.ideal_ns), line))
    parts = [line for _, line in told]
    sums = side_by_side([msgspec.structs.replace(each.sums, orders=()) for each in parts])
    moved, ends = [each.wip_moved for each in parts], [each.end_ns for each in parts]
    is_impossible = any(each.sums.good_ns < 0 for each in parts)
    return LineSums(
        msgspec.structs.replace(sums, orders=tuple(each for each, _ in told), good_ns=-1 if is_impossible else sums.good_ns),
        whole.witnesses,
        wip_moved=None if None in moved else sum(each for each in moved if each is not None),
        end_ns=None if None in ends else sum(each for each in ends if each is not None),
    )


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
        startup=None,
        startup_ns=0,
        orders=(),
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
