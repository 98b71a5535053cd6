"""reasons.yaml: the tree of stop reasons that operators choose from (oee.md A14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..errors import ConfigurationProblems
from ..language.assets import segment_problem
from ..language.words import Leaf
from .document import Document, Strict, read_document

StopLeaf = Literal[Leaf.PLANNED_STOP, Leaf.SETUP, Leaf.UNPLANNED_STOP, Leaf.MINOR_STOP, Leaf.BREAK, Leaf.UNSCHEDULED]
"""The leaves that a reason can give a stop."""


class Reason(Strict):
    """A reason, or a group of them. `leaf` says which time a stop with this reason is; children inherit it."""

    title: str
    leaf: StopLeaf | None = None
    failure: bool = False
    children: dict[str, Reason] = {}


class Reasons(Strict):
    reasons: dict[str, Reason] = Field(min_length=1)

    def paths(self) -> dict[str, ReasonPath]:
        """Every reason and group that can be chosen, by its path as `mechanical/jam`, in the order of the file."""
        return dict(_paths(self.reasons, "", (), None, failure=False))


@dataclass(frozen=True, slots=True)
class ReasonPath:
    """A reason with what it inherits. `titles`: its own and those of the groups above it, the topmost first."""

    titles: tuple[str, ...]
    leaf: StopLeaf | None
    failure: bool


def _paths(
    level: dict[str, Reason], above: str, titles: tuple[str, ...], leaf: StopLeaf | None, *, failure: bool
) -> Iterator[tuple[str, ReasonPath]]:
    for key, reason in level.items():
        own = ReasonPath((*titles, reason.title), reason.leaf or leaf, reason.failure or failure)
        yield above + key, own
        yield from _paths(reason.children, f"{above}{key}/", own.titles, own.leaf, failure=own.failure)


def load_reasons(folder: Path) -> Reasons:
    """Raises ConfigurationProblems with every problem of reasons.yaml."""
    document = read_document(folder / "reasons.yaml", "reasons.yaml")
    reasons = document.validate(Reasons)
    if reasons is not None:
        _check(reasons.reasons, ("reasons",), document)
    if document.problems or reasons is None:
        raise ConfigurationProblems(document.problems)
    return reasons


def _check(level: dict[str, Reason], path: tuple[str, ...], document: Document) -> None:
    for key, reason in level.items():
        if problem := segment_problem(key):
            document.problem((*path, key), f"{key!r} {problem}")
        _check(reason.children, (*path, key, "children"), document)
