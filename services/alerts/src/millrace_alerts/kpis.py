"""How an alert system does (alerts.md B5): how much people are told, in what bursts, by whom, and what they do about it. Pure.

Counted is what was announced: a condition that came true on an alert that nothing hid. Acknowledgements, returns to normal and what
was hidden are no alarms. Everything in event time, but for how long people took.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import EventCause, IsaState, Priority

from .flood import BEGINS_ABOVE, ENDS_BELOW
from .tune import CHATTER_MS

HOUR_MS = 3_600_000
BIN_MS = 600_000
"""Peaks and floods are looked for in ten minutes at a time, from the beginning of the period on."""
FLEETING_MS = 10_000
ALONE_MS = 60_000
STANDING_MS = 24 * HOUR_MS
MOST_FREQUENT = 10
CHATTERS = 3
_IN_ALARM = frozenset({IsaState.UNACK, IsaState.ACKED})


@dataclass(frozen=True, slots=True)
class Frequent:
    """An alert, how often it was announced, and its share of all."""

    alert_id: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert that was in alarm for more than a day, until when (None: it still was at the end of the period)."""

    alert_id: str
    since_ms: int
    until_ms: int | None


@dataclass
class Kpis:
    """Of one period. Shares are 0 to 1, and None where there is nothing to share; `per_hour` where the period has not begun."""

    hours: float
    alerts: int = 0
    per_hour: float | None = None
    peak_10_min: int = 0
    peak_share: float | None = None
    flood_share: float | None = None
    frequent: list[Frequent] = field(default_factory=list)
    frequent_share: float | None = None
    chattering: dict[str, int] = field(default_factory=dict)
    fleeting: int = 0
    standing: list[Standing] = field(default_factory=list)
    acknowledged: int = 0
    acknowledged_late: int = 0
    not_acknowledged: int = 0
    by_priority: dict[Priority, int] = field(default_factory=dict)
    shelved: int = 0
    taken_out_of_service: int = 0


class TimedEvent:
    """One event with its times, ms: of its cause, and when it was recorded."""

    __slots__ = ("at_ms", "event", "recorded_ms")

    def __init__(self, event: AlertEvent) -> None:
        self.event = event
        self.at_ms = parse_timestamp(event.source_timestamp)
        self.recorded_ms = parse_timestamp(event.timestamp)

    @property
    def is_announced(self) -> bool:
        return self.event.cause is EventCause.CONDITION and self.event.to_state is IsaState.UNACK


def follow(raised: dict[str, TimedEvent], told: TimedEvent) -> None:
    """`raised`: of each alert in alarm the event that raised it; brought up to date."""
    if told.event.cause is EventCause.CONDITION:
        raised[told.event.alert_id] = told
    elif told.event.cause in {EventCause.CLEAR, EventCause.RULE_REMOVED}:
        raised.pop(told.event.alert_id, None)


def kpis(
    earlier: Mapping[str, TimedEvent],
    told: Iterable[TimedEvent],
    start_ms: int,
    end_ms: int,
    response_s: Mapping[str, float] | None = None,
) -> Kpis:
    """`told`: events from `start_ms` to `end_ms` (by their cause), in order; end_ms: of the period, or now where it is not over.

    earlier: of each alert that was in alarm when the period began, the event that raised it. response_s: by rule.
    """
    span_ms = max(end_ms - start_ms, 0)
    found = Kpis(hours=span_ms / HOUR_MS)
    events = list(told)
    announced = [each for each in events if each.is_announced]
    _rates(found, announced, start_ms, span_ms)
    _by_whom(found, announced)
    _lives(found, earlier, events, end_ms)
    _answers(found, events, end_ms, response_s or {})
    found.shelved = sum(each.event.cause is EventCause.SHELVE for each in events)
    found.taken_out_of_service = sum(each.event.cause is EventCause.OUT_OF_SERVICE for each in events)
    return found


