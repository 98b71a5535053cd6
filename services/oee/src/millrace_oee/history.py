"""A machine's past as a fold over its samples: runs of states and counted parts. The same fold serves live and replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace_contract.language.telemetry import Value
from millrace_contract.language.words import Leaf, MachineState
from millrace_contract.plant.holds import UNREACHABLE_HOLD_MS

from .calendar import LineCalendar, MachineCalendar
from .carried import CarriedScrap
from .changeover import OrderBegins
from .corrections import MadeUntil
from .counter_steps import QuarantinedStep, StepJudge, decisions
from .counts import Baseline, CountTrack, Segment, Share
from .cycles import CycleTimeline
from .entries import NO_ENTRIES, MachineEntries
from .machine import LATENESS_MS, UNCERTAIN_STATE, UNREACHABLE_STATE, Machine
from .orders import OrderChange, RunningOrder, order_changes, over
from .samples import Sample
from .scheduled import scheduled
from .states import FAILURE_STATES
from .stop_reasons import FOREVER_MS, ReasonPiece, pieces_of
from .stops import Stop
from .timeline import Run, Timeline


@dataclass(frozen=True, slots=True)
class Seed:
    """What is known from before the first sample of a history: counter baselines, and the runs that lead up to it."""

    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    was_running: bool | None = None
    """Of a machine whose state is a quantity: on which side of the band it was last."""


_RUNS = {True: MachineState.EXECUTE, False: MachineState.STOPPED}


class History:
    """One machine from `from_ms` on. Windows that start `machine.lookback_ms` later or more are exact.

    Samples must be added in order of event time; a late one asks for a new history.
    """

    def __init__(
        self, machine: Machine, calendar: LineCalendar, from_ms: int, seed: Seed, entries: MachineEntries = NO_ENTRIES
    ) -> None:
        """`entries`: what people and MES said of it."""
        self.machine = machine
        self.entries = entries
        self.orders: list[OrderChange] = order_changes(entries.orders)
        """What was in force when."""
        self.calendar: MachineCalendar = scheduled(calendar, machine, self.orders)
        self.from_ms = from_ms
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self._cycles = CycleTimeline(machine.stale_ms, machine.cycle_ms, machine.stop_after_ms) if machine.counts_cycles else None
        self.timeline: Timeline = self._cycles or Timeline(machine.stale_ms, machine.carry_ms)
        self.timeline.seed(seed.runs)
        self._was_running = seed.was_running
        self._last_count = seed.baselines.get(machine.pulse)
        decided = decisions(entries.steps)
        self.counts = {
            role: CountTrack(
                settings,
                machine.stale_ms,
                machine.reach_ms,
                seed.baselines.get(role),
                ideal_ns=machine.ideal_ns,
                is_inferred=machine.is_inferred,
                judge=StepJudge(machine.id, role, settings.modulus, settings.parts_per_count, decided),
            )
            for role, settings in machine.all_counters.items()
        }
        self.begins = OrderBegins(self.orders, self.counts)
        both = [seed.baselines.get(role) for role in ("total", "good")]
        since_ms = None if None in both else max(each.ts_ms for each in both if each is not None)
        self.carried = CarriedScrap(since_ms) if self.counts.keys() == {"total", "good"} else None
        """Of a machine that tells its scrap by how far its good parts are behind the total."""
        self._counts_by_order = any(each.product_counts for each in machine.all_versions)

    def add(self, sample: Sample) -> None:
        """The next sample. Its state ends the one before; its parts were made under the one before."""
        machine, ts_ms, raw = self.machine, sample.ts_ms, sample.state
        if self.first_ms is None:
            self.first_ms = ts_ms
        self.last_ms = ts_ms
        if raw is not None and raw != UNCERTAIN_STATE:
            now, hold_ms = machine, sample.hold_ms
            if hold_ms is None and raw == UNREACHABLE_STATE:
                hold_ms = UNREACHABLE_HOLD_MS
            if machine.versions:
                now = machine.at(ts_ms)
                self.timeline.hold_by(now.stale_ms, now.carry_ms)
            state, code = now.meaning(raw) if now.band is None else (self._state_of(now, raw), "")
            self.timeline.add(ts_ms, state, hold_ms, code)
        if self._cycles is not None and (count := sample.count(self.machine.pulse)) is not None:
            if self.machine.versions:
                now = self.machine.at(sample.ts_ms)
                self._cycles.pace(now.cycle_ms, now.stop_after_ms)
            self._cycles.counted(sample.ts_ms, _parts_since(self._last_count, count), sample.hold_ms)
            self._last_count = Baseline(count, sample.ts_ms)
        for role, track in self.counts.items():
            value = sample.count(role)
            if value is not None:
                if machine.versions or self._counts_by_order:
                    self._count_by(track, role, ts_ms)
                track.add(ts_ms, value, self._segments, sample.hold_ms)
        if self.carried is not None and (sample.count("total") is not None or sample.count("good") is not None):
            total, good = self.counts["total"], self.counts["good"]
            if total.last_ms is not None and good.last_ms is not None:
                self.carried.add(sample.ts_ms, total.parts - good.parts, self._segments)

    def orders_over(self, start_ms: int, end_ms: int) -> list[tuple[int, int, RunningOrder | None]]:
        """[start, end) cut where another order comes into force."""
        return over(self.orders, start_ms, end_ms)

    def why(self, stop: Stop) -> list[ReasonPiece]:
        """Why it stood: pieces that tile the stop. Unexplained, and no failure, it is setup where one order gave way to another."""
        end_ms, changing = FOREVER_MS if stop.end_ms is None else stop.end_ms, []
        if self.orders and stop.state not in FAILURE_STATES:
            changing = self.begins.change_overs(stop.start_ms, end_ms)
        return pieces_of(stop.start_ms, end_ms, self.entries.reasons, self.machine.reason_of(stop), changing)

    def made_until(self, at_ms: int) -> MadeUntil:
        """What the counters say was made up to then; only differences mean something."""
        roles = ("total",) if "total" in self.counts else ("good", "reject")
        known = [self.counts[role].made_until(at_ms) for role in roles if role in self.counts]
        return MadeUntil(sum(parts for parts, _ in known), sum(ideal for _, ideal in known))

    def _state_of(self, machine: Machine, raw: Value) -> MachineState:
        """What the reading says; of a quantity between its limits, what was so before."""
        band = machine.band
        if band is None or not isinstance(raw, float):
            return machine.meaning(raw)[0]
        state = band.state_of(raw)
        if state is None:
            return MachineState.UNKNOWN if self._was_running is None else _RUNS[self._was_running]
        self._was_running = state is MachineState.EXECUTE
        return state

    def steps(self) -> list[QuarantinedStep]:
        """Steps of all counters that do not count by themselves."""
        return [step for track in self.counts.values() for step in track.steps]

    def forget(self, before_ms: int) -> None:
        """Free memory of the time before; `from_ms` moves there."""
        if before_ms > self.from_ms:
            self.from_ms = before_ms
            versions = self.machine.all_versions
            self.timeline.forget(before_ms, lambda state: any(each.leaves[state] is Leaf.UNPLANNED_STOP for each in versions))
            for track in self.counts.values():
                track.forget(before_ms)
            if self.carried is not None:
                self.carried.forget(before_ms)

    def _count_by(self, track: CountTrack, role: str, ts_ms: int) -> None:
        """A step is judged by what held when it began. Another signal's reading is no baseline."""
        now, last_ms = self.machine.at(ts_ms), track.last_ms
        held = now if last_ms is None else self.machine.at(last_ms)
        settings = held.counters.get(role)
        if settings is not None and settings.signal == now.counters[role].signal:
            order = self._order_at(ts_ms if last_ms is None else last_ms) if self._counts_by_order else None
            track.count_by(held.counter_for(role, order), held)
        else:
            track.begin_anew()
            track.count_by(now.counters[role], now)

    def _order_at(self, at_ms: int) -> RunningOrder | None:
        return self.orders_over(at_ms, at_ms + 1)[0][2]

    def _segments(self, from_ms: int, to_ms: int) -> list[Segment]:
        """What is known of the time up to a reading of a counter. Of what is long ago nothing is, so that no figure rests on it.

        All of it by what held when that time began: a later change moves no part that was made before it.
        """
        machine, calendar = self.machine.at(from_ms), self.calendar.as_of(from_ms)
        slot, state = calendar.slot_at(to_ms - 1), self.timeline.state_throughout(from_ms, to_ms)
        if state is not None and slot.start_ms <= from_ms and to_ms - from_ms <= machine.reach_ms:
            return [_segment(machine, from_ms, to_ms, slot.leaf, state)]
        known_ms = max(from_ms, to_ms - machine.reach_ms)
        runs = self.timeline.runs(known_ms, to_ms, to_ms)
        found = []
        for slot in calendar.slots(max(from_ms, to_ms - LATENESS_MS), to_ms):
            at_ms = slot.start_ms
            if at_ms < known_ms:
                end_ms = min(known_ms, slot.end_ms)
                found.append(_segment(machine, at_ms, end_ms, slot.leaf, MachineState.UNKNOWN, is_near=False))
                at_ms = end_ms
            for run in runs:
                start_ms, end_ms = max(run.start_ms, known_ms, at_ms), min(run.end_ms, slot.end_ms)
                if start_ms < end_ms:
                    if at_ms < start_ms:
                        found.append(_segment(machine, at_ms, start_ms, slot.leaf, MachineState.UNKNOWN))
                    found.append(_segment(machine, start_ms, end_ms, slot.leaf, run.state))
                    at_ms = end_ms
            if at_ms < slot.end_ms:
                found.append(_segment(machine, at_ms, slot.end_ms, slot.leaf, MachineState.UNKNOWN))
        return found


def _segment(
    machine: Machine, start_ms: int, end_ms: int, planned: Leaf | None, state: MachineState, *, is_near: bool = True
) -> Segment:
    """`is_near`: the time lies within reach of the reading, so that the state is known unless it says so."""
    leaf = machine.leaves[state]
    if planned is None and leaf is Leaf.UNKNOWN:
        share = Share.INFERRED if machine.is_inferred and is_near else Share.UNKNOWN
    else:
        share = Share.PLANNED if planned is None and leaf in machine.production_leaves else Share.OUTSIDE
    # Where it did not answer nobody saw it stand, whatever the policy counts that time as.
    return Segment(start_ms, end_ms, share, leaf in (Leaf.RUN, Leaf.UNKNOWN) or state is MachineState.UNREACHABLE)


def _parts_since(last: Baseline | None, count: int) -> int:
    """How many parts a reading shows, at least, as far as the pace of the machine is concerned."""
    if last is None or count == last.value:
        return 0
    return max(1, count - last.value)
