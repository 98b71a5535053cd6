"""Steps of counters that do not count by themselves: what they may stand for, and what people and MES decide (oee.md A7). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace_contract.language.counters import Delta
from millrace_contract.language.entries import StepDecision, StepEntry
from millrace_contract.language.oee_messages import OeeInterval, UncountedStep
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import IntervalKind, Leaf, MachineState, StepEvent, StepVerdict

from .machine import Machine

_EVENTS: Mapping[str | None, StepEvent] = {event.value: event for event in StepEvent}


@dataclass(frozen=True, slots=True)
class QuarantinedStep:
    """Two neighbouring good readings of a counter. `waiting`: the parts that the step may stand for, at least."""

    role: str
    from_ms: int
    to_ms: int
    from_value: int
    to_value: int
    event: StepEvent
    waiting: int
    decision: StepDecision | None = None

    @property
    def parts(self) -> int:
        """How many parts count: none before somebody accepts it."""
        if self.decision is None or self.decision.verdict is StepVerdict.REJECTED:
            return 0
        return self.waiting if self.decision.parts is None else self.decision.parts

    @property
    def undecided(self) -> int:
        return self.waiting if self.decision is None else 0


def step_id(device: str, role: str, from_ms: int, to_ms: int) -> str:
    """Of both readings: a decision holds for the step that somebody saw, and for no other that better knowledge makes of it."""
    return f"{device}/step/{role}/{format_timestamp(from_ms)}/{format_timestamp(to_ms)}"


def decisions(entries: Iterable[StepEntry]) -> dict[str, StepDecision]:
    """What was decided of each step; `entries` in the order in which they were entered."""
    return {entry.values.step: entry.values for entry in entries}


@dataclass(frozen=True, slots=True)
class StepJudge:
    """Knows what was decided of the steps of one counter."""

    device: str
    role: str
    modulus: int | None
    parts_per_count: int
    decided: Mapping[str, StepDecision]

    def step(self, delta: Delta, last: tuple[int, int], now: tuple[int, int]) -> QuarantinedStep | None:
        """The step from one good reading to the next, each (value, ts_ms); None for one that counts by itself."""
        if delta.event not in _EVENTS:
            return None
        (from_value, from_ms), (to_value, to_ms) = last, now
        event, waiting = _EVENTS[delta.event], delta.quarantined
        if event is StepEvent.REJECTED and (self.modulus is None or max(from_value, to_value) < self.modulus):
            waiting = to_value  # the least is what a reset would have left
        decision = self.decided.get(step_id(self.device, self.role, from_ms, to_ms))
        return QuarantinedStep(self.role, from_ms, to_ms, from_value, to_value, event, waiting * self.parts_per_count, decision)


def step_interval(machine: Machine, step: QuarantinedStep) -> OeeInterval:
    """The record of a step, for who decides about it."""
    end = format_timestamp(step.to_ms)
    return OeeInterval(
        id=step_id(machine.id, step.role, step.from_ms, step.to_ms),
        device_id=machine.id,
        line=machine.line,
        kind=IntervalKind.COUNTER_STEP,
        state=MachineState.UNKNOWN,
        leaf=Leaf.UNKNOWN,
        start=format_timestamp(step.from_ms),
        timestamp=end,
        end=end,
        pending=step.decision is None,
        step=UncountedStep(
            counter=machine.all_counters[step.role].signal,
            from_value=step.from_value,
            to_value=step.to_value,
            event=step.event,
            parts=step.waiting,
            verdict=None if step.decision is None else step.decision.verdict,
            counted=step.parts,
            comment=None if step.decision is None else step.decision.comment,
        ),
    )
