"""What people and MES enter: orders, reasons of stops, scrap, rework, verdicts on counter steps (contracts.md 2.1, decision 0025).

An entry is never changed in place. A later write to one id has a higher `version` and replaces the earlier one as a whole; a
withdrawal is such a version. So what is in force follows from the set of entries, in whatever order they came (`in_force`). The
topic says which device or line an entry is of. The time that it speaks of stands in `values`; `timestamp` is when it was entered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

import msgspec

from ..errors import Malformed
from .messages import Kept, check_size
from .times import format_timestamp, parse_timestamp
from .words import ContextKind, OrderAction, ReasonAction, StepVerdict

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
MOST_PARTS = 2**31
CHAIN = "_context"
"""All entries of a sender are one chain (`prev`): the next one, of whatever device, shows a missing one. No device is called so."""

QUALITY_SPAN_MS = 48 * 3_600_000
"""How long the production may have taken that one entry of scrap or rework concerns; of a week there are several."""

Id = Annotated[str, msgspec.Meta(pattern=ID_PATTERN)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Comment = Annotated[str, msgspec.Meta(max_length=1024)]
Time = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Count = Annotated[int, msgspec.Meta(ge=-MOST_PARTS, le=MOST_PARTS)]


class Values(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what an entry says; a key that its reader does not know is ignored."""


class IdealCycle(Values, frozen=True, kw_only=True):
    """`parts` made in `seconds` at best, as the order's master data have it: a rate as it is, without a rounded quotient."""

    parts: Annotated[int, msgspec.Meta(ge=1, le=MOST_PARTS)] = 1
    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class OrderStart(Values, frozen=True, kw_only=True, tag_field="action", tag=OrderAction.START.value):
    """From `at` on the machine or line works on this order."""

    order: Text
    at: Time
    product: Text | None = None
    target_parts: Annotated[int, msgspec.Meta(ge=1, le=MOST_PARTS)] | None = None
    ideal_cycle: IdealCycle | None = None


class OrderPause(Values, frozen=True, kw_only=True, tag_field="action", tag=OrderAction.PAUSE.value):
    order: Text
    at: Time


class OrderResume(Values, frozen=True, kw_only=True, tag_field="action", tag=OrderAction.RESUME.value):
    order: Text
    at: Time


class OrderEnd(Values, frozen=True, kw_only=True, tag_field="action", tag=OrderAction.END.value):
    order: Text
    at: Time


class ReasonChoice(Values, frozen=True, kw_only=True, tag_field="action", tag=ReasonAction.CHOOSE.value):
    """The stops with time in [start, end) stood for this reason, as a whole, whatever is learnt of their ends later.

    `stop` is the id of the interval that was on the screen, where one was; `reason` a path in reasons.yaml, as `mechanical/jam`;
    `attributed_to` the machine that made this one stand. Without `end` the stop that lasted at `start`.
    """

    start: Time
    end: Time | None = None
    stop: Text | None = None
    reason: Text
    attributed_to: Text | None = None
    comment: Comment | None = None


class ReasonSplit(Values, frozen=True, kw_only=True, tag_field="action", tag=ReasonAction.SPLIT.value):
    """Of a stop only [start, end) stood for this reason."""

    start: Time
    end: Time
    stop: Text | None = None
    reason: Text
    attributed_to: Text | None = None
    comment: Comment | None = None


class ReasonMerge(Values, frozen=True, kw_only=True, tag_field="action", tag=ReasonAction.MERGE.value):
    """The stops with time in [start, end) were one incident, and their parts are whole again; `reason` is that of all of them."""

    start: Time
    end: Time
    reason: Text | None = None
    attributed_to: Text | None = None
    comment: Comment | None = None


class ReasonComment(Values, frozen=True, kw_only=True, tag_field="action", tag=ReasonAction.COMMENT.value):
    """Something worth knowing about the stops of that time; their reason stays."""

    start: Time
    end: Time | None = None
    stop: Text | None = None
    comment: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class QualityCount(Values, frozen=True, kw_only=True):
    """So many parts more (below 0: fewer) than the counters say, of those made in [start, end], or at `start`.

    Without `start` of those made when it was entered.
    """

    count: Count
    start: Time | None = None
    end: Time | None = None
    order: Text | None = None
    reason: Text | None = None
    comment: Comment | None = None


class StepDecision(Values, frozen=True, kw_only=True):
    """A step of a counter that was not counted by itself: do its parts count? `at`: the reading that showed it.

    `parts`: how many of them, None for all that waited for a decision.
    """

    step: Text
    at: Time
    verdict: StepVerdict
    parts: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    comment: Comment | None = None


