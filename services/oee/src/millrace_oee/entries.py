"""What people and MES said of machines, as far as it holds: which entries concern a machine, and a stretch of its time. Pure.

The order in which entries came means nothing: of each id the last word holds (contracts.md 2.5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from millrace_contract.language.entries import (
    Entry,
    EntryTime,
    OrderEntry,
    OrderStart,
    PlacedEntry,
    ReasonEntry,
    ReworkEntry,
    ScrapEntry,
    StepEntry,
    WithdrawalEntry,
    entered_order,
    replaces,
    span_of,
)
from millrace_contract.language.words import RevisionCause

QualityEntry = ScrapEntry | ReworkEntry


@dataclass(frozen=True, slots=True)
class MachineEntries:
    """What holds for one machine. `orders` are those of its line, too, in order of event time; the others in the order in which
    they were entered, so that of two that speak of the same the later one comes last.
    """

    orders: tuple[OrderEntry, ...] = ()
    reasons: tuple[ReasonEntry, ...] = ()
    quality: tuple[QualityEntry, ...] = ()
    steps: tuple[StepEntry, ...] = ()
    quality_until_ms: int = -1
    reasons_until_ms: int = -1
    """Up to when `quality` and `reasons` speak of time."""

    def concerning(self, start_ms: int, end_ms: int) -> MachineEntries:
        """Those that speak of [start, end): begun before its end and not over at its start.

        Of orders also what led up to `start`: everything from the last start of one at or before it.
        """
        return MachineEntries(
            orders=self._orders(start_ms, end_ms),
            reasons=tuple(entry for entry in self.reasons if _touches(time_of(entry), start_ms, end_ms)),
            quality=tuple(entry for entry in self.quality if _touches(time_of(entry), start_ms, end_ms)),
            steps=tuple(entry for entry in self.steps if _touches(time_of(entry), start_ms, end_ms)),
        )

    def _orders(self, start_ms: int, end_ms: int) -> tuple[OrderEntry, ...]:
        until = [entry for entry in self.orders if time_of(entry).start_ms < end_ms]
        starts = [
            place
            for place, entry in enumerate(until)
            if isinstance(entry.values, OrderStart) and time_of(entry).start_ms <= start_ms
        ]
        return tuple(until[starts[-1] if starts else 0 :])


NO_ENTRIES = MachineEntries()


class Entries:
    """The last word of each id, withdrawn ones included: an earlier version may still come."""

    def __init__(self, placed: Iterable[PlacedEntry] = ()) -> None:
        self._last = {each.entry.id: each for each in placed}

    def take(self, placed: PlacedEntry) -> list[PlacedEntry]:
        """Take a version of an entry; returns it and what it replaces, nothing where it says nothing new."""
        old = self._last.get(placed.entry.id)
        if old is not None and not replaces(placed.entry, old.entry):
            return []
        self._last[placed.entry.id] = placed
        return [placed] if old is None else [old, placed]

    def forget(self, entry_ids: Iterable[str]) -> None:
        for entry_id in entry_ids:
            self._last.pop(entry_id, None)

    def of(self, line: str, device: str) -> MachineEntries:
        """What holds for a machine in this line. Scrap, rework and steps are of a device; orders and reasons may be of its line."""
        mine = [
            (each.device, each.entry)
            for each in self._last.values()
            if each.line == line and each.device in (None, device) and not isinstance(each.entry, WithdrawalEntry)
        ]
        mine.sort(key=lambda each: entered_order(each[1]))
        reasons = tuple(entry for _, entry in mine if isinstance(entry, ReasonEntry))
        quality = tuple(entry for of, entry in mine if isinstance(entry, ScrapEntry | ReworkEntry) and of is not None)
        return MachineEntries(
            orders=tuple(
                sorted((entry for _, entry in mine if isinstance(entry, OrderEntry)), key=lambda entry: time_of(entry).start_ms)
            ),
            reasons=reasons,
            quality=quality,
            steps=tuple(entry for of, entry in mine if isinstance(entry, StepEntry) and of is not None),
            quality_until_ms=max((time_of(entry).end_ms for entry in quality), default=-1),
            reasons_until_ms=max((time_of(entry).end_ms for entry in reasons), default=-1),
        )


def time_of(entry: OrderEntry | ReasonEntry | QualityEntry | StepEntry) -> EntryTime:
    """The time that an entry speaks of."""
    found = span_of(entry)
    if found is None:
        raise ValueError(f"entry {entry.id} speaks of no time")
    return found


def time_of_any(entry: Entry) -> EntryTime | None:
    """The time that an entry speaks of; of an order all from then on; None of one that was taken back."""
    time = span_of(entry)
    return EntryTime(time.start_ms, 1 << 60) if time is not None and isinstance(entry, OrderEntry) else time


def cause_of(placed: PlacedEntry) -> RevisionCause:
    """Why a window that an entry changes is told again."""
    match placed.entry:
        case OrderEntry():
            return RevisionCause.ORDER
        case ReasonEntry():
            return RevisionCause.REASON
        case StepEntry():
            return RevisionCause.COUNTER_STEP
        case _:
            return RevisionCause.SCRAP


def _touches(time: EntryTime, start_ms: int, end_ms: int) -> bool:
    """An instant belongs to the stretch that begins with it."""
    return time.start_ms < end_ms and (time.end_ms > start_ms or time.start_ms >= start_ms)
