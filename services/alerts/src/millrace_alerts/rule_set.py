"""The rules in force: those of alerts.yaml, and over them what was changed through the API. Pure.

A change through the API is an *edit*: it lies over the file's rule of its name, or stands beside them. Neither wins in silence:
an edit stays in force until somebody takes it back or the file says the same. Where the file has moved since, that is a problem of
the status (decision 0028).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import RuleOrigin
from millrace_contract.plant import AlertRule, PlantModel
from millrace_contract.plant.alert_rules import RULES_FILE, rules_said
from millrace_contract.plant.maintenance import MaintenanceWindow

from .rule_changes import Said, revision_of, said_by
from .rules import Watched, watched_rules

NAMED = 5
"""So many of the file's words about a rule a problem repeats."""


class RuleEdit(msgspec.Struct, frozen=True):
    """What somebody made of a rule through the API. `over`: the revision of the file's rule under it, or empty."""

    rule: str
    said: Said
    over: str
    actor: str
    via: str
    at_ms: int


@dataclass(frozen=True)
class RuleSet:
    """`rules`: in force, by id. `file`: those of alerts.yaml. `edits`: in force. `problems`: where these contradict."""

    rules: Mapping[str, AlertRule] = field(default_factory=dict)
    watched: dict[str, Watched] = field(default_factory=dict)
    file: Mapping[str, AlertRule] = field(default_factory=dict)
    edits: Mapping[str, RuleEdit] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def origin(self, rule: str) -> RuleOrigin:
        return RuleOrigin.API if rule in self.edits else RuleOrigin.FILE

    @property
    def notes(self) -> list[str]:
        """What differs from the file, for the status."""
        if not self.edits:
            return []
        said = ", ".join(f"{edit.rule} ({edit.actor}, {format_timestamp(edit.at_ms)})" for edit in self.edits.values())
        return [f"rules changed over the API, beyond {RULES_FILE}: {said}"]


def rule_set(
    plant: PlantModel,
    file: Mapping[str, AlertRule],
    edits: Iterable[RuleEdit] = (),
    windows: Mapping[str, MaintenanceWindow] | None = None,
) -> RuleSet:
    """An edit that this plant or the other rules refuse is not in force, and is a problem."""
    kept = {edit.rule: edit for edit in edits}
    problems: list[str] = []
    rules = file
    if kept:
        base = {name: said_by(rule) for name, rule in file.items()}
        try:
            rules = rules_said({**base, **{name: edit.said for name, edit in kept.items()}}, plant)
        except ConfigurationProblems:
            kept, problems = _those_that_fit(base, kept, plant)
            rules = rules_said({**base, **{name: edit.said for name, edit in kept.items()}}, plant) if kept else file
    problems += [problem for edit in kept.values() if (problem := contradiction(edit, file)) is not None]
    return RuleSet(rules, watched_rules(plant, dict(rules), windows), file, kept, tuple(problems))


def contradiction(edit: RuleEdit, file: Mapping[str, AlertRule]) -> str | None:
    """In words, where the file has come to say something else than what the edit was laid over."""
    present = revision_of(file[edit.rule]) if edit.rule in file else ""
    if present == edit.over:
        return None
    if not present:
        moved = f"it was taken out of {RULES_FILE} since"
    elif not edit.over:
        moved = f"{RULES_FILE} has a rule of this name since"
    else:
        moved = f"{RULES_FILE} says something else since"
    return (
        f"rule {edit.rule} was changed over the API by {edit.actor} at {format_timestamp(edit.at_ms)}, and {moved}: "
        f"what the API said is in force. Take it back with DELETE /v1/rules/{edit.rule}, or write it into {RULES_FILE}"
    )


def is_said_by_file(edit: RuleEdit, file: Mapping[str, AlertRule]) -> bool:
    """The file says what the edit says: nothing is left of the edit."""
    return edit.rule in file and said_by(file[edit.rule]) == edit.said


def _those_that_fit(
    base: Mapping[str, Said], edits: Mapping[str, RuleEdit], plant: PlantModel
) -> tuple[dict[str, RuleEdit], list[str]]:
    fit: dict[str, RuleEdit] = {}
    problems: list[str] = []
    for name, edit in edits.items():
        try:
            rules_said({**base, **{each: kept.said for each, kept in fit.items()}, name: edit.said}, plant)
        except ConfigurationProblems as refused:
            words = "; ".join(f"{problem.key}: {problem.message}" for problem in refused.problems[:NAMED])
            instead = f"the rule of {RULES_FILE} is" if name in base else "no rule of this name is"
            problems.append(
                f"rule {name}, changed over the API by {edit.actor} at {format_timestamp(edit.at_ms)}, is refused now ({words}): "
                f"{instead} in force. Send it anew to /v1/rules/{name}, or take it back with DELETE"
            )
        else:
            fit[name] = edit
    return fit, problems
