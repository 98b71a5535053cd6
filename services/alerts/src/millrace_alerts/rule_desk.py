"""Changes the rules while the service runs: checked as the file is, kept with its event in one transaction, in force after it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import msgspec

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant import AlertRule, PlantModel
from millrace_contract.plant.alert_rules import RULES_FILE, rules_said
from millrace_contract.plant.maintenance import MaintenanceWindow
from millrace_contract.store_forward.sqlite import Connection

from .rule_changes import Said, difference, keep_rules, revision_of, said_by
from .rule_set import RuleEdit, RuleSet, is_said_by_file, rule_set

RULE_EDIT_STEP = ("CREATE TABLE rule_edit (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",)
"""What the rules became through the API."""
MAX_EDITS = 1_000
"""So many rules at most are kept that are not the file's."""

_edit = msgspec.json.Decoder(RuleEdit)


@dataclass(frozen=True, slots=True)
class RuleCommand:
    """`said`: what the rule is to say, None to take back what the API said. `seen`: the revision that the person saw,
    None where they saw no such rule. `answer` gets the rules in force afterwards, or RuleRefused.
    """

    rule: str
    said: Mapping[str, Any] | None
    seen: str | None
    actor: str
    comment: str | None
    via: str
    answer: Future[RuleSet] = field(default_factory=Future)


class RuleRefused(Exception):
    """`slug` as in the API's problems; `errors`: each mistake, by its key in alerts.yaml."""

    def __init__(self, slug: str, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.slug = slug
        self.errors = errors


@dataclass(frozen=True, slots=True)
class RuleChange:
    """`difference`: key by key; empty where a repeat changes nothing. `is_gone`: no rule has this name any more."""

    rules: RuleSet
    difference: str
    is_gone: bool = False


class RulesInForce:
    """Replaced as a whole after a commit, so that any thread may read it."""

    def __init__(self, now: RuleSet) -> None:
        self.now = now


class RuleDesk:
    """For the worker's thread, inside its transaction. `rules`: with what was taken; `shown`: what is committed of it."""

    def __init__(
        self,
        plant: PlantModel,
        file: Mapping[str, AlertRule],
        connection: Connection,
        windows: Mapping[str, MaintenanceWindow] | None = None,
    ) -> None:
        self._plant = plant
        self._windows = windows
        self._file = file
        self._connection = connection
        self.rules = self._stored()
        self.shown = RulesInForce(self.rules)

    def start_over(self) -> None:
        """What was taken was not committed."""
        self.rules = self._stored()

    def committed(self) -> None:
        self.shown.now = self.rules

    def drop_what_the_file_says(self) -> None:
        """At a start: what was written into the file since is an edit no more."""
        for edit in self.rules.edits.values():
            if is_said_by_file(edit, self._file):
                self._connection.execute("DELETE FROM rule_edit WHERE id = ?", (edit.rule,))
        self.rules = self.shown.now = self._stored()

    def take(self, command: RuleCommand, now_ms: int) -> RuleChange:
        """Raises RuleRefused, and keeps nothing then."""
        before = self.rules
        known = before.rules.get(command.rule)
        _check_seen(command, None if known is None else revision_of(known))
        if command.said is None:
            self._take_back(command.rule)
        else:
            self._lay_over(command, command.said, now_ms)
        after = self.rules = self._stored()
        was = {} if known is None else said_by(known)
        present = after.rules.get(command.rule)
        keep_rules(self._connection, {name: said_by(rule) for name, rule in after.rules.items()})
        return RuleChange(after, difference(was, {} if present is None else said_by(present)), is_gone=present is None)

    def _stored(self) -> RuleSet:
        rows = self._connection.execute("SELECT body FROM rule_edit ORDER BY id").fetchall()
        return rule_set(self._plant, self._file, (_edit.decode(body) for (body,) in rows), self._windows)

    def _lay_over(self, command: RuleCommand, said: Mapping[str, Any], now_ms: int) -> None:
        before, name = self.rules, command.rule
        if name not in before.edits and len(before.edits) >= MAX_EDITS:
            raise RuleRefused(
                "illegal-transition", f"{MAX_EDITS} rules were changed over the API already; write them into {RULES_FILE}"
            )
        rule = _checked(before, name, said, self._plant)
        over = revision_of(self._file[name]) if name in self._file else ""
        edit = RuleEdit(name, said_by(rule), over, command.actor, command.via, now_ms)
        if is_said_by_file(edit, self._file):
            self._connection.execute("DELETE FROM rule_edit WHERE id = ?", (name,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO rule_edit VALUES (?, ?)", (name, msgspec.json.encode(edit)))

    def _take_back(self, name: str) -> None:
        is_kept = self._connection.execute("SELECT count(*) FROM rule_edit WHERE id = ?", (name,)).fetchone()[0]
        if not is_kept and name not in self._file:
            raise RuleRefused("not-found", f"there is no rule {name}")
        if not is_kept:
            way = f"take it out of {RULES_FILE}, or PUT it with enabled: false"
            raise RuleRefused(
                "illegal-transition", f"rule {name} is that of {RULES_FILE}, and nothing was changed over the API: {way}"
            )
        rest = {each: said_by(rule) for each, rule in self.rules.rules.items() if each != name}
        if name in self._file:
            rest[name] = said_by(self._file[name])
        _in_words(rest, self._plant)
        self._connection.execute("DELETE FROM rule_edit WHERE id = ?", (name,))


def _check_seen(command: RuleCommand, present: str | None) -> None:
    if command.seen == present:
        return
    if present is None and command.said is None:
        return  # A repeat of taking it back, or an edit that is not in force: judged there.
    if command.seen is None:
        raise RuleRefused("version-needed", f"rule {command.rule} exists: send the header If-Match with the ETag that you saw")
    now = "there is no such rule now" if present is None else f"its revision is {present} now"
    raise RuleRefused("stale-version", f"rule {command.rule} has changed: {now}, the request is about {command.seen}")


def _checked(before: RuleSet, name: str, said: Mapping[str, Any], plant: PlantModel) -> AlertRule:
    others: dict[str, Said] = {each: said_by(rule) for each, rule in before.rules.items()}
    return _in_words({**others, name: dict(said)}, plant)[name]


def _in_words(rules: Mapping[str, Any], plant: PlantModel) -> dict[str, AlertRule]:
    try:
        return rules_said(rules, plant)
    except ConfigurationProblems as refused:
        errors = tuple((problem.key, problem.message) for problem in refused.problems)
        raise RuleRefused("invalid", "; ".join(f"{key}: {message}" for key, message in errors), errors) from refused
