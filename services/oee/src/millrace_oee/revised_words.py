"""What changed between two revisions, in words for a shift lead and as records of the contract. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo

from millrace_contract.language.explanations import ExplainedChange, ExplainedRevision, FigureRevised
from millrace_contract.language.looks import LEAF_LOOKS, MACHINE_LOOKS
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import ALL_TIME, Leaf

from .basis import Setting, TimePiece
from .explain_words import clock, duration, effect_in_words, order_in_words, percent, step_in_words
from .explained import Explanation
from .revised import (
    WHAT,
    Change,
    EntryChange,
    FigureChange,
    MemberChange,
    PartsChange,
    PieceChange,
    Revised,
    SettingChange,
)

_TIMES = {"ideal_ms": "ideal time", "good_ms": "good time", "unexplained_ms": "stops without a reason"}
_PARTS = {"total": "parts", "good": "good parts", "unknown": "parts of unknown time", "quarantined": "parts that wait"}


def entries_in_words(explanation: Explanation, zone: tzinfo) -> dict[str, str]:
    """What each entry of a window says and changed, by its id."""
    found = {each.entry.id: effect_in_words(each, zone) for each in (*explanation.reasons, *explanation.corrections)}
    found |= {each.id: order_in_words(each, zone) for each in explanation.orders}
    steps = [step for counter in explanation.counters for step in counter.steps]
    return found | {step.decided.id: step_in_words(step, zone) for step in steps if step.decided is not None}


def told_of_revision(revised: Revised, entries: Mapping[str, str], zone: tzinfo) -> ExplainedRevision:
    """`entries`: what each says, by its id."""
    return ExplainedRevision(
        since_revision=revised.before.revision,
        revision=revised.after.revision,
        words=list(in_words(revised, entries, zone)),
        figures=[FigureRevised(name=each.name, before=each.before, after=each.after) for each in revised.figures],
        changes=[_change(each, member, entries, zone) for each, member in _all_changes(revised)],
    )


def in_words(revised: Revised, entries: Mapping[str, str], zone: tzinfo) -> Iterator[str]:
    """Line by line."""
    old, new = revised.before, revised.after
    cause = f", because of {new.cause.replace('_', ' ')}" if new.cause else ""
    yield f"What changed from revision {old.revision} to revision {new.revision}{cause}"
    if not revised.is_known:
        yield "  of one of them nothing but its figures was kept"
    yield from (f"  {line}" for line in _changes_in_words(revised, entries, zone))
    yield "  = " + ("; ".join(map(_figure, revised.figures)) or "no figure")


def _changes_in_words(revised: Revised, entries: Mapping[str, str], zone: tzinfo) -> Iterator[str]:
    within = dict(revised.within)
    for change in revised.changes:
        yield change_in_words(change, entries, zone)
        if isinstance(change, MemberChange) and change in within:
            yield from (f"  {line}" for line in _changes_in_words(within[change], entries, zone))


def _all_changes(revised: Revised, member: str | None = None) -> Iterator[tuple[Change, str | None]]:
    """Those of its members, too, each with the innermost member that it is of."""
    within = dict(revised.within)
    for change in revised.changes:
        yield change, change.member if isinstance(change, MemberChange) else member
        if isinstance(change, MemberChange) and change in within:
            yield from _all_changes(within[change], change.member)


def change_in_words(change: Change, entries: Mapping[str, str], zone: tzinfo) -> str:
    match change:
        case EntryChange():
            return _entry(change, entries)
        case SettingChange():
            return _setting(change, zone)
        case PieceChange():
            length = duration(change.end_ms - change.start_ms)
            span = f"{clock(change.start_ms, zone)}-{clock(change.end_ms, zone)}"
            return f"{span}, {length}: {_piece(change.before)} -> {_piece(change.after)}"
        case PartsChange():
            said = [f"{name} {before} -> {after}" for name, (before, after) in _parts(change) if before != after]
            return f"{clock(change.start_ms, zone)}-{clock(change.end_ms, zone)}: {', '.join(said)}"
        case MemberChange():
            return f"{change.member}: " + (f"revision {change.before} -> {change.after}" if change.before else "told since")


def _change(change: Change, member: str | None, entries: Mapping[str, str], zone: tzinfo) -> ExplainedChange:
    span = (change.start_ms, change.end_ms) if isinstance(change, PieceChange | PartsChange) else None
    return ExplainedChange(
        what=WHAT[type(change)],
        words=change_in_words(change, entries, zone),
        start=None if span is None else format_timestamp(span[0]),
        end=None if span is None else format_timestamp(span[1]),
        entry=change.entry if isinstance(change, EntryChange) else None,
        member=member,
    )


def _entry(change: EntryChange, entries: Mapping[str, str]) -> str:
    if change.after is None:
        return f"entry {change.entry} counts no more: it was taken back, or speaks of another time since"
    said = entries.get(change.entry, f"entry {change.entry}")
    return said if change.before is None else f"{said} (version {change.after} in place of {change.before})"


def _setting(change: SettingChange, zone: tzinfo) -> str:
    old, new = change.before, change.after
    if old is None or new is None:
        return f"settings from {clock(change.start_ms, zone)} on"
    said = [f"{name} {before} -> {after}" for name, before, after in _settings(old, new) if before != after]
    return f"from {clock(change.start_ms, zone)} on: {', '.join(said)}"


def _settings(old: Setting, new: Setting) -> Iterator[tuple[str, str, str]]:
    yield "ideal cycle", _cycle(old), _cycle(new)
    yield "longest micro-stop", duration(old.micro_ms), duration(new.micro_ms)
    yield "a reading holds", duration(old.hold_ms), duration(new.hold_ms)
    yield "unknown time", old.unknown, new.unknown
    yield "left out", ", ".join(old.outside) or "nothing", ", ".join(new.outside) or "nothing"
    for name, before, after in zip(("configuration", "calendar", "model"), old.versions, new.versions, strict=False):
        yield f"version of the {name}", before, after


def _cycle(setting: Setting) -> str:
    return "none" if setting.ideal_ns is None else f"{setting.ideal_ns / 1e9:g} s"


def _piece(piece: TimePiece) -> str:
    leaf = LEAF_LOOKS[piece.leaf].word
    word = leaf if piece.state is None else MACHINE_LOOKS[piece.state].word
    said = word if word == leaf else f"{word} ({leaf})"
    said += f", reason {piece.reason}" if piece.reason else ""
    return said + (f" because of {piece.attributed_to}" if piece.attributed_to else "")


def _parts(change: PartsChange) -> Iterator[tuple[str, tuple[int, int]]]:
    yield "parts", change.total
    yield "scrap", change.scrap


def _figure(figure: FigureChange) -> str:
    kind, _, name = figure.name.rpartition(".")
    if kind == "ms":
        word = "all time" if name == ALL_TIME else LEAF_LOOKS[Leaf(name)].word
        return f"{word} {_time(figure.before)} -> {_time(figure.after)}"
    if kind == "parts":
        return f"{_PARTS.get(name, name)} {figure.before} -> {figure.after}"
    if name in _TIMES:
        return f"{_TIMES[name]} {_time(figure.before)} -> {_time(figure.after)}"
    return f"{'OEE' if name == 'oee' else name} {percent(figure.before)} -> {percent(figure.after)}"


def _time(value: float | None) -> str:
    return "not known" if value is None else duration(int(value))
