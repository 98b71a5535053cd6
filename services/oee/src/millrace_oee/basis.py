"""What a told window rests on, short enough to be kept with each revision, so that it can be said what changed. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

import msgspec

from millrace_contract.language.words import Leaf, MachineState, UnknownPolicy

from .calendar import TimeWindow
from .history import History
from .machine import Machine
from .made import made_in
from .stop_reasons import FOREVER_MS, ReasonPiece, whole_runs
from .stops import find_stops
from .windows import stretches_of

MOST_PIECES = 2_000
"""Of a window that is cut more often none are kept."""


class TimePiece(msgspec.Struct, frozen=True, array_like=True):
    """Time of a window in which the machine's leaf, state and reason stay the same, and what was made in it."""

    start_ms: int
    end_ms: int
    leaf: Leaf
    state: MachineState | None = None
    reason: str | None = None
    attributed_to: str | None = None
    total: int = 0
    scrap: int = 0


class Setting(msgspec.Struct, frozen=True, array_like=True):
    """What of the machine's settings held from some time on."""

    start_ms: int
    ideal_ns: int | None
    micro_ms: int
    hold_ms: int
    unknown: UnknownPolicy
    outside: tuple[Leaf, ...] = ()
    versions: tuple[str, ...] = ()
    """Of all settings, and of the calendar."""


class RestsOn(msgspec.Struct, frozen=True, omit_defaults=True):
    """`entries`: which version of which entry. `members`: revisions of the windows whose sums were added, by their names
    (`member_name`): of a line those of its machines, of a day those of its shifts."""

    entries: Mapping[str, int] = {}
    settings: tuple[Setting, ...] = ()
    pieces: tuple[TimePiece, ...] = ()
    members: Mapping[str, int] = {}


def member_name(scope: str, kind: str, window_id: str) -> str:
    return f"{scope} {kind} {window_id}"


def member_key(name: str) -> tuple[str, str, str]:
    """Scope, kind and id of a member."""
    scope, kind, window_id = name.split(" ", 2)
    return scope, kind, window_id


def basis_of(history: History, window: TimeWindow, as_of_ms: int, versions: Mapping[str, str]) -> RestsOn:
    """Of a window that the history is exact for. `versions`: those of the document."""
    start_ms, end_ms = window.start_ms, window.end_ms
    pieces = list(_pieces(history, start_ms, end_ms, as_of_ms))
    stops = [each for each in pieces if each.reason is not None or each.leaf in (Leaf.UNPLANNED_STOP, Leaf.MINOR_STOP)]
    reasons = history.entries.concerning(*_widest(history, start_ms, end_ms, as_of_ms)).reasons if stops else ()
    said = history.entries.concerning(start_ms, end_ms)
    entries = (*said.orders, *reasons, *said.quality, *said.steps)
    return RestsOn(
        entries={each.id: each.version for each in entries},
        settings=settings_of(history.machine, window, versions),
        pieces=tuple(pieces) if len(pieces) <= MOST_PIECES else (),
    )


def settings_of(machine: Machine, window: TimeWindow, versions: Mapping[str, str]) -> tuple[Setting, ...]:
    """What held over the window, and from when on."""
    said = tuple(versions.get(name, "") for name in ("config", "calendar", "model"))
    return tuple(
        Setting(from_ms, held.ideal_ns, held.micro_ms, held.stale_ms, held.unknown, tuple(sorted(held.outside)), said)
        for from_ms, _, held in machine.spans(window.start_ms, window.end_ms)
    )


def _widest(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> tuple[int, int]:
    """The window, and the whole stops at its ends: a reason is of whole stops."""
    runs = whole_runs(history.timeline, start_ms, end_ms, as_of_ms, history.machine.stop_leaves)
    stops = [each for each in find_stops(runs, history.machine) if each.start_ms < end_ms]
    from_ms = min([start_ms, *(each.start_ms for each in stops if each.end_ms is None or each.end_ms > start_ms)])
    return from_ms, max([end_ms, *(FOREVER_MS if each.end_ms is None else each.end_ms for each in stops)])


def _pieces(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> Iterator[TimePiece]:
    """The window cut where leaf, state or reason change; the pieces tile it."""
    stretches, stops = stretches_of(history, start_ms, end_ms, as_of_ms)
    runs = [run for run in history.timeline.runs(start_ms, end_ms, as_of_ms) if run.end_ms > start_ms]
    reasons: list[ReasonPiece] = []
    for stop in stops:
        until_ms = FOREVER_MS if stop.end_ms is None else stop.end_ms
        if stop.start_ms < end_ms and until_ms > start_ms:
            reasons += history.why(stop)
    edges = {start_ms, end_ms}
    slots = history.calendar.slots(start_ms, end_ms)
    spans: list[_Span] = [*stretches, *runs, *reasons, *slots]
    edges |= {at_ms for each in spans for at_ms in (each.start_ms, each.end_ms)}
    last: TimePiece | None = None
    for from_ms, to_ms in pairwise(sorted(edge for edge in edges if start_ms <= edge <= end_ms)):
        claim = _at(slots, from_ms)
        stretch, run, reason = _at(stretches, from_ms), _at(runs, from_ms), _at(reasons, from_ms)
        made = made_in(history, from_ms, to_ms)
        if claim is not None and claim.leaf is not None:
            piece = TimePiece(from_ms, to_ms, claim.leaf, total=made.total, scrap=made.scrap)
        else:
            piece = TimePiece(
                from_ms,
                to_ms,
                Leaf.UNKNOWN if stretch is None else stretch.leaf,
                None if run is None else run.state,
                None if reason is None else reason.reason,
                None if reason is None else reason.attributed_to,
                made.total,
                made.scrap,
            )
        if last is not None and _alike(last, piece):
            piece = msgspec.structs.replace(
                piece, start_ms=last.start_ms, total=last.total + piece.total, scrap=last.scrap + piece.scrap
            )
        elif last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def _alike(one: TimePiece, other: TimePiece) -> bool:
    return (one.leaf, one.state, one.reason, one.attributed_to) == (other.leaf, other.state, other.reason, other.attributed_to)


class _Span(Protocol):
    @property
    def start_ms(self) -> int: ...

    @property
    def end_ms(self) -> int: ...


_T = TypeVar("_T", bound=_Span)


def _at(spans: Sequence[_T], at_ms: int) -> _T | None:
    """The one of these, in order and without overlap, that holds an instant."""
    place = bisect_right(spans, at_ms, key=lambda each: each.start_ms) - 1
    return spans[place] if place >= 0 and at_ms < spans[place].end_ms else None
