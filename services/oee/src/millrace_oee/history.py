"""A machine's past as a fold over its samples: runs of states and counted parts. The same fold serves live and replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace_contract.language.words import PRODUCTION_LEAVES, Leaf

from .calendar import LineCalendar
from .counts import Baseline, CountTrack
from .machine import Machine
from .samples import Sample
from .timeline import Run, Timeline


@dataclass(frozen=True, slots=True)
class Seed:
    """What is known from before the first sample of a history: counter baselines, and the runs that lead up to it."""

    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()


class History:
    """One machine from `from_ms` on. Windows that start `machine.lookback_ms` later or more are exact.

    Samples must be added in order of event time; a late one asks for a new history.
    """

    def __init__(self, machine: Machine, calendar: LineCalendar, from_ms: int, seed: Seed) -> None:
        self.machine = machine
        self.calendar = calendar
        self.from_ms = from_ms
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.timeline = Timeline(machine.stale_ms)
        self.timeline.seed(seed.runs)
        self.counts = {
            role: CountTrack(settings, machine.stale_ms, seed.baselines.get(role)) for role, settings in machine.counters.items()
        }

    def add(self, sample: Sample) -> None:
        """The next sample. Its state ends the one before; its parts were made under the one before."""
        if self.first_ms is None:
            self.first_ms = sample.ts_ms
        self.last_ms = sample.ts_ms
        if sample.state is not None:
            self.timeline.add(sample.ts_ms, self.machine.state_name(sample.state), sample.hold_ms)
        for role, track in self.counts.items():
            value = getattr(sample, role)
            if value is not None:
                track.add(sample.ts_ms, value, self._is_production)

    def forget(self, before_ms: int) -> None:
        """Free memory of the time before; `from_ms` moves there."""
        if before_ms > self.from_ms:
            self.from_ms = before_ms
            self.timeline.forget(before_ms, lambda state: self.machine.leaves[state] is Leaf.UNPLANNED_STOP)
            for track in self.counts.values():
                track.forget(before_ms)

    def _is_production(self, from_ms: int, to_ms: int) -> bool:
        if to_ms - from_ms > self.machine.span_limit_ms or self.calendar.leaf_at(to_ms - 1) is not None:
            return False
        if self.machine.leaves[self.timeline.state_at(to_ms - 1)] not in PRODUCTION_LEAVES:
            return False
        return self.timeline.known_throughout(from_ms, to_ms)
