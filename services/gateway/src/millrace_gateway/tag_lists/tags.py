"""What every reader of a tag list hands over: signals in the keys of a profile, and a note for what did not come along."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .columns import CHANGES_VALUES, plain

NoteKind = Literal["left out", "assumed", "changed", "unused"]


class Unclear(ValueError):
    """Something of a tag that cannot be taken as it is; the text says what to write instead, or why there is no way."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that is not in the profile as it is in the list. `line` is 0, and `about` empty, for what concerns all of it."""

    kind: NoteKind
    line: int
    about: str
    message: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (f"line {self.line}" if self.line else "", self.about) if part)
        return f"{self.kind}: {place}: {self.message}" if place else f"{self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Tag:
    """One signal: its name as the list writes it, and its keys as a profile writes them. Without `order` none was given."""

    line: int
    name: str
    keys: dict[str, Any]


@dataclass(slots=True)
class DeviceTags:
    """The tags of one device of the list. `refused` are those that a person must mend before anything is made of the list."""

    device: str = ""
    tags: list[Tag] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    unused: dict[str, None] = field(default_factory=dict)
    """Columns or keys that say nothing about the value."""
    refused: list[tuple[int, str, str]] = field(default_factory=list)
    is_strict: bool = False
    """A person wrote the list and can mend it: what cannot be taken is refused. Otherwise it is left out, with a note."""
    default_order: str = "ABCD"
    """What holds where neither the list nor the person who imports it gives an order."""
    default_order_is: str = ""
    """Whose default that is, for the note that says so."""

    def refuse(self, line: int, name: str, unclear: Unclear) -> None:
        """The tag cannot be taken: for a list that can be mended a mistake, for another a note."""
        if self.is_strict:
            self.refused.append((line, unclear.column, str(unclear)))
        else:
            self.notes.append(Note("left out", line, name, str(unclear)))

    def note(self, kind: NoteKind, line: int, about: str, message: str) -> None:
        """The same note of the same thing is made once."""
        note = Note(kind, line, about, message)
        if note not in self.notes:
            self.notes.append(note)

    def pass_over(self, entry: Mapping[str, Any], used: Collection[str], harmless: Iterable[str] = ()) -> None:
        """The keys of an entry that are not used. Raises Unclear for one that may change the value, unless it is harmless."""
        known = frozenset(harmless)
        for key, value in entry.items():
            if key in used or value is None:
                continue
            if key not in known and CHANGES_VALUES.search(plain(key)):
                raise Unclear(key, f"{key}: {value!r} may change the value, and is not known here")
            self.unused[key] = None


def entries_of(holder: Any, key: str) -> list[Mapping[str, Any]]:
    """The mappings in the list under the key; none where there is no such list."""
    entries = holder.get(key) if isinstance(holder, Mapping) else None
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


class QuotedNames:
    """The lines of a text in which quoted names stand, asked for in their order; for formats whose reader tells no lines."""

    def __init__(self, text: str) -> None:
        self._lines: list[str] = text.split("\n")
        self._last: int = 0

    def line_of(self, name: str) -> int:
        """The next line that has the name in quotes, or 0."""
        quoted = (f'"{name}"', f"'{name}'")
        order: tuple[int, ...] = (*range(self._last, len(self._lines)), *range(self._last))
        for index in order:
            if any(each in self._lines[index] for each in quoted):
                self._last = index + 1
                return index + 1
        return 0
