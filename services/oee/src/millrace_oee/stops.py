"""Stops: neighbouring runs in which the machine should run and does not. Short ones are micro-stops (oee.md A8).

A stop is judged as a whole, whatever window is asked for, and only then cut: a figure never depends on where one looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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


def find_stops(runs: Iterable[Run], leaves: Mapping[MachineState, Leaf], micro_ms: int) -> list[Stop]:
    """The stops of these runs, which must be in order and without overlap."""
    stops: list[Stop] = []
    group: list[Run] = []
    for run in runs:
        if group and (leaves[run.state] != Leaf.UNPLANNED_STOP or run.start_ms != group[-1].end_ms):
            stops.append(_stop(group, micro_ms))
            group = []
        if leaves[run.state] == Leaf.UNPLANNED_STOP:
            group.append(run)
    if group:
        stops.append(_stop(group, micro_ms))
    return stops


def classify(runs: list[Run], leaves: Mapping[MachineState, Leaf], micro_ms: int) -> list[Stretch]:
    """Each run with its leaf; runs of short stops as micro-stops."""
    stops = iter(find_stops(runs, leaves, micro_ms))
    stop = next(stops, None)
    stretches = []
    for run in runs:
        leaf, pending = leaves[run.state], False
        if leaf == Leaf.UNPLANNED_STOP and stop is not None:
            leaf, pending = stop.leaf, stop.pending
            if run.end_ms == stop.end_ms or run.open:
                stop = next(stops, None)
        assumed = run.assumed or (run.state is MachineState.UNREACHABLE and leaf is not Leaf.UNKNOWN)
        stretches.append(Stretch(run.start_ms, run.end_ms, leaf, pending, assumed, code=run.code))
    return stretches


def _stop(group: list[Run], micro_ms: int) -> Stop:
    start_ms, last = group[0].start_ms, group[-1]
    short = last.end_ms - start_ms <= micro_ms
    return Stop(
        start_ms=start_ms,
        end_ms=None if last.open else last.end_ms,
        state=group[0].state,
        leaf=Leaf.MINOR_STOP if short else Leaf.UNPLANNED_STOP,
        pending=last.open and short,
    )
