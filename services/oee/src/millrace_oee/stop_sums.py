"""How many stops a window had, and how long failures and waiting took in it: sums that add up over any windows (oee.md A3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from millrace_contract.language.words import WAITING_STATES, Leaf

from .calendar import MachineCalendar, Slot
from .machine import Machine
from .states import FAILURE_STATES
from .stop_reasons import ReasonPiece, leaf_of
from .stops import Stop


class StopSums(msgspec.Struct, frozen=True, kw_only=True):
    """Stops with time planned for production. `count`, `minor` and `failures` began in the window; times are cut at it."""

    count: int = 0
    minor: int = 0
    failures: int = 0
    failure_ms: int = 0
    waiting_ms: int = 0


def add_stops(left: StopSums | None, right: StopSums | None) -> StopSums | None:
    """Of both; None where those of one are not known."""
    if left is None or right is None:
        return None
    return StopSums(
        count=left.count + right.count,
        minor=left.minor + right.minor,
        failures=left.failures + right.failures,
        failure_ms=left.failure_ms + right.failure_ms,
        waiting_ms=left.waiting_ms + right.waiting_ms,
    )


def count_stops(
    stops: Iterable[Stop],
    slots: Sequence[Slot],
    machine: Machine,
    calendar: MachineCalendar,
    why: Callable[[Stop], Sequence[ReasonPiece]],
) -> StopSums:
    """The stops of a window that `slots` tile, each by what it is where its first planned time is: after the night, the break.

    Where a reason says that time was planned, it is no stop's here.
    """
    start_ms, end_ms = (slots[0].start_ms, slots[-1].end_ms) if slots else (0, 0)
    found = StopSums()
    for stop in stops:
        if stop.start_ms >= end_ms or (stop.end_ms is not None and stop.end_ms <= start_ms):
            continue
        is_new = stop.start_ms >= start_ms or not calendar.planned_ms(stop.start_ms, start_ms)
        held = machine.at(stop.start_ms)
        for piece in why(stop):
            here_ms = sum(_shared_ms(slot, piece.start_ms, piece.end_ms) for slot in slots if slot.leaf is None)
            if not here_ms:
                continue
            leaf = leaf_of(piece, stop.leaf, held.reason_leaves)
            found = _with_piece(found, stop, leaf, here_ms, is_failure=_is_failure(piece, stop, held), began=is_new)
            is_new = False
    return found


def _with_piece(sums: StopSums, stop: Stop, leaf: Leaf, ms: int, *, is_failure: bool, began: bool) -> StopSums:
    if leaf is Leaf.MINOR_STOP:
        return msgspec.structs.replace(sums, minor=sums.minor + began)
    if leaf is not Leaf.UNPLANNED_STOP:
        return sums
    waits = stop.state in WAITING_STATES and not is_failure
    return msgspec.structs.replace(
        sums,
        count=sums.count + began,
        failures=sums.failures + (began and is_failure),
        failure_ms=sums.failure_ms + (ms if is_failure else 0),
        waiting_ms=sums.waiting_ms + (ms if waits else 0),
    )


def _is_failure(piece: ReasonPiece, stop: Stop, machine: Machine) -> bool:
    """What people say comes before what the machine says."""
    if piece.reason is None or not machine.failure_reasons:
        return stop.state in FAILURE_STATES
    return piece.reason in machine.failure_reasons


def _shared_ms(slot: Slot, start_ms: int, end_ms: int) -> int:
    return max(0, min(slot.end_ms, end_ms) - max(slot.start_ms, start_ms))
