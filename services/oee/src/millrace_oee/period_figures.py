"""Any period that somebody asks for: the same sums as those of windows, over any time, of a device or a line (oee.md A11).

`sums_of_period` and what follows are functions of an engine and its store; `read_period` fills one from the database, a business
date at a time, so that a year needs the memory of a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import pairwise
from typing import Any

from millrace_contract.figures.kpis import iso22400, semi_e10
from millrace_contract.figures.losses import lost_parts, waterfall
from millrace_contract.figures.stop_causes import Flow, by_machine, stop_causes, waits
from millrace_contract.figures.stop_list import longest, pareto, stop_parts
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings

from .best_cycle import Cycles, cycles_of, speed_loss
from .calendar import LineCalendar, TimeWindow
from .database import read_entries
from .documents import device_document, line_document
from .engine import Engine
from .lines import line_sums
from .machine import Machine
from .past import engine_of_past
from .plan import Plan
from .spans import day_window
from .windows import Sums, add

SHOWN_STOPS = 10


@dataclass(frozen=True, slots=True)
class MachinePeriod:
    """What one machine did in a period. `stops` by id, whole; `cycles` how fast it went at its best."""

    sums: Sums
    stops: Mapping[str, OeeInterval] = field(default_factory=dict)
    cycles: Cycles = field(default_factory=Cycles)

    def __add__(self, later: MachinePeriod) -> MachinePeriod:
        """Of two stretches, the second right after the first: a stop that lasts over both is told by the second."""
        return MachinePeriod(add(self.sums, later.sums), {**self.stops, **later.stops}, self.cycles + later.cycles)


def machine_period(engine: Engine, device: str, from_ms: int, to_ms: int) -> MachinePeriod:
    """Of a machine, from what the engine's store holds."""
    sums, stops, samples = engine.told_between(device, from_ms, to_ms)
    return MachinePeriod(sums, {stop.id: stop for stop in stops}, cycles_of(engine.plan.machines[device], samples))


def period_document(plan: Plan, told: Mapping[str, MachinePeriod], from_ms: int, to_ms: int, *, line: str | None) -> OeeDocument:
    """The figures of a line, whose machines are all in `told`; without `line` of the only device there."""
    window = TimeWindow(from_ms, to_ms, WindowKind.PERIOD, f"{format_timestamp(from_ms)}/{format_timestamp(to_ms)}")
    if line is not None:
        of_line = plan.lines[line].until(to_ms)
        sums = line_sums(of_line, {machine.id: told[machine.id].sums for machine in of_line.machines})
        return line_document(of_line, sums, window, as_of_ms=to_ms, versions=plan.versions_of_line(of_line, window))
    [(device, only)] = told.items()
    machine = plan.machines[device]
    return device_document(
        machine,
        only.sums,
        window,
        as_of_ms=to_ms,
        coverage_min=plan.coverage_min(machine, window),
        versions=plan.versions_of(machine, window),
    )


def in_full(
    document: OeeDocument, told: Mapping[str, MachinePeriod], machines: Mapping[str, Machine], flow: Flow = ()
) -> dict[str, Any]:
    """The document, and what follows from it and from the stops, as one object. `flow`: of a line whose machines stand in a row."""
    start_ms, end_ms = parse_timestamp(document.window.start), parse_timestamp(document.window.end)
    parts = [part for each in told.values() for part in stop_parts(each.stops.values(), start_ms, end_ms)]
    causes = stop_causes((stop for each in told.values() for stop in each.stops.values()), flow, start_ms, end_ms)
    return {
        "figures": document,
        "waterfall": [asdict(step) for step in waterfall(document)],
        "lost_parts": lost_parts(document),
        "iso22400": asdict(iso22400(document)),
        "semi_e10": asdict(semi_e10(document)),
        "stops": [asdict(group) for group in pareto(parts)],
        "longest_stops": [asdict(each) for each in longest(parts, SHOWN_STOPS)],
        "stood": [asdict(each) for each in by_machine(causes, told)],
        "waits": [asdict(each) for each in waits(causes)],
        "best_cycle_s": {device: each.cycles.best_s for device, each in told.items()},
        "speed_loss": {
            device: None if (loss := speed_loss(machines[device], each.cycles, each.sums)) is None else asdict(loss)
            for device, each in told.items()
        },
    }


def read_period(
    plan: Plan, settings: DatabaseSettings, devices: Sequence[str], from_ms: int, to_ms: int
) -> dict[str, MachinePeriod]:
    """Of several machines of one line, from the database. Raises Unavailable, Refused or QueryFailed."""
    calendar = plan.calendars[plan.machines[devices[0]].line]
    with Influx(settings) as influx:
        entries = list(read_entries(influx))

        def stretches(device: str) -> Iterator[MachinePeriod]:
            for start_ms, end_ms in pairwise(_edges(calendar, from_ms, to_ms)):
                engine, _ = engine_of_past(plan, influx, entries, device, (start_ms, end_ms))
                yield machine_period(engine, device, start_ms, end_ms)

        return {device: reduce(MachinePeriod.__add__, stretches(device)) for device in devices}


def _edges(calendar: LineCalendar, from_ms: int, to_ms: int) -> list[int]:
    """The period cut where business dates begin."""
    day = datetime.fromtimestamp(from_ms / 1000, UTC).date() - timedelta(days=2)
    inside: set[int] = set()
    while (start_ms := day_window(calendar, day).start_ms) < to_ms:
        if start_ms > from_ms:
            inside.add(start_ms)
        day += timedelta(days=1)
    return sorted({from_ms, to_ms, *inside})
