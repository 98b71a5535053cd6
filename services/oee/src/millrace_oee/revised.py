"""What made two revisions of a window differ: pieces of time, parts, entries, settings, and windows whose sums it adds. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import msgspec

from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.words import RevisedBy

from .basis import RestsOn, Setting, TimePiece
from .revisions import ToldRevision


@dataclass(frozen=True, slots=True)
class PieceChange:
    """Time that is another since: each side as it was told, its parts aside."""

    start_ms: int
    end_ms: int
    before: TimePiece
    after: TimePiece


@dataclass(frozen=True, slots=True)
class PartsChange:
    """Parts that are others since, of a time both of whose ends are the same in the two."""

    start_ms: int
    end_ms: int
    total: tuple[int, int]
    scrap: tuple[int, int]


@dataclass(frozen=True, slots=True)
class EntryChange:
    """An entry that counts in another version since; None: in none."""

    entry: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class SettingChange:
    """Settings that hold since, in place of those before, from some time of the window on."""

    start_ms: int
    before: Setting | None
    after: Setting | None


@dataclass(frozen=True, slots=True)
class MemberChange:
    """A window whose sums this one adds, and its revision then and now; 0 where nothing was told of it."""

    member: str
    before: int
    after: int


Change = PieceChange | PartsChange | EntryChange | SettingChange | MemberChange
WHAT = {
    PieceChange: RevisedBy.PIECE,
    PartsChange: RevisedBy.PARTS,
    EntryChange: RevisedBy.ENTRY,
    SettingChange: RevisedBy.SETTING,
    MemberChange: RevisedBy.MEMBER,
}


@dataclass(frozen=True, slots=True)
class FigureChange:
    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Revised:
    """`changes` are empty where one of the two was told by a version that kept nothing of it (`is_known` false)."""

    before: OeeDocument
    after: OeeDocument
    figures: tuple[FigureChange, ...]
    changes: tuple[Change, ...]
    is_known: bool
    within: tuple[tuple[MemberChange, Revised], ...] = ()
    """What changed of the windows whose sums it adds, where that is kept."""


def revised(old: ToldRevision, new: ToldRevision) -> Revised:
    """From an earlier revision to a later one."""
    is_known = old.basis is not None and new.basis is not None
    found = tuple(_changes(old.basis, new.basis)) if old.basis is not None and new.basis is not None else ()
    return Revised(old.document, new.document, tuple(_figures(old.document, new.document)), found, is_known)


def _figures(old: OeeDocument, new: OeeDocument) -> Iterator[FigureChange]:
    def figures(document: OeeDocument) -> dict[str, float | None]:
        names = ("oee", "availability", "performance", "quality", "coverage", "ideal_ms", "good_ms", "unexplained_ms")
        counted = {name: getattr(document.parts, name) for name in document.parts.__struct_fields__}
        parts = {f"parts.{name}": 0 if count is msgspec.UNSET else count for name, count in counted.items()}
        times = {f"ms.{leaf}": ms for leaf, ms in document.ms.items()}
        return {**{name: getattr(document, name) for name in names}, **parts, **times}

    after = figures(new)
    for name, value in figures(old).items():
        if value != after[name]:
            yield FigureChange(name, value, after[name])


def _changes(old: RestsOn, new: RestsOn) -> Iterator[Change]:
    for name in dict.fromkeys((*old.entries, *new.entries)):
        if old.entries.get(name) != new.entries.get(name):
            yield EntryChange(name, old.entries.get(name), new.entries.get(name))
    yield from _settings(old.settings, new.settings)
    yield from _pieces(old.pieces, new.pieces)
    for name in dict.fromkeys((*old.members, *new.members)):
        before, after = old.members.get(name, 0), new.members.get(name, 0)
        if before != after:
            yield MemberChange(name, before, after)


def _settings(old: Sequence[Setting], new: Sequence[Setting]) -> Iterator[SettingChange]:
    last: tuple[Setting | None, Setting | None] | None = None
    for start_ms in sorted({each.start_ms for each in (*old, *new)}):
        before, after = _held(old, start_ms), _held(new, start_ms)
        if _without_start(before) != _without_start(after) and last != (before, after):
            yield SettingChange(start_ms, before, after)
        last = (before, after)


def _held(settings: Sequence[Setting], at_ms: int) -> Setting | None:
    return next((each for each in reversed(settings) if each.start_ms <= at_ms), None)


def _without_start(setting: Setting | None) -> tuple[object, ...] | None:
    if setting is None:
        return None
    return setting.ideal_ns, setting.micro_ms, setting.hold_ms, setting.unknown, setting.outside, setting.versions


def _pieces(old: Sequence[TimePiece], new: Sequence[TimePiece]) -> Iterator[PieceChange | PartsChange]:
    """Compared between the instants at which both are cut: there the parts of both are of the same time."""
    if not old or not new:
        return
    common = sorted(_edges(old) & _edges(new))
    others: PieceChange | None = None
    for start_ms, end_ms in pairwise(common):
        mine, theirs = _between(old, start_ms, end_ms), _between(new, start_ms, end_ms)
        for change in _differing(mine, theirs):
            if others is not None and others.end_ms == change.start_ms and _same(others, change):
                others = replace(others, end_ms=change.end_ms)
                continue
            if others is not None:
                yield others
            others = change
        totals = _sum(mine, "total"), _sum(theirs, "total")
        scraps = _sum(mine, "scrap"), _sum(theirs, "scrap")
        if totals[0] != totals[1] or scraps[0] != scraps[1]:
            if others is not None:
                yield others
                others = None
            yield PartsChange(start_ms, end_ms, totals, scraps)
    if others is not None:
        yield others


def _differing(old: Sequence[TimePiece], new: Sequence[TimePiece]) -> Iterator[PieceChange]:
    """Both tile the same time."""
    for start_ms, end_ms in pairwise(sorted(_edges(old) | _edges(new))):
        before = next(each for each in old if each.start_ms <= start_ms < each.end_ms)
        after = next(each for each in new if each.start_ms <= start_ms < each.end_ms)
        if _what(before) != _what(after):
            yield PieceChange(start_ms, end_ms, before, after)


def _same(one: PieceChange, other: PieceChange) -> bool:
    return (_what(one.before), _what(one.after)) == (_what(other.before), _what(other.after))


def _what(piece: TimePiece) -> tuple[object, ...]:
    return piece.leaf, piece.state, piece.reason, piece.attributed_to


def _edges(pieces: Sequence[TimePiece]) -> set[int]:
    return {at_ms for piece in pieces for at_ms in (piece.start_ms, piece.end_ms)}


def _between(pieces: Sequence[TimePiece], start_ms: int, end_ms: int) -> list[TimePiece]:
    return [piece for piece in pieces if piece.start_ms >= start_ms and piece.end_ms <= end_ms]


def _sum(pieces: Sequence[TimePiece], name: str) -> int:
    return sum(getattr(piece, name) for piece in pieces)
