"""What a rule says, kept from start to start, so that a change of it is an event with what was and what is. Pure but for SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from millrace_contract.plant import AlertRule
from millrace_contract.plant.versions import version_of
from millrace_contract.store_forward.sqlite import Connection

RULE_STEP = ("CREATE TABLE rule (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",)
"""What each rule said at the last start."""
MAX_TEXT = 1_000
"""Characters of a difference in an event."""

Said = dict[str, Any]


def said_by(rule: AlertRule) -> Said:
    """The keys of the rule that are not left to their default, by the names of the file: a newer program's keys change nothing."""
    said: Said = rule.model_dump(mode="json", by_alias=True, exclude={"id"}, exclude_defaults=True)
    return said


def revision_of(rule: AlertRule) -> str:
    """Changes with whatever the rule says."""
    return version_of(said_by(rule))


def difference(before: Said, now: Said) -> str:
    """In words, key by key as the file spells them; empty where nothing changed."""
    return "; ".join(f"{key}: {_shown(was)} -> {_shown(present)}" for key, was, present in _changes(before, now, ""))[:MAX_TEXT]


def load_rules(connection: Connection) -> dict[str, Said]:
    """By the id of the rule; empty at the very first start."""
    return {name: msgspec.json.decode(body) for name, body in connection.execute("SELECT id, body FROM rule").fetchall()}


def keep_rules(connection: Connection, rules: Mapping[str, Said]) -> None:
    """From now on these are what was said."""
    connection.execute("DELETE FROM rule")
    connection.executemany("INSERT INTO rule VALUES (?, ?)", [(name, msgspec.json.encode(said)) for name, said in rules.items()])


def _changes(before: Said, now: Said, path: str) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*before, *now]):
        was, present = before.get(key), now.get(key)
        if isinstance(was, dict) and isinstance(present, dict):
            yield from _changes(was, present, f"{path}{key}.")
        elif was != present:
            yield f"{path}{key}", was, present


def _shown(value: Any) -> str:
    return "left out" if value is None else msgspec.json.encode(value).decode()
