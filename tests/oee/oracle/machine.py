"""The past of one machine as slices of time, each with its leaf and its parts, and their sums in a window."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from .calendar import LineCalendar, Window
from .parts import ASKED_MS, Step, split, steps
from .plant import Device, Plant, Reading, ms_of
from .states import FAILURES, STOP_LEAVES, WAITING, Piece, Stop, Stretch, hold_of, leaf_of, stops, stretches

LEAVES = ("not_scheduled", "unscheduled", "break", "unknown", "planned_stop", "setup", "unplanned_stop", "minor_stop", "run")


@dataclass
class Slice:
    start: int
    end: int
    calendar: tuple[str, int]
    stretch: Stretch
    leaf: str
    stop: Stop | None
    piece: Piece | None
    cycle_ns: int | None
    parts: Counter[tuple[str, str]] = field(default_factory=Counter)  # by role and class
    bad: Counter[tuple[str, str]] = field(default_factory=Counter)  # entered scrap and rework, by kind and class
    blind: set[str] = field(default_factory=set)  # roles of which nobody can say when their parts were made

    @property
    def ms(self) -> int:
        return self.end - self.start


@dataclass
class Sums:
    ms: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    planned: int = 0
    ideal: Fraction = Fraction(0)
    good: Fraction = Fraction(0)
    assumed: int = 0
    unexplained: int = 0
    stops: Counter[str] = field(default_factory=Counter)
    flags: set[str] = field(default_factory=set)
    paced: bool = False  # is there an ideal cycle
    counted: bool = False
    judged: bool = False  # is there a counter of quality
    cycle_ns: Fraction | None = None
    made: int = 0  # parts of planned time
    bad: int = 0
    left: int = 0


class Machine:
    def __init__(self, plant: Plant, device: Device, calendar: LineCalendar, outside: list[str], until: int) -> None:
        self.plant, self.device, self.outside = plant, device, outside
        self.counter = "total" if device.profile["oee"].get("total") else "good"
        every = sorted(at for readings in device.readings.values() for at in (r.at for r in readings))
        self.first_heard = every[0]
        self.until = until
        first, last = calendar.windows[0].start, until
        self.past = stretches(plant, device, first, last)
        self.stops = stops(plant, device, self.past)
        self.steps = [step for role in ("total", "good", "reject") for step in steps(plant, device, role)]
        self.slices = self._slices(calendar, first, last)
        self._starts = [s.start for s in self.slices]
        for step in self.steps:
            self._count(step)
        self._enter()

    def _slices(self, calendar: LineCalendar, first: int, last: int) -> list[Slice]:
        self.calendar, self.cuts = calendar, calendar.cuts()
        cuts = self.cuts | {first, last} | {at for s in self.past for at in (s.start, s.end)}
        cuts |= {at for stop in self.stops for piece in stop.pieces for at in (piece.start, piece.end)}
        cuts |= {at for step in self.steps for at in (step.start, step.end, step.end - ASKED_MS)}
        cuts |= set(self.plant.changes(self.device.settings)) | set(self.plant.changes(self.device.profile["oee"]))
        for product in self.plant.products.values():
            cuts |= set(self.plant.changes(product.get("machines", {}).get(self.device.name, {})))
        for entry in self.plant.entries:
            cuts |= {ms_of(entry["values"][key]) for key in ("at", "start", "end") if entry["values"].get(key)}
            cuts.add(entry["at"])
        for role in ("total", "good", "reject"):
            if self.device.profile["oee"].get(role) and (good := self._good(role)):
                own = max(hold_of(self.device, self.device.profile["oee"][each]) for each in ("state", role))
                cuts |= {good[0].at - own, good[-1].at + (own if good[-1].hold_ms is None else good[-1].hold_ms)}
        times = sorted(at for at in cuts if first <= at <= last)
        result = []
        for start, end in pairwise(times):
            stretch = next(s for s in self.past if s.start <= start < s.end)
            stop = next((s for s in self.stops if s.start <= start < s.end), None)
            piece = next((p for p in stop.pieces if p.start <= start < p.end), None) if stop else None
            where = calendar.at(start)
            leaf = self._leaf(where[0], stretch, stop, piece)
            result.append(Slice(start, end, where, stretch, leaf, stop, piece, self._cycle_ns(start)))
        return result

    def _leaf(self, where: str, stretch: Stretch, stop: Stop | None, piece: Piece | None) -> str:
        if where != "shift":
            return "break" if where == "break" else "not_scheduled"
        if stop is None:
            return leaf_of(self.plant, self.device, stretch.state, stretch.start)
        said = self.plant.reasons.get(piece.reason or "", {}).get("leaf") if piece else None
        if said and said != "unplanned_stop":
            return str(said)
        return "minor_stop" if stop.minor else "unplanned_stop"

    def _cycle_ns(self, at: int) -> int | None:
        order = self._order(at)
        cycle: tuple[Any, int] | None = None
        if order is not None:
            made = self.plant.products.get(order.get("product") or "", {}).get("machines", {}).get(self.device.name)
            if order.get("ideal_cycle"):
                cycle = order["ideal_cycle"]["seconds"], order["ideal_cycle"].get("parts", 1)
            elif made:
                cycle = self.plant.dated(made, "ideal_cycle_s", at), self.plant.dated(made, "parts", at, 1)
        if cycle is None:
            return self._own_ns(at)
        return round(Fraction(str(cycle[0])) * 10**9 / cycle[1])

    def _own_ns(self, at: int) -> int | None:
        own = self.plant.dated(self.device.settings, "ideal_cycle_s", at)
        return None if own is None else round(Fraction(str(own)) * 10**9)

    def _order(self, at: int) -> dict[str, Any] | None:
        told = [
            e
            for e in self.plant.entries
            if e["kind"] == "order" and e["line"] == self.device.line and e["device"] in (None, self.device.name)
        ]
        starts = {}
        inforce: dict[str, Any] | None = None
        for entry in sorted(told, key=lambda e: (ms_of(e["values"]["at"]), e["at"], e["id"])):
            said = entry["values"]
            if ms_of(said["at"]) > at:
                break
            if said["action"] == "start":
                starts[said["order"]] = said
            if said["action"] in ("start", "resume"):
                inforce = starts.get(said["order"])
            elif inforce is not None and inforce["order"] == said["order"]:
                inforce = None
        return inforce

    def _class(self, s: Slice) -> str:
        if s.leaf == "unknown":
            return "unknown"
        return "other" if s.leaf in ("not_scheduled", "break", "unscheduled") or s.leaf in self.outside else "planned"

    def _within(self, start: int, end: int) -> list[Slice]:
        low = max(0, bisect_right(self._starts, start) - 1)
        return [
            s for s in self.slices[low : bisect_right(self._starts, end)] if start <= s.start and s.end <= end and s.start < s.end
        ]

    def _count(self, step: Step) -> None:
        slices = self._within(step.start, step.end)
        spans: list[tuple[int, int, str, object, bool]] = []
        for s in slices:
            kind, stood = self._class(s), False
            key: object = (s.calendar, s.stretch.state, s.stretch.assumed)
            if s.end <= step.end - ASKED_MS:
                kind = "unknown" if s.calendar[0] == "shift" else "other"
                key = (s.calendar, None)
                s.blind |= {step.role} if step.parts else set()
            else:
                stood = s.stretch.state != "unreachable" and leaf_of(
                    self.plant, self.device, s.stretch.state, s.stretch.start
                ) not in ("run", "unknown")
            spans.append((s.start, s.end, kind, key, stood))
        if step.parts:
            for index, (kind, parts) in split(step, spans).items():
                slices[index].parts[step.role, kind] += parts

    def _total(self, s: Slice, kind: str) -> int:
        role = "total" if self.device.profile["oee"].get("total") else "good"
        total = s.parts[role, kind]
        return total + s.parts["reject", kind] if role == "good" else total

    def _scrap(self, s: Slice, kind: str) -> int:
        oee = self.device.profile["oee"]
        if oee.get("reject"):
            return s.parts["reject", kind]
        if oee.get("total") and oee.get("good"):
            return s.parts["total", kind] - s.parts["good", kind]
        return 0

    def _enter(self) -> None:
        for entry in self.plant.entries:
            if entry["kind"] not in ("scrap", "rework") or entry["device"] != self.device.name:
                continue
            said = entry["values"]
            start = ms_of(said["start"]) if said.get("start") else entry["at"]
            end = ms_of(said["end"]) if said.get("end") else start
            slices = self._within(start, end)
            made = [(s, kind, self._total(s, kind)) for s in slices for kind in ("planned", "other", "unknown")]
            whole = sum(parts for _, _, parts in made)
            if start == end or whole <= 0:
                at = next((s for s in self.slices if s.start <= end < s.end), None)
                if at is not None:
                    at.bad[entry["kind"], "planned"] += said["count"]
                    at.bad[entry["kind"], "all"] += said["count"]
                continue
            sign, count = (-1, -said["count"]) if said["count"] < 0 else (1, said["count"])
            done = met = 0
            for s, kind, parts in made:
                share = count * (done + parts) // whole - count * done // whole
                done += parts
                s.bad[entry["kind"], "all"] += sign * share
                if kind == "planned":  # of those that meet ideal time
                    s.bad[entry["kind"], kind] += sign * (count * (met + parts) // whole - count * met // whole)
                    met += parts

    def sums(self, window: Window, parts: list[Window]) -> Sums:
        """`parts`: the windows of which a day is the sum; what one of them does not know the day does not know either."""
        sums = self._sums(window)
        each = [self._sums(part) for part in parts if part.end > self.first_heard]
        running = [part for part in each if part.ms["run"] + part.ms["minor_stop"] or part.made]
        producing = [part for part in each if part.made or (part.ms["run"] + part.ms["minor_stop"] and not part.counted)]
        if each:
            sums.counted = all(part.counted for part in running) if running else any(part.counted for part in each)
            sums.paced = all(part.paced for part in running) if running else any(part.paced for part in each)
            sums.judged = all(part.judged for part in producing) if producing else any(part.judged for part in each)
        return sums

    def _sums(self, window: Window) -> Sums:
        end = min(window.end, self.until)
        slices = self._within(window.start, end)
        sums = Sums()
        weighted = Fraction(0)
        for s in slices:
            sums.ms[s.leaf] += s.ms
            sums.assumed += s.ms if s.stretch.assumed and s.calendar[0] == "shift" else 0
            if s.stretch.unmapped and s.leaf == "unknown":
                sums.flags.add("unmapped_state")
            bad = s.bad["scrap", "all"] + s.bad["rework", "all"]
            sums.parts.update(scrap=s.bad["scrap", "all"], rework=s.bad["rework", "all"], good=-bad)
            for kind in ("planned", "other", "unknown"):
                total, scrap = self._total(s, kind), self._scrap(s, kind)
                sums.parts.update(total=total, scrap=scrap, good=total - scrap)
                sums.parts["unknown"] += total if kind == "unknown" else 0
                if kind == "planned":
                    cycle = s.cycle_ns or 0
                    sums.made += total
                    weighted += total * cycle
                    sums.ideal += Fraction(total * cycle, 10**6)
                    lost = scrap + s.bad["scrap", kind] + s.bad["rework", kind]
                    sums.good += Fraction((total - lost) * cycle, 10**6)
            self._stops(s, sums)
        mattering = [s for s in slices if self._total(s, "planned") or s.leaf in ("run", "minor_stop")]
        sums.paced = any(s.cycle_ns is not None for s in slices) and all(s.cycle_ns is not None for s in mattering)
        in_force = any(self._order(s.start) is not None for s in slices)
        own = self._cycle_ns(end - 1) if in_force else self._own_ns(window.end - 1)
        at_end = None if own is None else Fraction(own)
        sums.cycle_ns = weighted / sums.made if sums.made and sums.paced else at_end
        oee = self.device.profile["oee"]
        quality = "reject" if oee.get("reject") else "good" if oee.get("total") and oee.get("good") else None
        ran = [s for s in slices if s.leaf == "run"]
        sums.counted = self._tells(self.counter, slices, window.start, end) and not any(self._untold(self.counter, s) for s in ran)
        sums.judged = (
            quality is not None
            and sums.counted
            and self._tells(quality, slices, window.start, end)
            and not any(self._total(s, "planned") and self._untold(quality, s) for s in slices)
        )
        sums.left = sum(
            b - a
            for a, b in pairwise(sorted({end, window.end, *(at for at in self.cuts if end < at < window.end)}))
            if self.calendar.at(a)[0] == "shift"
        )
        for step in self.steps:
            if window.start < step.end <= end:
                sums.parts["quarantined"] += step.waits if step.role == self.counter else 0
                if step.flag:
                    sums.flags.add(step.flag)
        return sums

    def _tells(self, role: str, slices: list[Slice], start: int, end: int) -> bool:
        """Whether the steps of this counter over the window say what was made in it."""
        if any(role in s.blind for s in slices):
            return False
        if sum(parts for s in slices for (of, _), parts in s.parts.items() if of == role) > 0:
            return True
        quiet = hold_of(self.device, self.device.profile["oee"]["state"])
        return not any(
            a.at <= start and end < b.at and b.at - a.at > quiet and a.value != b.value for a, b in pairwise(self._good(role))
        )

    def _good(self, role: str) -> list[Reading]:
        readings = self.device.readings.get(self.device.profile["oee"][role], [])
        return [r for r in readings if isinstance(r.value, float) and not r.doubtful]

    def _untold(self, role: str, s: Slice) -> bool:
        """No reading of this counter tells of this time: it lies before the first one, or the last one holds no more."""
        good = self._good(role)
        if not good:
            return True
        own = max(hold_of(self.device, self.device.profile["oee"][each]) for each in ("state", role))
        after = good[-1].at + (own if good[-1].hold_ms is None else good[-1].hold_ms)
        return s.start < good[0].at - own or s.end > after

    def _stops(self, s: Slice, sums: Sums) -> None:
        """Each stop counts where its first planned time is, as what it is there; its time counts everywhere."""
        stop = s.stop
        if stop is None or self._class(s) != "planned" or s.piece is None:
            return
        begins = not any(self._class(other) == "planned" for other in self._within(stop.start, s.start))
        if s.leaf == "minor_stop":
            sums.stops["minor"] += begins
        if s.leaf == "unplanned_stop":
            failed = (
                stop.state in FAILURES
                if s.piece.reason is None
                else bool(self.plant.reasons.get(s.piece.reason, {}).get("failure"))
            )
            sums.stops["count"] += begins
            sums.stops["failures"] += begins and failed
            sums.stops["failure_ms"] += s.ms if failed else 0
            sums.stops["waiting_ms"] += s.ms if stop.state in WAITING and not failed else 0
            sums.unexplained += s.ms if s.piece.reason is None else 0
        if stop.pending and s.leaf in STOP_LEAVES:
            sums.flags.add("stop_pending")
