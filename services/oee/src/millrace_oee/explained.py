"""What an explanation of a window consists of, and whether it adds up to the document (oee.md A21). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace_contract.language.entries import Entry, OrderEntry, StepEntry
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.words import ALL_TIME, Leaf, MachineState, WhyUnknown

from .calendar import TimeWindow
from .counter_steps import QuarantinedStep
from .machine import Machine
from .orders import RunningOrder
from .stop_reasons import ReasonPiece
from .windows import Sums


@dataclass(frozen=True, slots=True)
class ExplainedTime:
    """Time of a window in which nothing changes. `ms` by leaf: more than one where parts tell that it ran unseen.

    `state` is None where nothing was heard. `stop_ms`: how long the whole stop was that it is of, None while that lasts.
    `code`: what the machine says, and its profile does not name. `lost_parts`: what could have been made at the ideal cycle beyond
    what was made, below 0 where parts came faster; None without an ideal cycle, and of time that is no loss.
    """

    start_ms: int
    end_ms: int
    leaf: Leaf
    ms: Mapping[Leaf, int]
    state: MachineState | None
    code: str
    is_planned: bool
    """The calendar leaves it to the machine."""
    why_unknown: WhyUnknown | None
    assumed_ms: int
    unexplained_ms: int
    is_pending: bool
    order: RunningOrder | None
    part_ns: int | None
    reason: ReasonPiece | None
    is_stop: bool
    stop_ms: int | None
    total: int
    scrap: int
    unseen: int
    quarantined: int
    ideal_ms: int
    good_ms: int
    lost_parts: int | None = None

    @property
    def good(self) -> int:
        return self.total - self.scrap


@dataclass(frozen=True, slots=True)
class Effect:
    """What an entry of people or MES changed of the window, and OEE without it and with it."""

    entry: Entry
    moved_ms: Mapping[Leaf, int]
    scrap: int
    rework: int
    good_ms: int
    explained_ms: int
    """How much of unplanned stops has a reason since."""
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class CounterStep:
    """Two neighbouring good readings of a counter. `parts`: all that count of the step, `here` those of the window."""

    from_ms: int
    to_ms: int
    from_value: int
    to_value: int
    parts: int
    here: int
    events: tuple[str, ...]
    quarantined: QuarantinedStep | None = None
    decided: StepEntry | None = None


@dataclass(frozen=True, slots=True)
class CounterSteps:
    """The steps of one counter: how many usual ones there were, with their parts, and each that is worth a look."""

    role: str
    signal: str
    usual: int
    usual_parts: int
    steps: tuple[CounterStep, ...]
    parts: int
    """What the counter shows of the window in all."""

    @property
    def listed(self) -> int:
        return self.usual_parts + sum(step.here for step in self.steps)


@dataclass(frozen=True, slots=True)
class Check:
    """A figure as the listed ones add up to it, and as the document has it."""

    name: str
    listed: int
    told: int

    @property
    def agrees(self) -> bool:
        return self.listed == self.told


@dataclass(frozen=True, slots=True)
class Explanation:
    """`rules`: what of the machine's settings held from when to when. `checks`: of the listed figures against `document`."""

    window: TimeWindow
    document: OeeDocument
    sums: Sums
    rules: tuple[tuple[int, int, Machine], ...]
    stretches: tuple[ExplainedTime, ...]
    reasons: tuple[Effect, ...]
    corrections: tuple[Effect, ...]
    counters: tuple[CounterSteps, ...]
    checks: tuple[Check, ...]
    orders: tuple[OrderEntry, ...] = ()
    """What was said of orders, from the last start before the window on."""

    @property
    def adds_up(self) -> bool:
        return all(check.agrees for check in self.checks)


def checks(
    stretches: Sequence[ExplainedTime], corrections: Sequence[Effect], counters: Sequence[CounterSteps], document: OeeDocument
) -> list[Check]:
    """What is listed against the figures of a document of the same window."""
    parts = document.parts
    scrap = sum(each.scrap for each in stretches) + sum(each.scrap for each in corrections)
    rework = sum(each.rework for each in corrections)
    total = sum(each.total for each in stretches)
    listed = {
        **{leaf.value: sum(each.ms.get(leaf, 0) for each in stretches) for leaf in Leaf},
        ALL_TIME: sum(each.end_ms - each.start_ms for each in stretches),
    }
    found = [Check(f"ms.{name}", ms, document.ms[name]) for name, ms in listed.items()]
    found += [
        Check("parts.total", total, parts.total),
        Check("parts.scrap", scrap, parts.scrap),
        Check("parts.rework", rework, parts.rework),
        Check("parts.good", total - scrap - rework, parts.good),
        Check("parts.unknown", sum(each.unseen for each in stretches), parts.unknown),
        Check("parts.quarantined", sum(each.quarantined for each in stretches), parts.quarantined),
        Check("ideal_ms", sum(each.ideal_ms for each in stretches), document.ideal_ms),
        Check("good_ms", sum(each.good_ms for each in stretches) + sum(each.good_ms for each in corrections), document.good_ms),
        Check("assumed_ms", sum(each.assumed_ms for each in stretches), document.assumed_ms),
        Check("unexplained_ms", sum(each.unexplained_ms for each in stretches), document.unexplained_ms),
    ]
    found += [
        Check(f"counter {each.role}", each.usual_parts + sum(step.here for step in each.steps), each.parts) for each in counters
    ]
    return found
