"""The score: what the machines served against what the database holds (contracts.md 7). Pure.

*lost*: a number of a stream that is neither stored nor in a ledger. *duplicated*: one value of a device's counter of served
reads in two points. *wrong*: a stored value that is not the one served with that counter. *never committed*: served, and no
point has it.

Truth and points come in slices of time, so that a day of a plant fits into memory. A signal that was not in the same answer as
the counter was served in another request of the same poll, and so between the counter's last step and its next one, but for steps
within the time of a poll that have no point of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from millrace_contract.language.telemetry import Value
from millrace_contract.plant import PlantModel, Profile
from millrace_contract.plant.signal import READS_SERVED
from millrace_contract.store_forward.ranges import Range, RangeSet

from .faults import SPOILING_KINDS
from .memory import COUNTER_MODULUS
from .registers import reading_of
from .score_figures import FigureScore
from .truth import Read

EXAMPLES = 50
BURST_GAP_MS = 3_000
"""Reads that were not committed belong to one event when no more than this lies between them."""
POLL_MS = 10_000
"""The longest that one poll of a device may take."""


@dataclass(frozen=True, slots=True)
class ScoredPoint:
    """A stored telemetry point: its time, identity and readings (text without its suffix)."""

    time_ms: int
    device: str
    stream: str | None
    seq: int | None
    readings: Mapping[str, Value]


@dataclass(slots=True)
class DeviceScore:
    served: int = 0
    stored: int = 0
    """Points of these reads; what was stored too recently to be judged is not among them."""
    duplicated: int = 0
    wrong: int = 0
    values: int = 0
    """Stored values that were compared."""
    never_committed: dict[str, int] = field(default_factory=dict)
    """By cause: the fault that spoiled the answer, or `unexplained` (a gateway that was killed before its commit)."""


@dataclass(slots=True)
class StreamScore:
    stored: int
    in_ledger: int
    in_ledger_and_stored: int
    """What the ledger says is lost and is not; an outbox that dropped what was stored and not yet confirmed can't know."""
    lost: int
    first: int
    last: int
    lost_ranges: list[Range]


@dataclass(frozen=True, slots=True)
class Burst:
    """Reads that were served and never committed at about the same time, without a fault of the connection to explain it."""

    first_ms: int
    last_ms: int
    reads: int
    devices: int


@dataclass(slots=True)
class Score:
    since_ms: int
    until_ms: int
    devices: dict[str, DeviceScore]
    streams: dict[str, StreamScore]
    bursts: list[Burst]
    examples: list[str]
    figures: dict[str, FigureScore] = field(default_factory=dict)
    """OEE's states and parts, by device; empty where OEE has stored none."""

    @property
    def lost(self) -> int:
        return sum(stream.lost for stream in self.streams.values())

    @property
    def duplicated(self) -> int:
        return sum(device.duplicated for device in self.devices.values())

    @property
    def wrong(self) -> int:
        return sum(device.wrong for device in self.devices.values())

    @property
    def is_clean(self) -> bool:
        """Nothing lost, duplicated or wrong, and something was compared at all."""
        stored = sum(device.stored for device in self.devices.values())
        return stored > 0 and self.lost == self.duplicated == self.wrong == 0


@dataclass(slots=True)
class _Slice:
    """What a device served in one slice of time: the reads with the counter, and the values of the other reads by counter."""

    counted: dict[int, Read] = field(default_factory=dict)
    others: dict[int, list[Read]] = field(default_factory=dict)


