"""Why a machine stood: what was said of its stops, laid over them, and which leaf their time is then (oee.md A14). Pure.

A reason never changes how long a stop was, nor whether it is a micro-stop. What was entered later lies over what came before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from millrace_contract.language.entries import ReasonChoice, ReasonComment, ReasonEntry, ReasonMerge, ReasonSplit
from millrace_contract.language.words import Leaf, MachineState

from .changeover import ChangeOver
from .entries import time_of
from .stops import Stop, Stretch
from .timeline import Run, Timeline

STOP_LEAVES = frozenset({Leaf.UNPLANNED_STOP, Leaf.MINOR_STOP})
"""Leaves of time in which a stop may have a reason."""


@dataclass(frozen=True, slots=True)
class ReasonPiece:
    """A part of a stop with one reason, or none. `by`: who gave it, None for the machine itself. `incident`: the entry that
    joined the stop with others."""

    start_ms: int
    end_ms: int
    reason: str | None = None
    by: str | None = None
    attributed_to: str | None = None
    comment: str | None = None
    incident: str | None = None
    change_to: str | None = None
    """Without a reason: the order for which the machine was set up then."""


def pieces_of(
    start_ms: int,
    end_ms: int,
    entries: Sequence[ReasonEntry],
    told_by_machine: str | None = None,
    change_overs: Sequence[ChangeOver] = (),
) -> list[ReasonPiece]:
    """The stop of [start, end) by its reasons; the pieces tile it. `entries` stand in the order in which they were entered.

    What is said of it comes before what follows from orders (`change_overs`).
    """
    pieces = [ReasonPiece(start_ms, end_ms, told_by_machine)]
    for each in change_overs if told_by_machine is None else ():
        from_ms, to_ms = max(each.start_ms, start_ms), min(each.end_ms, end_ms)
        if from_ms < to_ms:
            pieces = [*_outside(pieces, from_ms, to_ms), ReasonPiece(from_ms, to_ms, change_to=each.order)]
            pieces.sort(key=lambda piece: piece.start_ms)
    for entry in entries:
        time, said = time_of(entry), entry.values
        if time.start_ms >= end_ms or (time.end_ms <= start_ms and time.start_ms < start_ms):
            continue
        match said:
            case ReasonChoice():
                pieces = [_said(entry, said, start_ms, end_ms, pieces[0].incident)]
            case ReasonSplit():
                from_ms, to_ms = max(time.start_ms, start_ms), min(time.end_ms, end_ms)
                if from_ms < to_ms:
                    pieces = [*_outside(pieces, from_ms, to_ms), _said(entry, said, from_ms, to_ms, pieces[0].incident)]
                    pieces.sort(key=lambda piece: piece.start_ms)
            case ReasonMerge(reason=None):
                whole = [replace(pieces[0], end_ms=end_ms)] if pieces[0].reason is not None else pieces
                pieces = [replace(piece, incident=entry.id) for piece in whole]
            case ReasonMerge():
                pieces = [_said(entry, said, start_ms, end_ms, entry.id)]
            case ReasonComment():
                pieces = [replace(piece, comment=said.comment) for piece in pieces]
    return pieces


def leaf_of(piece: ReasonPiece, stop: Leaf, leaves: Mapping[str, Leaf]) -> Leaf:
    """Where the time of a piece counts. That a stop was unplanned does not make a micro-stop longer."""
    if piece.change_to is not None:
        return Leaf.SETUP
    leaf = leaves.get(piece.reason or "")
    return stop if leaf is None or leaf is Leaf.UNPLANNED_STOP else leaf


def whole_runs(timeline: Timeline, from_ms: int, to_ms: int, as_of_ms: int, leaves: Mapping[MachineState, Leaf]) -> list[Run]:
    """Runs with time in [from, to), and those that make the stops at both ends whole."""
    runs = timeline.runs(from_ms, to_ms, as_of_ms)
    while runs and leaves[runs[0].state] is Leaf.UNPLANNED_STOP:
        before = [run for run in timeline.runs(runs[0].start_ms - 1, runs[0].start_ms, as_of_ms) if run.start_ms < runs[0].start_ms]
        if not before:
            break
        runs = before + runs
    while runs and leaves[runs[-1].state] is Leaf.UNPLANNED_STOP:
        after = [run for run in timeline.runs(runs[-1].end_ms, runs[-1].end_ms + 1, as_of_ms) if run.start_ms >= runs[-1].end_ms]
        if not after:
            break
        runs = runs + after
    return runs


def explained(
    stretches: Sequence[Stretch],
    stops: Sequence[Stop],
    leaves_at: Callable[[int], Mapping[str, Leaf]],
    pieces_of_stop: Callable[[Stop], list[ReasonPiece]],
) -> Iterator[Stretch]:
    """The stretches, those of stops cut where their reasons change. What a reason means is what it meant when the stop began."""
    known = iter(stops)
    stop = next(known, None)
    pieces: list[ReasonPiece] = []
    laid_for: Stop | None = None
    for stretch in stretches:
        while stop is not None and stop.end_ms is not None and stop.end_ms <= stretch.start_ms:
            stop = next(known, None)
        if stop is None or stretch.leaf not in STOP_LEAVES or stretch.start_ms < stop.start_ms:
            yield stretch
            continue
        if laid_for is not stop:
            pieces, laid_for = pieces_of_stop(stop), stop
        for piece in pieces:
            from_ms, to_ms = max(piece.start_ms, stretch.start_ms), min(piece.end_ms, stretch.end_ms)
            if from_ms < to_ms:
                leaf = leaf_of(piece, stretch.leaf, leaves_at(stop.start_ms))
                yield replace(
                    stretch,
                    start_ms=from_ms,
                    end_ms=to_ms,
                    leaf=leaf,
                    pending=stretch.pending and leaf is stretch.leaf,
                    has_reason=piece.reason is not None,
                )


FOREVER_MS = 1 << 60
"""The end of a stop that lasts."""


def _said(
    entry: ReasonEntry, said: ReasonChoice | ReasonSplit | ReasonMerge, start_ms: int, end_ms: int, incident: str | None
) -> ReasonPiece:
    return ReasonPiece(start_ms, end_ms, said.reason, entry.actor, said.attributed_to, said.comment, incident)


def _outside(pieces: Sequence[ReasonPiece], from_ms: int, to_ms: int) -> Iterator[ReasonPiece]:
    """What of these pieces lies before `from` and behind `to`."""
    for piece in pieces:
        if piece.start_ms < from_ms:
            yield replace(piece, end_ms=min(piece.end_ms, from_ms))
        if piece.end_ms > to_ms:
            yield replace(piece, start_ms=max(piece.start_ms, to_ms))
