"""An explanation as other services and programs read it: the contract's records, each with its words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo

from millrace_contract.language.explanations import (
    Explained,
    ExplainedCounter,
    ExplainedEntry,
    ExplainedFigure,
    ExplainedMachine,
    ExplainedPiece,
    ExplainedRevision,
    ExplainedSettings,
    ExplainedStep,
)
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import ALL_TIME

from .explain_line import LineExplanation, line_in_words, machine_in_words
from .explain_words import effect_in_words, in_words, settings_in_words, step_in_words, stretch_in_words
from .explained import Check, CounterStep, CounterSteps, Effect, ExplainedTime, Explanation
from .machine import Machine
from .revised import Revised
from .revised_words import entries_in_words, told_of_revision


def told_of_machine(explanation: Explanation, zone: tzinfo, revised: Revised | None = None) -> Explained:
    """`revised`: what changed since some revision, if that was asked for."""
    told = None if revised is None else told_of_revision(revised, entries_in_words(explanation, zone), zone)
    return Explained(
        words=[*in_words(explanation, zone), *_said(told)],
        revised=told,
        adds_up=explanation.adds_up,
        figures=_figures(explanation.checks),
        pieces=[_piece(each, explanation, zone) for each in explanation.stretches],
        counters=[_counter(each, zone) for each in explanation.counters],
        entries=[_entry(each, zone) for each in (*explanation.reasons, *explanation.corrections)],
        settings=[_settings(*rule) for rule in explanation.rules],
    )


def told_of_line(explanation: LineExplanation, zone: tzinfo, revised: Revised | None = None) -> Explained:
    """Its rule and its machines; what each of these consists of is asked for by its own name."""
    entries = {entry: words for each in explanation.machines.values() for entry, words in entries_in_words(each, zone).items()}
    told = None if revised is None else told_of_revision(revised, entries, zone)
    return Explained(
        words=[*line_in_words(explanation, zone), *_said(told)],
        revised=told,
        adds_up=explanation.adds_up,
        figures=_figures(explanation.checks),
        machines=list(_machines(explanation)),
    )


def _said(told: ExplainedRevision | None) -> list[str]:
    return [] if told is None else ["", *told.words]


def _figures(checks: Iterable[Check]) -> list[ExplainedFigure]:
    return [ExplainedFigure(name=each.name, listed=each.listed, told=each.told) for each in checks]


def _piece(each: ExplainedTime, explanation: Explanation, zone: tzinfo) -> ExplainedPiece:
    reason = each.reason if each.is_stop else None
    return ExplainedPiece(
        start=format_timestamp(each.start_ms),
        end=format_timestamp(each.end_ms),
        words=stretch_in_words(each, explanation, zone),
        leaf=each.leaf,
        ms={leaf.value: ms for leaf, ms in each.ms.items()},
        state=each.state,
        code=each.code or None,
        why_unknown=each.why_unknown,
        reason=None if reason is None else reason.reason,
        reason_by=None if reason is None else reason.by,
        attributed_to=None if reason is None else reason.attributed_to,
        stop_ms=each.stop_ms,
        order=None if each.order is None else each.order.order,
        total=each.total,
        scrap=each.scrap,
        unknown=each.unseen,
        quarantined=each.quarantined,
        ideal_ms=each.ideal_ms,
        good_ms=each.good_ms,
        assumed_ms=each.assumed_ms,
        unexplained_ms=each.unexplained_ms,
        lost_parts=each.lost_parts,
    )


def _counter(counter: CounterSteps, zone: tzinfo) -> ExplainedCounter:
    steps = [_step(each, zone) for each in counter.steps]
    return ExplainedCounter(
        role=counter.role,
        signal=counter.signal,
        usual_steps=counter.usual,
        usual_parts=counter.usual_parts,
        parts=counter.parts,
        steps=steps,
    )


def _step(step: CounterStep, zone: tzinfo) -> ExplainedStep:
    waits = step.quarantined is not None and step.decided is None
    return ExplainedStep(
        start=format_timestamp(step.from_ms),
        end=format_timestamp(step.to_ms),
        words=step_in_words(step, zone),
        from_value=step.from_value,
        to_value=step.to_value,
        parts=step.parts,
        here=step.here,
        waiting=step.quarantined.waiting if waits and step.quarantined is not None else 0,
        events=list(step.events),
    )


def _entry(effect: Effect, zone: tzinfo) -> ExplainedEntry:
    entry = effect.entry
    return ExplainedEntry(
        id=entry.id,
        version=entry.version,
        kind=str(entry.__struct_config__.tag),
        words=effect_in_words(effect, zone),
        entered=entry.timestamp,
        actor=entry.actor,
        moved_ms={leaf.value: ms for leaf, ms in effect.moved_ms.items()},
        scrap=effect.scrap,
        rework=effect.rework,
        good_ms=effect.good_ms,
        explained_ms=effect.explained_ms,
        oee_before=effect.before,
        oee_after=effect.after,
    )


def _settings(start_ms: int, end_ms: int, machine: Machine) -> ExplainedSettings:
    return ExplainedSettings(
        start=format_timestamp(start_ms),
        end=format_timestamp(end_ms),
        words=settings_in_words(machine),
        micro_stop_s=machine.micro_ms / 1000,
        hold_s=machine.stale_ms / 1000,
        unknown_policy=machine.unknown,
        ideal_cycle_s=None if machine.ideal_ns is None else machine.ideal_ns / 1_000_000_000,
    )


def _machines(explanation: LineExplanation) -> Iterator[ExplainedMachine]:
    for machine in explanation.line.machines:
        words, found = machine_in_words(explanation, machine.id), explanation.machines.get(machine.id)
        if found is None:
            yield ExplainedMachine(device=machine.id, words=words, heard=False)
        else:
            made = found.document.parts
            yield ExplainedMachine(
                device=machine.id, words=words, heard=True, all_ms=found.document.ms[ALL_TIME],
                total=made.total, good=made.good, scrap=made.scrap,
            )  # fmt: skip