class Scorer:
    """Feed it, in order of time, `take_truth` and then `take_points` of each slice, and `finish` at the end.

    A slice's points are compared with the truth of that slice and the one before, so points must lag the truth by less than one.
    """

    def __init__(self, plant: PlantModel, from_ms: int, judged_until_ms: int) -> None:
        """Reads outside of these times serve to explain points, but are not asked for."""
        self._plant = plant
        self._from_ms = from_ms
        self._judged_until_ms = judged_until_ms
        self._devices: dict[str, DeviceScore] = {}
        self._previous: dict[str, _Slice] = {}
        self._current: dict[str, _Slice] = {}
        self._seen: dict[str, RangeSet] = {}
        self._stored: dict[str, RangeSet] = {}
        """Counters of every point so far, those included that are still to be compared."""
        self._unexplained: list[tuple[int, str]] = []
        self._examples: list[str] = []

    def take_truth(self, reads: Iterable[Read]) -> None:
        """Begin the next slice: what was served in it."""
        self._settle(self._previous)
        self._previous, self._current = self._current, {}
        for read in reads:
            mine = self._current.setdefault(read.device, _Slice())
            if read.counted:
                mine.counted[read.counter] = read
                self._device(read.device).served += self._is_judged(read)
            else:
                mine.others.setdefault(read.counter, []).append(read)

    def take_points(self, points: Iterable[ScoredPoint]) -> None:
        """Compare points of simulated devices; those without the counter have only their number to be judged by."""
        counted = [
            (point, int(counter))
            for point in points
            if isinstance(counter := point.readings.get(READS_SERVED), float) and point.device in self._plant.devices
        ]
        for point, counter in counted:
            self._stored.setdefault(point.device, RangeSet()).add(counter, counter)
        for point, counter in counted:
            self._compare(point, counter)

    def finish(self, streams: Mapping[str, StreamScore]) -> Score:
        """The whole score; `streams` come from `score_stream`."""
        self._settle(self._previous)
        self._settle(self._current)
        for name, stream in streams.items():
            for first, last in stream.lost_ranges[:EXAMPLES]:
                self._example(f"lost: stream {name}, seq {first}" + (f" to {last}" if last > first else ""))
        return Score(self._from_ms, self._judged_until_ms, self._devices, dict(streams), _bursts(self._unexplained), self._examples)

    def _compare(self, point: ScoredPoint, counter: int) -> None:
        score = self._device(point.device)
        seen = self._seen.setdefault(point.device, RangeSet())
        if counter in seen:
            score.duplicated += 1
            self._example(f"duplicated: {point.device} {READS_SERVED} {counter}, again at {point.time_ms}")
        seen.add(counter, counter)
        read = self._find(point.device, counter)
        score.stored += read is None or self._is_judged(read)
        if read is None:
            score.wrong += 1
            self._example(f"wrong: {point.device} {READS_SERVED} is {counter}, which was never served")
            return
        if read.fault in SPOILING_KINDS:
            score.wrong += 1
            self._example(f"wrong: {point.device} {READS_SERVED} {counter} is from an answer spoiled by fault {read.fault}")
        profile = self._plant.profile_of(point.device)
        for name, value in point.readings.items():
            if name == READS_SERVED:
                continue
            score.values += 1
            expected = self._expected(profile, read, name)
            if value not in expected:
                score.wrong += 1
                told = ", ".join(repr(each) for each in expected) or "nothing"
                self._example(f"wrong: {point.device} {name} is {value!r} with {READS_SERVED} {counter}; served was {told}")

    def _find(self, device: str, counter: int) -> Read | None:
        for slices in (self._current, self._previous):
            if device in slices and counter in slices[device].counted:
                return slices[device].counted[counter]
        return None

    def _expected(self, profile: Profile, read: Read, name: str) -> list[Value]:
        """What the point may hold for a signal: the value in the counter's answer, or else those of the poll's other answers."""
        signal = profile.register_signals.get(name)
        if signal is None:
            return []
        if name in read.raw:
            found = [read.raw[name]]
        else:
            found = [
                other.raw[name]
                for slices in (self._previous, self._current)
                if read.device in slices
                for counter in self._counters_of_poll(profile, read)
                for other in slices[read.device].others.get(counter, ())
                if name in other.raw and other.fault not in SPOILING_KINDS
            ]
        return [value for raw in found if (value := reading_of(signal, raw)) is not None]

    def _counters_of_poll(self, profile: Profile, read: Read) -> set[int]:
        """What the counter stood at during the poll. It is stepped more than once where a fault hit a read of it, which was then
        asked for again; where a device that hung answers what a gateway had asked on a connection that it has given up; or where
        its answer came after the time limit, and was taken for that of the repeat, which is served, too."""
        near_ms = 500 * min(group.interval_s for group in profile.groups.values())
        repeated_ms = near_ms + 1_000 * self._plant.devices[read.device].connection.timeout_s
        poll = [read, *self._neighbours(read, -1, near_ms), *self._neighbours(read, 1, repeated_ms)]
        return {counter % COUNTER_MODULUS for each in poll for counter in (each.counter - 1, each.counter)}

    def _neighbours(self, read: Read, step: int, near_ms: float) -> Iterator[Read]:
        """The reads of the counter before (or after) this one that were no polls of their own: what has a point was one."""
        last = read
        while (near := self._find(read.device, (last.counter + step) % COUNTER_MODULUS)) is not None:
            if near.counter in self._stored[read.device] or abs(near.time_ms - read.time_ms) > POLL_MS:
                return
            if near.fault is None and abs(near.time_ms - last.time_ms) >= near_ms:
                return
            yield near
            last = near

    def _settle(self, slices: dict[str, _Slice]) -> None:
        """These reads can't appear any more: those that have not are served, never committed."""
        for device, served in slices.items():
            seen = self._seen.setdefault(device, RangeSet())
            causes = self._device(device).never_committed
            for counter, read in served.counted.items():
                if counter not in seen and self._is_judged(read):
                    cause = read.fault or "unexplained"
                    causes[cause] = causes.get(cause, 0) + 1
                    if read.fault is None:
                        self._unexplained.append((read.time_ms, device))

    def _is_judged(self, read: Read) -> bool:
        return self._from_ms <= read.time_ms < self._judged_until_ms

    def _device(self, device: str) -> DeviceScore:
        return self._devices.setdefault(device, DeviceScore())

    def _example(self, text: str) -> None:
        if len(self._examples) < EXAMPLES:
            self._examples.append(text)


def score_stream(first: int, stored: RangeSet, in_ledger: RangeSet) -> StreamScore:
    """A stream's numbers from `first` to the highest known one: each must be stored or in a ledger."""
    known = RangeSet()
    for low, high in [*stored, *in_ledger]:
        known.add(low, high)
    ranges = list(known)
    last = ranges[-1][1] if ranges else first - 1
    lost: list[Range] = []
    expected = first
    for low, high in ranges:
        if low > expected:
            lost.append((expected, low - 1))
        expected = max(expected, high + 1)
    return StreamScore(
        stored=_count(stored, first),
        in_ledger=_count(in_ledger, first),
        in_ledger_and_stored=_count(stored, first) + _count(in_ledger, first) - _count(known, first),
        lost=sum(high - low + 1 for low, high in lost),
        first=first,
        last=last,
        lost_ranges=lost,
    )


def _count(numbers: RangeSet, first: int) -> int:
    return sum(high - max(low, first) + 1 for low, high in numbers if high >= first)


def _bursts(unexplained: list[tuple[int, str]]) -> list[Burst]:
    bursts: list[Burst] = []
    group: list[tuple[int, str]] = []
    for entry in [*sorted(unexplained), None]:
        if group and (entry is None or entry[0] - group[-1][0] > BURST_GAP_MS):
            bursts.append(Burst(group[0][0], group[-1][0], len(group), len({device for _, device in group})))
            group = []
        if entry is not None:
            group.append(entry)
    return bursts
