"""An explanation in words for a shift lead: local time of the plant, whole times, nothing left out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from millrace_contract.language.entries import (
    Entry,
    OrderEntry,
    ReasonChoice,
    ReasonComment,
    ReasonEntry,
    ReasonMerge,
    ReasonSplit,
    ReworkEntry,
    ScrapEntry,
    span_of,
)
from millrace_contract.language.looks import LEAF_LOOKS, MACHINE_LOOKS
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import ALL_TIME, Leaf, UnknownPolicy, WhyUnknown

from .explained import CounterStep, CounterSteps, Effect, ExplainedTime, Explanation
from .machine import Machine

HOUR_MS, MINUTE_MS, SECOND_MS = 3_600_000, 60_000, 1_000

_COUNTS_AS = {
    Leaf.UNPLANNED_STOP: "unplanned",
    Leaf.MINOR_STOP: "as a micro-stop",
    Leaf.PLANNED_STOP: "planned",
    Leaf.SETUP: "as setup",
    Leaf.UNSCHEDULED: "as time without orders",
    Leaf.UNKNOWN: "unknown",
}
_WHY_UNKNOWN = {
    WhyUnknown.NOT_HEARD: "it was not heard of before",
    WhyUnknown.SILENCE: "nothing more was heard",
    WhyUnknown.NOT_GOOD: "its state was not read well",
    WhyUnknown.UNREACHABLE: "its gateway asked, and it did not answer",
    WhyUnknown.UNMAPPED: "it said what its profile does not name",
}
_POLICIES = {
    UnknownPolicy.EXCLUDE: "unknown time is left out",
    UnknownPolicy.DOWN: "time in which it did not answer its gateway is an unplanned stop",
    UnknownPolicy.HOLD: "its last state is taken to go on where nothing is heard",
    UnknownPolicy.INFER: "in unknown time it ran as long as its parts take",
}


def in_words(explanation: Explanation, zone: tzinfo) -> Iterator[str]:
    """Line by line."""
    told = explanation.document
    yield from head(told, zone)
    yield ""
    yield "Time"
    for stretch in explanation.stretches:
        yield f"  {stretch_in_words(stretch, explanation, zone)}"
    for leaf in LEAF_LOOKS:
        if told.ms[leaf]:
            yield f"  = {LEAF_LOOKS[leaf].word} {duration(told.ms[leaf])}"
    yield f"  = {duration(told.ms[ALL_TIME])} in all"
    yield ""
    yield "Parts"
    for counter in explanation.counters:
        yield from (f"  {line}" for line in _counter(counter, zone))
    yield f"  = {_made(told)}"
    entered = [*explanation.reasons, *explanation.corrections]
    if entered:
        yield ""
        yield "What people and systems entered"
        for effect in entered:
            yield f"  {effect_in_words(effect, zone)}"
    yield ""
    yield "Rests on"
    for rule in rules(explanation, zone):
        yield f"  {rule}"
    yield ""
    yield from adds_up(explanation)


def head(told: OeeDocument, zone: tzinfo) -> Iterator[str]:
    start, end = (_local(parse_timestamp(each), zone) for each in (told.window.start, told.window.end))
    whose = f"{told.device_id} of {told.line}" if isinstance(told.device_id, str) else told.line
    same_day = start.date() == end.date()
    until = (
        clock(parse_timestamp(told.window.end), zone)
        if same_day
        else f"{end:%Y-%m-%d} {clock(parse_timestamp(told.window.end), zone)}"
    )
    yield (
        f"{whose}, {told.window.kind.replace('_', ' ')} {told.window.id}: "
        f"{start:%Y-%m-%d} {clock(parse_timestamp(told.window.start), zone)} to {until}, {zone}"
    )
    if told.oee is None:
        yield f"OEE is not known: {(told.reason or 'no reason').replace('_', ' ')}; coverage {percent(told.coverage)}"
    else:
        yield (
            f"OEE {percent(told.oee)} = availability {percent(told.availability)} x performance {percent(told.performance)} "
            f"x quality {percent(told.quality)}; coverage {percent(told.coverage)}"
        )
    if not told.final:
        yield f"in progress, as of {clock(parse_timestamp(told.timestamp), zone)}"
    elif told.revision > 1:
        yield f"revision {told.revision}" + (f", because of {told.cause.replace('_', ' ')}" if told.cause else "")
    for flag in told.flags:
        yield f"flag: {flag.replace('_', ' ')}"


def stretch_in_words(each: ExplainedTime, explanation: Explanation, zone: tzinfo) -> str:
    """`09:14-09:31 stopped, reason mechanical/jam (operator 17, 09:35), 17 min unplanned; lost 170 parts`."""
    length = duration(each.end_ms - each.start_ms)
    said = f"{clock(each.start_ms, zone)}-{clock(each.end_ms, zone)} "
    if not each.is_planned:
        said += f"{LEAF_LOOKS[each.leaf].word}, {length}"
    elif each.leaf is Leaf.UNKNOWN or each.state is None:
        why = "" if each.why_unknown is None else f": {_WHY_UNKNOWN[each.why_unknown]}"
        said += f"unknown, {length}{why}{f' ({each.code})' if each.code else ''}"
        if each.leaf is Leaf.UNKNOWN and (ran_ms := each.ms.get(Leaf.RUN)):
            said += f"; {duration(ran_ms)} of it counts as run, by its parts"
    else:
        said += MACHINE_LOOKS[each.state].word
        said += _reason(each, explanation, zone)
        said += f", {length}"
        if MACHINE_LOOKS[each.state].word != LEAF_LOOKS[each.leaf].word:
            said += f" {_COUNTS_AS.get(each.leaf, LEAF_LOOKS[each.leaf].word)}"
        if each.is_stop and each.stop_ms is not None and each.stop_ms != each.end_ms - each.start_ms:
            said += f" (of a stop of {duration(each.stop_ms)})"
        if each.is_pending:
            said += " (may still become a longer stop)"
    if each.assumed_ms and not (each.leaf is Leaf.UNKNOWN and each.ms.get(Leaf.RUN)):
        said += f"; {duration(each.assumed_ms)} of it nobody saw"
    order = f"; order {each.order.order}" if each.order is not None else ""
    return said + order + _parts_of(each, explanation)


def _parts_of(each: ExplainedTime, explanation: Explanation) -> str:
    said = ""
    if each.total or each.scrap:
        said += f"; {parts(each.total)}" + (f", {each.scrap} of them scrap" if each.scrap else "")
        if not each.ideal_ms and explanation.document.ideal_ms:
            said += ", which meet no ideal time"
    if each.quarantined:
        said += f"; {parts(each.quarantined)} wait for a decision"
    if each.lost_parts and each.lost_parts > 0:
        said += f"; lost {parts(each.lost_parts)}"
    elif each.lost_parts:
        said += f"; {parts(-each.lost_parts)} more than the ideal cycle allows"
    return said


def _reason(each: ExplainedTime, explanation: Explanation, zone: tzinfo) -> str:
    reason = each.reason
    if reason is None or not each.is_stop:
        return ""
    if reason.change_to is not None:
        return f", change-over to {reason.change_to}"
    if reason.reason is None:
        return ", no reason given" if each.unexplained_ms else ""
    said = f", reason {reason.reason}"
    if reason.by is None:
        said += " (as its state tells)"
    else:
        entered = [
            clock(parse_timestamp(effect.entry.timestamp), zone)
            for effect in explanation.reasons
            if effect.entry.actor == reason.by and getattr(effect.entry.values, "reason", None) == reason.reason
        ]
        said += f" ({', '.join([reason.by, *entered[-1:]])})"
    if reason.attributed_to:
        said += f" because of {reason.attributed_to}"
    return said + (f', "{reason.comment}"' if reason.comment else "")


def effect_in_words(effect: Effect, zone: tzinfo) -> str:
    """What an entry says, who said it, and what it changed."""
    said = f"{_entry(effect.entry, zone)} ({effect.entry.actor or 'nobody named'}, entered {_moment(effect.entry, zone)}): "
    changes = [
        f"{duration(abs(ms))} {'more' if ms > 0 else 'less'} {LEAF_LOOKS[leaf].word}" for leaf, ms in effect.moved_ms.items()
    ]
    if effect.explained_ms > 0:
        changes.append(f"{duration(effect.explained_ms)} of unplanned stops explained")
    if effect.scrap:
        changes.append(f"scrap {effect.scrap:+d}")
    if effect.rework:
        changes.append(f"rework {effect.rework:+d}")
    if effect.good_ms:
        changes.append(f"good time {'-' if effect.good_ms < 0 else '+'}{duration(abs(effect.good_ms))}")
    said += ", ".join(changes) or "moves no time and no parts of this window"
    return said + (f"; OEE {percent(effect.before)} -> {percent(effect.after)}" if effect.before != effect.after else "")


def _entry(entry: Entry, zone: tzinfo) -> str:
    span = span_of(entry)
    when = "" if span is None else f" of {clock(span.start_ms, zone)}"
    if span is not None and span.end_ms != span.start_ms:
        when += f"-{clock(span.end_ms, zone)}"
    match entry:
        case ScrapEntry():
            return f"scrap {entry.values.count:+d}{when}"
        case ReworkEntry():
            return f"rework {entry.values.count:+d}{when}"
        case ReasonEntry(values=ReasonComment() as said):
            return f'comment "{said.comment}"{when}'
        case ReasonEntry(values=ReasonMerge() as said):
            return f"one incident{when}" + (f", reason {said.reason}" if said.reason else "")
        case ReasonEntry(values=ReasonChoice() | ReasonSplit() as said):
            return f"reason {said.reason}{when}"
        case _:
            return f"entry {entry.id}{when}"


def order_in_words(entry: OrderEntry, zone: tzinfo) -> str:
    """What was said of an order, and who said it."""
    said, span = entry.values, span_of(entry)
    at = "" if span is None else f" at {clock(span.start_ms, zone)}"
    action = str(said.__struct_config__.tag)
    return f"order {said.order}: {action}{at} ({entry.actor or 'nobody named'}, entered {_moment(entry, zone)})"


def _counter(counter: CounterSteps, zone: tzinfo) -> Iterator[str]:
    steps = "1 step" if counter.usual == 1 else f"{counter.usual} steps"
    yield f"{counter.role} ({counter.signal}): {steps} as usual, {parts(counter.usual_parts)}"
    for step in counter.steps:
        yield f"  {step_in_words(step, zone)}"
    if counter.steps:
        yield f"  = {parts(counter.parts)}"


def step_in_words(step: CounterStep, zone: tzinfo) -> str:
    """From which reading to which, and what became of its parts."""
    said = f"{clock(step.from_ms, zone)}-{clock(step.to_ms, zone)} {step.from_value} to {step.to_value}"
    said += f" ({', '.join(step.events)})" if step.events else ""
    if step.decided is not None:
        said += f", {step.decided.values.verdict} by {step.decided.actor or 'nobody named'}, {_moment(step.decided, zone)}"
        said += f', "{step.decided.values.comment}"' if step.decided.values.comment else ""
    elif step.quarantined is not None:
        return f"{said}: not counted; {parts(step.quarantined.waiting)} wait for a decision"
    said += f": {parts(step.parts)}, spread over {duration(step.to_ms - step.from_ms)}"
    return said if step.here == step.parts else f"{said}; {step.here} of them in this window"


def rules(explanation: Explanation, zone: tzinfo) -> Iterator[str]:
    """Which settings the figures rest on, and which versions of what."""
    told = explanation.document
    for start_ms, end_ms, machine in explanation.rules:
        whole = len(explanation.rules) == 1
        yield ("" if whole else f"{clock(start_ms, zone)}-{clock(end_ms, zone)}: ") + settings_in_words(machine)
    paces = dict.fromkeys((each.order, each.part_ns) for each in explanation.stretches if each.order is not None)
    for order, part_ns in paces:
        if order is not None and part_ns is not None:
            product = f" of {order.product}" if order.product else ""
            yield f"order {order.order}{product}: ideal cycle {part_ns / 1e9:g} s a part"
    outside = [LEAF_LOOKS[leaf].word for leaf in told.basis.outside]
    yield (
        f"left out of planned production time: {', '.join(outside)}"
        if outside
        else "planned stops and setup are planned production time"
    )
    yield "versions: " + ", ".join(f"{name} {version}" for name, version in told.versions.items())


def settings_in_words(machine: Machine) -> str:
    """What figures rest on, of one time."""
    pace = "no ideal cycle" if machine.ideal_ns is None else f"ideal cycle {machine.ideal_ns / 1e9:g} s a part"
    limit = f"stops up to {duration(machine.micro_ms)} are micro-stops" if machine.micro_ms else "no stop is a micro-stop"
    return f"{pace}; {limit}; a reading holds {duration(machine.stale_ms)}; {_POLICIES[machine.unknown]}"


def adds_up(explanation: Explanation) -> Iterator[str]:
    """What was compared, and where it differs."""
    told = explanation.document
    if explanation.adds_up:
        yield (
            f"It adds up: {told.ms[ALL_TIME]} ms, {parts(told.parts.total)} ({told.parts.good} good), "
            f"ideal time {told.ideal_ms} ms, good time {told.good_ms} ms."
        )
    for check in explanation.checks:
        if not check.agrees:
            yield f"IT DOES NOT ADD UP: {check.name} is {check.listed} by what is listed, {check.told} in the document."


def _made(told: OeeDocument) -> str:
    made = told.parts
    said = f"{parts(made.total)}: {made.good} good, {made.scrap} scrap, {made.rework} reworked"
    said += f"; {made.unknown} of them made in unknown time" if made.unknown else ""
    return said + (f"; {made.quarantined} more wait for a decision" if made.quarantined else "")


def parts(count: int) -> str:
    return f"{count} part" + ("" if count == 1 else "s")


def percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.1f} %"


def duration(ms: int) -> str:
    """`1 h 2 min 3.25 s`: exact, so that what is listed can be added up by hand."""
    hours, rest = divmod(ms, HOUR_MS)
    minutes, rest = divmod(rest, MINUTE_MS)
    said = [f"{hours} h"] if hours else []
    said += [f"{minutes} min"] if minutes else []
    if rest or not said:
        said.append(f"{f'{rest / SECOND_MS:.3f}'.rstrip('0').rstrip('.')} s")
    return " ".join(said)


def clock(at_ms: int, zone: tzinfo) -> str:
    """Local time, as exact as it needs to be."""
    if at_ms % MINUTE_MS == 0:
        return f"{_local(at_ms, zone):%H:%M}"
    ms = at_ms % SECOND_MS
    return f"{_local(at_ms, zone):%H:%M:%S}" + (f".{ms:03d}" if ms else "")


def _moment(entry: Entry, zone: tzinfo) -> str:
    return f"{_local(parse_timestamp(entry.timestamp), zone):%Y-%m-%d %H:%M}"


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, zone)