class Withdrawal(Values, frozen=True, kw_only=True):
    """The entry of this id says nothing any more."""

    comment: Comment | None = None


class ContextEvent(Kept, frozen=True, kw_only=True, tag_field="kind"):
    """What every entry has. `timestamp`: when this version was entered, by whom says `actor`."""

    id: Id
    timestamp: Time
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 1
    actor: Annotated[str, msgspec.Meta(max_length=128)] | None = None


class OrderEntry(ContextEvent, frozen=True, kw_only=True, tag=ContextKind.ORDER.value):
    values: OrderStart | OrderPause | OrderResume | OrderEnd


class ReasonEntry(ContextEvent, frozen=True, kw_only=True, tag=ContextKind.REASON.value):
    values: ReasonChoice | ReasonSplit | ReasonMerge | ReasonComment


class ScrapEntry(ContextEvent, frozen=True, kw_only=True, tag=ContextKind.SCRAP.value):
    values: QualityCount


class ReworkEntry(ContextEvent, frozen=True, kw_only=True, tag=ContextKind.REWORK.value):
    values: QualityCount


class StepEntry(ContextEvent, frozen=True, kw_only=True, tag=ContextKind.COUNTER_STEP.value):
    values: StepDecision


class WithdrawalEntry(ContextEvent, frozen=True, kw_only=True, tag=ContextKind.WITHDRAWAL.value):
    values: Withdrawal = Withdrawal()


Entry = OrderEntry | ReasonEntry | ScrapEntry | ReworkEntry | StepEntry | WithdrawalEntry

_decoder = msgspec.json.Decoder(Entry)


class PlacedEntry(NamedTuple):
    """An entry and whose it is, as its topic says; `device` is None for one of the whole line."""

    line: str
    device: str | None
    entry: Entry


class EntryTime(NamedTuple):
    """Event times that an entry speaks of: [start, end), or one instant where both are the same."""

    start_ms: int
    end_ms: int


def decode_entry(payload: bytes) -> Entry:
    """The entry, or Malformed with what is wrong and where in it."""
    check_size(payload)
    try:
        entry: Entry = _decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise Malformed("schema", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # deep nesting is one too
        raise Malformed("not_json", f"not JSON: {error}") from error
    try:
        span = span_of(entry)
    except ValueError as error:
        raise Malformed("timestamp", str(error)) from error
    if span is not None and span.end_ms < span.start_ms:
        raise Malformed("timestamp", f"ends at {format_timestamp(span.end_ms)}, before it starts")
    if isinstance(entry, ScrapEntry | ReworkEntry) and span is not None and span.end_ms - span.start_ms > QUALITY_SPAN_MS:
        raise Malformed("timestamp", "is of production that took longer than 48 h; enter it day by day")
    return entry


def kind_of(entry: Entry) -> ContextKind:
    return ContextKind(str(entry.__struct_config__.tag))


def span_of(entry: Entry) -> EntryTime | None:
    """The time that an entry speaks of; of an order's, the instant from which on it holds. None for a withdrawal.

    Raises ValueError for a time that is none.
    """
    parse_timestamp(entry.timestamp)
    match entry:
        case WithdrawalEntry():
            return None
        case OrderEntry() | StepEntry():
            at_ms = parse_timestamp(entry.values.at)
            return EntryTime(at_ms, at_ms)
        case ScrapEntry() | ReworkEntry():
            start, end = entry.values.start or entry.timestamp, entry.values.end
        case ReasonEntry():
            start, end = entry.values.start, entry.values.end
    start_ms = parse_timestamp(start)
    return EntryTime(start_ms, start_ms if end is None else parse_timestamp(end))


def replaces(new: Entry, old: Entry) -> bool:
    """Is `new` what its id says now, rather than `old`? The higher version; of two writes of one version the later one."""
    return _rank(new) > _rank(old)


def in_force(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Of each id its last word, without what was withdrawn; the order of `entries` means nothing."""
    last: dict[str, Entry] = {}
    for entry in entries:
        if (old := last.get(entry.id)) is None or replaces(entry, old):
            last[entry.id] = entry
    return {entry_id: entry for entry_id, entry in last.items() if not isinstance(entry, WithdrawalEntry)}


def entered_order(entry: Entry) -> tuple[int, str]:
    """Sorts entries by when they were entered: where two speak of the same, the later one holds."""
    return parse_timestamp(entry.timestamp), entry.id


def _rank(entry: Entry) -> tuple[Any, ...]:
    # What two writes of one version, at one instant, differ in decides by its bytes: any rule will do that everybody has.
    plain = msgspec.structs.replace(entry, stream=None, seq=None, prev=None)
    return entry.version, parse_timestamp(entry.timestamp), msgspec.json.encode(plain)
