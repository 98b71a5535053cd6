"""A part counter over time: how many parts between any two instants, exact across wraps and resets (oee.md A7).

A step of the counter says that parts were made since the reading before it, not when: it is split over that time, whole parts only
(oee.md A9). Whatever the windows, their parts add up to the counter's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice, takewhile
from typing import NamedTuple

from millrace_contract.language.counters import counter_delta

from .counter_steps import QuarantinedStep, StepJudge
from .machine import CounterSettings, Machine


class Share(StrEnum):
    """In which time parts were made, as far as anybody knows. Only those of planned time meet ideal time."""

    PLANNED = "planned"
    UNKNOWN = "unknown"
    INFERRED = "inferred"
    """Unknown, but its parts tell that the machine ran: as long as they take at the ideal cycle."""
    OUTSIDE = "outside"
    """In a break, outside of every shift, or while there was no work."""


class Segment(NamedTuple):
    """A stretch of the time in which parts may have been made. `may_produce`: nothing says that the machine stood."""

    start_ms: int
    end_ms: int
    share: Share
    may_produce: bool


class MadeParts(NamedTuple):
    """Parts spread evenly over [start, end]."""

    start_ms: int
    end_ms: int
    share: Share
    parts: int
    run_ms: int = 0
    """How long the machine ran for them in time whose state nobody knows."""


class Baseline(NamedTuple):
    """The last good reading of a counter."""

    value: int
    ts_ms: int


class PartsUpTo(NamedTuple):
    """Parts up to some time: all, ideal and unknown ones, and for how long they tell that the machine ran unseen."""

    parts: int = 0
    ideal: int = 0
    unknown: int = 0
    run_ms: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """Parts in a window. `ideal` of them were made in time whose state is known and planned, `unknown` in time of which nothing is
    known; only the first meet ideal time. `run_ms`: for how long these parts tell that the machine ran, though nobody saw it.

    `read` is False where a step over the window says nothing of the parts in it: then the numbers mean nothing.
    """

    parts: int
    ideal: int
    unknown: int
    read: bool
    run_ms: int
    quarantined: int
    """What steps that were shown in the window may stand for, and wait for a decision."""
    events: frozenset[str]


class CountTrack:
    """A fold over one counter's good readings in order of event time."""

    def __init__(
        self,
        settings: CounterSettings,
        quiet_ms: int,
        reach_ms: int,
        baseline: Baseline | None = None,
        *,
        ideal_ns: int | None = None,
        is_inferred: bool = False,
        judge: StepJudge | None = None,
    ) -> None:
        """`ideal_ns`: of a part. `is_inferred`: parts in unknown time tell that the machine ran in it. `judge`: knows what was
        decided of steps that do not count by themselves."""
        self._settings = settings
        self._quiet_ms = quiet_ms
        self._reach_ms = reach_ms
        self._ideal_ns = ideal_ns
        self._is_inferred = is_inferred
        self._judge = judge
        self._steps: list[QuarantinedStep] = []
        self._last_value: int | None = None if baseline is None else baseline.value
        self._last_ms: int | None = None if baseline is None else baseline.ts_ms
        self._pieces: list[MadeParts] = []
        self._ends: list[int] = []
        self._before: list[PartsUpTo] = []
        """What was made up to the start of each piece."""
        self._sum = PartsUpTo()
        self._first_ms: int | None = baseline.ts_ms if baseline else None
        self._until_ms = baseline.ts_ms + self._holds_ms if baseline else 0
        self._silences: list[tuple[int, int]] = []
        """Long steps that say nothing of what was made in them."""
        self._vague: list[tuple[int, int]] = []
        """Times in which parts were made, and too long before the reading that showed them to say how many when."""
        self._events: list[tuple[int, str]] = []

    @property
    def last_ms(self) -> int | None:
        """When it was read last."""
        return self._last_ms

    def count_by(self, settings: CounterSettings, machine: Machine) -> None:
        """How the next step is judged."""
        self._settings, self._ideal_ns, self._is_inferred = settings, machine.ideal_ns, machine.is_inferred
        self._quiet_ms, self._reach_ms = machine.stale_ms, machine.reach_ms
        if self._judge is not None:
            self._judge = replace(self._judge, modulus=settings.modulus, parts_per_count=settings.parts_per_count)

    def begin_anew(self) -> None:
        """The next reading is the first of another counter."""
        self._last_value = self._last_ms = None

    def add(self, ts_ms: int, value: int, segments: Callable[[int, int], Sequence[Segment]], holds_ms: int | None = None) -> None:
        """A good reading. `segments(from, to)`: what is known of that time, without gaps. `holds_ms`: promised by its sender."""
        last_value, last_ms = self._last_value, self._last_ms
        self._last_value, self._last_ms = value, ts_ms
        self._until_ms = ts_ms + (self._holds_ms if holds_ms is None else holds_ms)
        if last_value is None or last_ms is None:
            if self._first_ms is None:
                self._first_ms = ts_ms
            return
        if value != last_value:
            if ts_ms - last_ms > self._quiet_ms:
                self._silences.append((last_ms, ts_ms))
            self._step(Baseline(last_value, last_ms), value, ts_ms, segments)

    def _step(self, last: Baseline, value: int, ts_ms: int, segments: Callable[[int, int], Sequence[Segment]]) -> None:
        """The counter went on."""
        delta = counter_delta(
            last.value,
            value,
            ts_ms - last.ts_ms,
            modulus=self._settings.modulus,
            max_rate_per_s=self._settings.max_rate_per_s,
            ideal_ns=None if self._ideal_ns is None else self._ideal_ns * self._settings.parts_per_count,
        )
        parts, step = delta.parts * self._settings.parts_per_count, None
        if self._judge is not None:
            step = self._judge.step(delta, (last.value, last.ts_ms), (value, ts_ms))
        if step is not None:
            self._steps.append(step)
            parts = step.parts
        if delta.event is not None and (step is None or step.decision is None):
            self._events.append((ts_ms, str(delta.event)))
        if parts:
            if ts_ms - last.ts_ms > self._reach_ms:
                self._vague.append((last.ts_ms, ts_ms - self._reach_ms))
            for piece in spread(parts, segments(last.ts_ms, ts_ms)):
                told = self._with_run_time(piece)
                self._pieces.append(told)
                self._ends.append(told.end_ms)
                self._before.append(self._sum)
                self._sum = _plus(self._sum, told.share, told.parts, told.run_ms)

    def counted(self, start_ms: int, end_ms: int) -> Counted:
        """What was made in (start, end]."""
        before, until = self._until(start_ms), self._until(end_ms)
        parts, ideal, unknown, run_ms = (b - a for a, b in zip(before, until, strict=True))
        return Counted(
            parts=parts,
            ideal=ideal,
            unknown=unknown,
            run_ms=run_ms,
            quarantined=sum(step.undecided for step in self._steps if start_ms < step.to_ms <= end_ms),
            read=(parts > 0 or not any(a <= start_ms and end_ms < b for a, b in self._silences))
            and not any(a < end_ms and start_ms < b for a, b in self._vague),
            events=frozenset(event for ts_ms, event in self._events if start_ms < ts_ms <= end_ms),
        )

    @property
    def parts(self) -> int:
        """What was made up to the last reading, from some time on that stays the same."""
        return self._sum.parts

    def pieces(self, from_ms: int, to_ms: int) -> Sequence[MadeParts]:
        """Those with time in (from, to), as wholes, in order."""
        first = bisect_right(self._ends, from_ms)
        return list(takewhile(lambda piece: piece.start_ms < to_ms, islice(self._pieces, first, None)))

    @property
    def steps(self) -> Sequence[QuarantinedStep]:
        """Those that do not count by themselves, decided ones too."""
        return self._steps

    def made_until(self, at_ms: int) -> tuple[int, int]:
        """Parts up to then, and how many of them meet ideal time, both from some time on that is the same for each question."""
        parts, ideal, *_ = self._until(at_ms)
        return parts, ideal

    def forget(self, before_ms: int) -> None:
        """Drop what was counted up to then; questions about later windows are answered as before."""
        gone = bisect_right(self._ends, before_ms)
        del self._pieces[:gone], self._ends[:gone], self._before[:gone]
        self._silences = [(a, b) for a, b in self._silences if b > before_ms]
        self._vague = [(a, b) for a, b in self._vague if b > before_ms]
        self._events = [(ts_ms, event) for ts_ms, event in self._events if ts_ms > before_ms]
        self._steps = [step for step in self._steps if step.to_ms > before_ms]

    def _with_run_time(self, piece: MadeParts) -> MadeParts:
        if piece.share is not Share.INFERRED or self._ideal_ns is None or not self._is_inferred:
            return piece
        return piece._replace(run_ms=min(piece.end_ms - piece.start_ms, piece.parts * self._ideal_ns // 1_000_000))

    def _until(self, at_ms: int) -> PartsUpTo:
        """What was made up to then."""
        index = bisect_right(self._ends, at_ms)
        if index == len(self._pieces):
            return self._sum
        piece, before = self._pieces[index], self._before[index]
        if at_ms <= piece.start_ms:
            return before
        passed_ms, length_ms = at_ms - piece.start_ms, piece.end_ms - piece.start_ms
        made, run_ms = piece.parts * passed_ms // length_ms, piece.run_ms * passed_ms // length_ms
        return _plus(before, piece.share, made, run_ms)

    @property
    def _holds_ms(self) -> int:
        return max(self._settings.holds_ms, self._quiet_ms)

    def untold(self, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """The stretches of [start, end) of which no reading tells: before the first one, and when the last one holds no more."""
        if self._first_ms is None:
            return [(start_ms, end_ms)] if start_ms < end_ms else []
        before_ms, after_ms = min(end_ms, self._first_ms - self._holds_ms), max(start_ms, self._until_ms)
        return [(a, b) for a, b in ((start_ms, before_ms), (after_ms, end_ms)) if a < b]


def spread(parts: int, segments: Sequence[Segment]) -> list[MadeParts]:
    """`parts` over the time in which they may have been made, in proportion to it, in order of time; whole parts, none lost.

    Time in which the machine is known to have stood has none, unless it stood all the time. What does not divide goes to the
    unknown time, if there is any.
    """
    busy = [segment for segment in segments if segment.may_produce] or segments
    if len(busy) == 1:
        only = busy[0]
        return [MadeParts(only.start_ms, only.end_ms, only.share, parts)]
    length = dict.fromkeys(Share, 0)
    for segment in busy:
        length[segment.share] += segment.end_ms - segment.start_ms
    whole = sum(length.values())
    amount = {share: parts * length[share] // whole for share in Share}
    takes_rest = next(share for share in (Share.UNKNOWN, Share.INFERRED, Share.PLANNED, Share.OUTSIDE) if length[share])
    amount[takes_rest] += parts - sum(amount.values())
    reached = dict.fromkeys(Share, 0)
    pieces = []
    for start_ms, end_ms, share, _ in busy:
        before = amount[share] * reached[share] // length[share]
        reached[share] += end_ms - start_ms
        if made := amount[share] * reached[share] // length[share] - before:
            pieces.append(MadeParts(start_ms, end_ms, share, made))
    return pieces


def _plus(sums: PartsUpTo, share: Share, parts: int, run_ms: int) -> PartsUpTo:
    return PartsUpTo(
        sums.parts + parts,
        sums.ideal + (parts if share in (Share.PLANNED, Share.INFERRED) else 0),
        sums.unknown + (parts if share is Share.UNKNOWN else 0),
        sums.run_ms + run_ms,
    )
