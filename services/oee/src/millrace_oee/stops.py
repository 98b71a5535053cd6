"""Stops: neighbouring runs in which the machine should run and does not. Short ones are micro-stops (oee.md A8).

A stop is judged as a whole, whatever window is asked for, and only then cut: a figure never depends on where one looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from millrace_contract.language.words import Leaf, MachineState

from .timeline import Run


@dataclass(frozen=True, slots=True)
class Stop:
    """`end_ms` is None while it lasts. `pending`: it lasts and is not yet longer than a micro-stop; `leaf` may still change."""

    start_ms: int
    end_ms: int | None
    state: MachineState
    leaf: Leaf
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Stretch:
    """Machine time of one leaf; the calendar has not been laid over it yet."""

    start_ms: int
    end_ms: int
    leaf: Leaf
    pending: bool = False
    assumed: bool = False
    """Nobody saw it: the machine's policy for unknown time says so."""
    code: str = ""
    """What the machine says, and its profile does not name."""
    has_reason: bool = False
    """Somebody, or the machine, said why it stood."""


class Rules(Protocol):
    """What the states of a machine mean, and how long a micro-stop is. A `Machine` is one."""

    @property
    def leaves(self) -> Mapping[MachineState, Leaf]: ...

    @property
    def micro_ms(self) -> int: ...

    def spans(self, start_ms: int, end_ms: int) -> Sequence[tuple[int, int, Rules]]:
        """[start, end) cut where others begin to hold."""


def find_stops(runs: Iterable[Run], rules: Rules) -> list[Stop]:
    """The stops of these runs, which must be in order and without overlap.

    A stop is judged by the rules that held when it began, as long as they call it one; it is told as far as those in force do.
    """
    pieces = _pieces(runs, rules)
    stops: list[Stop] = []
    at = 0
    while at < len(pieces):
        first, held = pieces[at]
        if held.leaves[first.state] != Leaf.UNPLANNED_STOP:
            at += 1
            continue
        judged = _reaches(pieces, at, held)
        told = min(judged, _reaches(pieces, at, None))
        last, whole = pieces[told - 1][0], pieces[judged - 1][0]
        short = whole.end_ms - first.start_ms <= held.micro_ms
        stops.append(
            Stop(
                start_ms=first.start_ms,
                end_ms=None if last.open else last.end_ms,
                state=first.state,
                leaf=Leaf.MINOR_STOP if short else Leaf.UNPLANNED_STOP,
                pending=whole.open and short,
            )
        )
        at = told
    return stops


def classify(runs: Sequence[Run], rules: Rules) -> list[Stretch]:
    """Each run with its leaf, cut where other rules begin to hold; runs of short stops as micro-stops."""
    stops = iter(find_stops(runs, rules))
    stop = next(stops, None)
    stretches = []
    for run, held in _pieces(runs, rules):
        leaf, pending = held.leaves[run.state], False
        if leaf == Leaf.UNPLANNED_STOP and stop is not None:
            leaf, pending = stop.leaf, stop.pending
            if run.end_ms == stop.end_ms or run.open:
                stop = next(stops, None)
        assumed = run.assumed or (run.state is MachineState.UNREACHABLE and leaf is not Leaf.UNKNOWN)
        stretches.append(Stretch(run.start_ms, run.end_ms, leaf, pending, assumed, code=run.code))
    return stretches


def _pieces(runs: Iterable[Run], rules: Rules) -> list[tuple[Run, Rules]]:
    """The runs, cut where other rules begin to hold, each with those that hold."""
    pieces: list[tuple[Run, Rules]] = []
    for run in runs:
        spans = rules.spans(run.start_ms, run.end_ms)
        if len(spans) == 1:
            pieces.append((run, spans[0][2]))
            continue
        for start_ms, end_ms, held in spans:
            is_open = run.open and end_ms == run.end_ms
            pieces.append((replace(run, start_ms=start_ms, end_ms=end_ms, open=is_open), held))
    return pieces


def _reaches(pieces: Sequence[tuple[Run, Rules]], at: int, by: Rules | None) -> int:
    """The place behind the last piece of the stop that begins at this one, by these rules, or by those in force at each piece."""
    end = at
    while (
        end < len(pieces)
        and (by or pieces[end][1]).leaves[pieces[end][0].state] == Leaf.UNPLANNED_STOP
        and (end == at or pieces[end][0].start_ms == pieces[end - 1][0].end_ms)
    ):
        end += 1
    return end
