"""When a condition counts as true: limits with a deadband, and delays in event time.

Pure. Each kind of condition turns what it sees into a wish (set, clear, keep); one timer turns wishes into flips.

* A high limit sets at value >= limit and clears at value < limit - deadband; a low limit is the mirror image. The
  deadband never delays activation.
* A wish counts from the event time of the first reading that has it, and must hold without a break. A value holds
  until the next reading, but no longer than `fresh_ms`; then, or when the quality is bad, the timer stands still and
  goes on with the next good reading. So a delay never runs out in a gap of the data, and needs no reading to run out.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from millrace_contract.plant.holds import FOREVER_MS

from .observations import Tick


class Wish(StrEnum):
    """What the newest observation asks for."""

    SET = "set"
    CLEAR = "clear"
    KEEP = "keep"  # inside the deadband


@dataclass(frozen=True, slots=True)
class Delays:
    on_ms: int = 0
    off_ms: int = 0
    fresh_ms: int = FOREVER_MS  # a link is down until somebody says that it is up


@dataclass(frozen=True, slots=True)
class Flip:
    """The condition became active or inactive at `at_ms`, having asked for it since `since_ms` (event times)."""

    active: bool
    at_ms: int
    since_ms: int


class Timer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition's memory: whether it is active, and how long the opposite has been asked for.

    `since_ms` None: nothing is pending. `held_ms` counts up to the event time `counted_to_ms`; `running` is false
    from a bad reading to the next good one.
    """

    active: bool = False
    since_ms: int | None = None
    held_ms: int = 0
    counted_to_ms: int = 0
    running: bool = True


def threshold_wish(value: float, limit: float, deadband: float, *, high: bool) -> Wish:
    """What `value` asks for; `high` is true for an upper limit."""
    if high:
        if value >= limit:
            return Wish.SET
        return Wish.CLEAR if value < limit - deadband else Wish.KEEP
    if value <= limit:
        return Wish.SET
    return Wish.CLEAR if value > limit + deadband else Wish.KEEP


def observe(timer: Timer, wish: Wish, at_ms: int, delays: Delays) -> tuple[Timer, tuple[Flip, ...]]:
    """An observation made at `at_ms`, not before the one that came last. At most two flips: one overdue, one now."""
    flips: tuple[Flip, ...] = ()
    due_ms = due_at(timer, delays)
    # A contrary observation at the very moment when the delay ends breaks it: the wish did not hold through it.
    if due_ms is not None and (due_ms < at_ms or (due_ms == at_ms and _asks_for_change(timer, wish))):
        timer, flips = _flip(timer, due_ms)
    if not _asks_for_change(timer, wish):
        return Timer(active=timer.active), flips
    if timer.since_ms is None:
        timer = Timer(active=timer.active, since_ms=at_ms, counted_to_ms=at_ms)
    else:
        timer = _count_to(timer, at_ms, delays, running=True)
    if due_at(timer, delays) == at_ms:
        timer, now = _flip(timer, at_ms)
        return timer, flips + now
    return timer, flips


def interrupt(timer: Timer, at_ms: int, delays: Delays) -> tuple[Timer, tuple[Flip, ...]]:
    """From `at_ms` on the value is unknown: what is pending stands still."""
    timer, flips = advance(timer, at_ms, delays)
    if timer.since_ms is None:
        return timer, flips
    return _count_to(timer, at_ms, delays, running=False), flips


def advance(timer: Timer, now_ms: int, delays: Delays) -> tuple[Timer, tuple[Flip, ...]]:
    """Time has passed without an observation; changes the timer only where a delay has run out."""
    due_ms = due_at(timer, delays)
    if due_ms is None or due_ms > now_ms:
        return timer, ()
    return _flip(timer, due_ms)


def advance_by(timer: Timer, tick: Tick, delays: Delays) -> tuple[Timer, tuple[Flip, ...]]:
    """As `advance`; nothing runs out while we are cut off."""
    return (timer, ()) if tick.blind else advance(timer, tick.now_ms, delays)


def moved(timer: Timer, by_ms: int) -> Timer:
    """The clock by which it counts was set: what has been held stays held."""
    if timer.since_ms is None:
        return timer
    return msgspec.structs.replace(timer, since_ms=timer.since_ms + by_ms, counted_to_ms=timer.counted_to_ms + by_ms)


def due_at(timer: Timer, delays: Delays) -> int | None:
    """The event time at which the pending change takes place if nothing else is seen; None: not without new data."""
    if timer.since_ms is None or not timer.running:
        return None
    remaining_ms = (delays.off_ms if timer.active else delays.on_ms) - timer.held_ms
    if remaining_ms > delays.fresh_ms:
        return None
    return timer.counted_to_ms + max(remaining_ms, 0)


def _asks_for_change(timer: Timer, wish: Wish) -> bool:
    return wish is (Wish.CLEAR if timer.active else Wish.SET)


def _count_to(timer: Timer, at_ms: int, delays: Delays, *, running: bool) -> Timer:
    passed_ms = min(at_ms - timer.counted_to_ms, delays.fresh_ms) if timer.running else 0
    return msgspec.structs.replace(
        timer, held_ms=timer.held_ms + max(passed_ms, 0), counted_to_ms=max(at_ms, timer.counted_to_ms), running=running
    )


def _flip(timer: Timer, at_ms: int) -> tuple[Timer, tuple[Flip, ...]]:
    since_ms = at_ms if timer.since_ms is None else timer.since_ms
    return Timer(active=not timer.active), (Flip(active=not timer.active, at_ms=at_ms, since_ms=since_ms),)
