"""Which machine of a line made which one stand: what people said, and where nobody did, the flow of the line (oee.md A15). Pure.

A stop that begins waiting (starved or blocked) is the doing of the nearest machine up or down the flow that stood by itself when
it began, and had stood before: machines between the two that wait as well are passed over, one that runs ends the search. Of one
on either side the one that stood first. Every other stop is the machine's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..language.oee_messages import OeeInterval
from ..language.times import parse_timestamp
from ..language.words import WAITING_STATES, CausedBy, IntervalKind, Leaf

_FOREVER_MS = 1 << 60
STANDS = frozenset({Leaf.UNPLANNED_STOP, Leaf.MINOR_STOP})
Flow = Sequence[Sequence[str]]
"""The stations of a line in the order of the material, each with its machines."""


@dataclass(frozen=True, slots=True)
class StopCause:
    """Time of a stop in the span, and the machine that made it stand; its own id where it was none but itself. `began` in it."""

    device_id: str
    cause: str
    how: CausedBy
    start_ms: int
    end_ms: int
    began: bool

    @property
    def ms(self) -> int:
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class MachineStood:
    """How long a machine stood by itself, how long it waited for others, and how long others stood because of it."""

    device_id: str
    own_ms: int = 0
    waited_ms: int = 0
    caused_ms: int = 0


@dataclass(frozen=True, slots=True)
class MachineWaited:
    """How long, and how often, one machine stood because of another."""

    device_id: str
    because_of: str
    how: CausedBy
    count: int
    ms: int


@dataclass(frozen=True, slots=True)
class _Whole:
    stop: OeeInterval
    start_ms: int
    end_ms: int

    @property
    def waits(self) -> bool:
        return self.stop.state in WAITING_STATES

    def lasts_at(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms < self.end_ms


def stop_causes(stops: Iterable[OeeInterval], flow: Flow, start_ms: int, end_ms: int) -> list[StopCause]:
    """Of unplanned stops and micro-stops with time in [start, end), cut at both. `stops`: of all machines of the flow, whole."""
    whole = [
        _Whole(each, parse_timestamp(each.start), _FOREVER_MS if each.end is None else parse_timestamp(each.end))
        for each in stops
        if each.kind is IntervalKind.STOP and each.end != each.start
    ]
    by_machine: dict[str, list[_Whole]] = {}
    for each in whole:
        by_machine.setdefault(each.stop.device_id, []).append(each)
    found = [cause for each in whole if each.stop.leaf in STANDS for cause in _causes(each, by_machine, flow)]
    cut = [
        StopCause(
            each.device_id, each.cause, each.how, max(each.start_ms, start_ms), min(each.end_ms, end_ms), each.start_ms >= start_ms
        )
        for each in found
        if each.start_ms < end_ms and each.end_ms > start_ms
    ]
    return sorted(cut, key=lambda each: (each.start_ms, each.device_id))


def by_machine(causes: Iterable[StopCause], machines: Iterable[str]) -> list[MachineStood]:
    """Of each of these machines, in their order, and of those that people named beside them."""
    found = {machine: MachineStood(machine) for machine in machines}
    for each in causes:
        mine = found.get(each.device_id, MachineStood(each.device_id))
        own = each.cause == each.device_id
        found[each.device_id] = MachineStood(
            mine.device_id, mine.own_ms + each.ms * own, mine.waited_ms + each.ms * (not own), mine.caused_ms
        )
        if not own:
            other = found.get(each.cause, MachineStood(each.cause))
            found[each.cause] = MachineStood(other.device_id, other.own_ms, other.waited_ms, other.caused_ms + each.ms)
    return list(found.values())


def waits(causes: Iterable[StopCause]) -> list[MachineWaited]:
    """Who stood because of whom, the most time first."""
    found: dict[tuple[str, str, CausedBy], list[StopCause]] = {}
    for each in causes:
        if each.cause != each.device_id:
            found.setdefault((each.device_id, each.cause, each.how), []).append(each)
    told = [MachineWaited(*key, sum(each.began for each in those), sum(each.ms for each in those)) for key, those in found.items()]
    return sorted(told, key=lambda each: (-each.ms, each.device_id, each.because_of, each.how))


def _causes(whole: _Whole, by_machine: dict[str, list[_Whole]], flow: Flow) -> Iterator[StopCause]:
    """The stop, each part of it with a reason of its own apart: what a person said of it comes before the flow."""
    stop = whole.stop
    pieces = [(each.start, each.end, each.reason_by, each.attributed_to) for each in stop.pieces]
    upstream = _of_flow(whole, by_machine, flow) if whole.waits else None
    for start, end, said_by, attributed_to in pieces or [(stop.start, stop.end, stop.reason_by, stop.attributed_to)]:
        if attributed_to is not None or said_by is not None:
            cause, how = attributed_to or stop.device_id, CausedBy.PERSON
        elif upstream is not None:
            cause, how = upstream, CausedBy.FLOW
        else:
            cause, how = stop.device_id, CausedBy.OWN
        end_ms = _FOREVER_MS if end is None else parse_timestamp(end)
        yield StopCause(stop.device_id, cause, how, parse_timestamp(start), end_ms, began=True)


def _of_flow(whole: _Whole, by_machine: dict[str, list[_Whole]], flow: Flow) -> str | None:
    place = next((number for number, station in enumerate(flow) if whole.stop.device_id in station), None)
    if place is None:
        return None
    either = [
        found
        for way in (reversed(flow[:place]), flow[place + 1 :])
        if (found := _nearest(way, whole.start_ms, by_machine)) is not None
    ]
    first = min(either, key=lambda each: each.start_ms, default=None)  # of two that stood alike the one before it in the flow
    return None if first is None else first.stop.device_id


def _nearest(way: Iterable[Sequence[str]], at_ms: int, by_machine: dict[str, list[_Whole]]) -> _Whole | None:
    for station in way:
        standing = [each for machine in station for each in by_machine.get(machine, ()) if each.lasts_at(at_ms)]
        by_themselves = [each for each in standing if not each.waits]
        if by_themselves:
            return min(by_themselves, key=lambda each: (each.start_ms, each.stop.device_id))
        if len(standing) < len(station):
            return None
    return None