def _rates(found: Kpis, announced: list[TimedEvent], start_ms: int, span_ms: int) -> None:
    found.alerts = len(announced)
    if span_ms <= 0:
        return
    found.per_hour = len(announced) / found.hours
    counts = Counter((each.at_ms - start_ms) // BIN_MS for each in announced)
    bins = -(-span_ms // BIN_MS)
    found.peak_10_min = max(counts.values(), default=0)
    found.peak_share = sum(count > BEGINS_ABOVE for count in counts.values()) / bins
    in_flood, flooded = False, 0
    for number in range(bins):
        in_flood = counts[number] > BEGINS_ABOVE or (in_flood and counts[number] >= ENDS_BELOW)
        flooded += in_flood
    found.flood_share = flooded / bins


def _by_whom(found: Kpis, announced: list[TimedEvent]) -> None:
    counts = Counter(each.event.alert_id for each in announced)
    most = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_FREQUENT]
    found.frequent = [Frequent(name, count, count / len(announced)) for name, count in most]
    found.frequent_share = sum(count for _, count in most) / len(announced) if announced else None
    for each in announced:
        if each.event.priority is not None:
            found.by_priority[each.event.priority] = found.by_priority.get(each.event.priority, 0) + 1
    times: dict[str, list[int]] = defaultdict(list)
    for each in announced:
        times[each.event.alert_id].append(each.at_ms)
    for name, those in times.items():
        if (within := _most_within(sorted(those))) >= CHATTERS:
            found.chattering[name] = within


def _most_within(times: list[int]) -> int:
    """How many lie within CHATTER_MS of each other at most."""
    most = first = 0
    for last, at_ms in enumerate(times):
        while at_ms - times[first] > CHATTER_MS:
            first += 1
        most = max(most, last - first + 1)
    return most


def _lives(found: Kpis, earlier: Mapping[str, TimedEvent], events: list[TimedEvent], end_ms: int) -> None:
    """Standing alerts, and fleeting ones."""
    since = {name: each.at_ms for name, each in earlier.items()}
    ended: dict[str, int] = {}
    fleeting: dict[str, tuple[int, int]] = {}
    for each in events:
        name = each.event.alert_id
        if each.event.cause is EventCause.CONDITION:
            since[name] = each.at_ms
            if name in fleeting and each.at_ms - fleeting[name][1] <= ALONE_MS:
                del fleeting[name]
            elif name in fleeting:
                found.fleeting += 1
                del fleeting[name]
        elif each.event.cause in {EventCause.CLEAR, EventCause.RULE_REMOVED} and name in since:
            began = since.pop(name)
            if each.at_ms - began > STANDING_MS:
                found.standing.append(Standing(name, began, each.at_ms))
            is_first = name not in ended or began - ended[name] > ALONE_MS
            if each.event.from_state in _IN_ALARM and each.at_ms - began < FLEETING_MS and is_first:
                fleeting[name] = began, each.at_ms
            ended[name] = each.at_ms
    found.fleeting += len(fleeting)
    found.standing += [Standing(name, began, None) for name, began in since.items() if end_ms - began > STANDING_MS]
    found.standing.sort(key=lambda each: (each.since_ms, each.alert_id))


def _answers(found: Kpis, events: list[TimedEvent], end_ms: int, response_s: Mapping[str, float]) -> None:
    """An announcement is answered by the acknowledgement that follows; another one before that asks the same question."""
    waiting: dict[str, TimedEvent] = {}
    for each in events:
        if each.is_announced:
            waiting.setdefault(each.event.alert_id, each)
        elif each.event.cause is EventCause.ACK and (asked := waiting.pop(each.event.alert_id, None)) is not None:
            found.acknowledged += 1
            found.acknowledged_late += _is_late(asked, each.recorded_ms, response_s)
        elif each.event.to_state in {IsaState.NORM, IsaState.SHLVD, IsaState.DSUPR, IsaState.OOSRV}:
            waiting.pop(each.event.alert_id, None)
    found.not_acknowledged = len(waiting)
    found.acknowledged_late += sum(_is_late(asked, end_ms, response_s) for asked in waiting.values())


def _is_late(asked: TimedEvent, answered_ms: int, response_s: Mapping[str, float]) -> bool:
    limit_s = response_s.get(asked.event.rule)
    return limit_s is not None and answered_ms - asked.recorded_ms > limit_s * 1000
