"""Several conditions at once, three-valued: what one part does not know, the whole may know all the same, or not (Kleene)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from millrace_contract.language.words import EVALUABLE, Evaluation
from millrace_contract.plant import Combination, RateOfChange, State, Stuck, Threshold
from millrace_contract.plant.conditions.combination import Part as PartModel
from millrace_contract.plant.conditions.combination import Several, Single

from ..memories import LeafMemory, LeavesMemory, StuckMemory, TrendMemory, ValueMemory
from ..timer import Wish
from .listening import SourceSignal
from .of_number import NumberKind
from .of_parts import JointWish, KnownAt, Own, PartsKind
from .rate_of_change import Rate
from .site import RuleSite
from .state import InState
from .stuck import Hanging
from .threshold import Limit
from .value import Named

MAX_TEXT = 200
"""Characters of what is shown of the parts that hold."""


@dataclass(frozen=True, slots=True)
class SingleTest:
    """A single condition, on a signal of a device."""

    part: SourceSignal
    kind: NumberKind

    def judged(self, memory: LeafMemory, known: KnownAt) -> LeafMemory:
        """With the newest reading, which is judged once, or with why nobody knows."""
        value, latest = known.value(self.part), known.newest.get(self.part.key)
        if value is None or latest is None:
            return LeafMemory(None, known.why_not(self.part), memory.at_ms, memory.memory)
        is_number = isinstance(value, float | int)
        if not is_number and not self.kind.takes_text:
            return LeafMemory(None, Evaluation.NOT_A_NUMBER, memory.at_ms, memory.memory)
        if latest.at_ms == memory.at_ms and memory.holds is not None:
            return memory
        judged = self.kind.judge(
            memory.memory,
            float(value) if is_number else value,
            latest.at_ms,
            active=memory.holds is True,
        )
        kept = judged.memory if isinstance(judged.memory, StuckMemory | TrendMemory | ValueMemory) else None
        if judged.why is not None:
            return LeafMemory(None, judged.why, latest.at_ms, kept)
        if not judged.is_ready:
            return LeafMemory(None, Evaluation.LEARNING, latest.at_ms, kept)
        holds = memory.holds is True if judged.wish is Wish.KEEP else judged.wish is Wish.SET
        return LeafMemory(holds, known.why_not(self.part), latest.at_ms, kept)


@dataclass(frozen=True, slots=True)
class Node:
    """`all`, `any` or `not` of leaves (by number) and of further nodes."""

    word: str
    parts: tuple[int | Node, ...]

    def holds(self, leaves: Sequence[bool | None]) -> bool | None:
        """None: what is known does not say."""
        found = [leaves[part] if isinstance(part, int) else part.holds(leaves) for part in self.parts]
        if self.word == "not":
            return None if found[0] is None else not found[0]
        decides = self.word == "any"  # one that holds decides of any, one that does not of all
        if decides in found:
            return decides
        return None if None in found else not decides


@dataclass(frozen=True, slots=True)
class Together(PartsKind):
    """`root` over the numbers of `leaves`."""

    root: Node
    leaves: tuple[SingleTest, ...]
    holds: Mapping[SourceSignal, int]

    @classmethod
    def of(cls, model: Combination, site: RuleSite) -> Together:
        leaves: list[SingleTest] = []
        root = _node(model, site, leaves)
        return cls(root, tuple(leaves), {leaf.part: leaf.kind.fresh_ms for leaf in leaves})

    def judge(self, known: KnownAt, own: Own, *, active: bool) -> JointWish:  # noqa: ARG002 - of the protocol
        kept = (
            own.leaves
            if isinstance(own, LeavesMemory) and len(own.leaves) == len(self.leaves)
            else (LeafMemory(),) * len(self.leaves)
        )
        now = tuple(leaf.judged(memory, known) for leaf, memory in zip(self.leaves, kept, strict=True))
        holds = self.root.holds([leaf.holds for leaf in now])
        if holds is None:
            return JointWish(None, LeavesMemory(now), why=_worst(now))
        uncertain = any(leaf.why is Evaluation.UNCERTAIN for leaf in now if leaf.holds is not None)
        quality = Evaluation.UNCERTAIN if uncertain else Evaluation.GOOD
        shown = "; ".join(self._in_words(known, now))[:MAX_TEXT]
        return JointWish(Wish.SET if holds else Wish.CLEAR, LeavesMemory(now), shown or None, quality)

    def _in_words(self, known: KnownAt, now: Sequence[LeafMemory]) -> Iterator[str]:
        """What stands where a single condition holds."""
        own = self.leaves[0].part.device_id
        for leaf, memory in zip(self.leaves, now, strict=True):
            if memory.holds:
                value = known.value(leaf.part)
                shown = f"{value:.6g}" if isinstance(value, float | int) else str(value)
                yield f"{leaf.part.signal if leaf.part.device_id == own else leaf.part.key} {shown}"


def _worst(now: Sequence[LeafMemory]) -> Evaluation:
    """Why a part that is not known is not; a real blindness before what only learns."""
    found = [leaf.why for leaf in now if leaf.holds is None]
    return next((why for why in found if why not in EVALUABLE), found[0])


def _node(model: Several, site: RuleSite, leaves: list[SingleTest]) -> Node:
    word = "all" if model.all_of else "any" if model.any_of else "not"
    return Node(word, tuple(_child(part, site, leaves) for _, part in model.parts))


def _child(model: PartModel, site: RuleSite, leaves: list[SingleTest]) -> int | Node:
    if isinstance(model, Several):
        return _node(model, site, leaves)
    kind = _single(model, site)
    leaves.append(SingleTest(SourceSignal(model.device or site.device.id, kind.signal), kind))
    return len(leaves) - 1


def _single(model: Single, site: RuleSite) -> NumberKind:
    profile = site.profile_at(model.device)
    match model:
        case Threshold():
            return Limit.of(model, profile)
        case RateOfChange():
            return Rate.of(model, profile)
        case Stuck():
            return Hanging.of(model, profile)
        case State():
            return InState.of(model, profile)
    return Named.of(model, profile)
