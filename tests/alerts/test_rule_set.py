"""What the API made of rules lies over alerts.yaml, and neither contradicts the other in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace_alerts.rule_changes import revision_of, said_by
from millrace_alerts.rule_desk import RuleCommand, RuleDesk, RuleRefused
from millrace_alerts.service import Configuration, load_configuration
from millrace_alerts.store import Store
from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.words import RuleOrigin
from millrace_contract.plant.alert_rules import rules_said

from .plantfiles import RULES, START_MS, write_plant

OIL: dict[str, Any] = {
    "title": "Oil too hot",
    "class": "maintenance",
    "where": {"lines": ["line1"]},
    "condition": {"kind": "threshold", "signal": "temperature", "above": 65.0},
}


class Desk:
    """The desk over a store on disk; `again` is a restart, with another alerts.yaml where one is given."""

    def __init__(self, folder: Path, rules: str = RULES) -> None:
        self._folder = folder
        self._store: Store | None = None
        self.again(rules)

    def again(self, rules: str | None = None) -> None:
        self.close()
        if rules is not None:
            write_plant(self._folder / "config", rules)
        self.configuration: Configuration = load_configuration(self._folder / "config")
        self._store = store = Store(self._folder / "alerts.db", START_MS)
        self.desk = RuleDesk(self.configuration.plant, self.configuration.rules, store.connection)
        with store.transaction():
            self.desk.drop_what_the_file_says()

    def put(self, rule: str, said: dict[str, Any] | None, seen: str | None = None) -> str:
        assert self._store is not None
        with self._store.transaction():
            change = self.desk.take(RuleCommand(rule, said, seen, "anna", None, "engineering"), START_MS)
        return change.difference

    def revision(self, rule: str) -> str:
        return revision_of(self.desk.rules.rules[rule])

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    made = Desk(tmp_path)
    yield made
    made.close()


def hot(**changed: Any) -> dict[str, Any]:
    """The file's rule `hot`, with other words."""
    return {
        "title": "Too hot", "priority": "high", "where": {"lines": ["line1"]},
        "condition": {"kind": "threshold", "signal": "temperature", "above": 85.0, "deadband": 3.0},
        "consequence": "it breaks", "cause": "no coolant", "action": "stop it", "response_s": 300.0, **changed,
    }  # fmt: skip


def test_every_rule_that_a_file_can_say_comes_back_the_same_from_json(desk: Desk) -> None:
    file = desk.configuration.rules
    assert rules_said({name: said_by(rule) for name, rule in file.items()}, desk.configuration.plant) == file
    assert said_by(file["hot"]) == hot()


def test_a_new_rule_is_in_force_and_stays_over_a_restart(desk: Desk) -> None:
    assert 'title: left out -> "Oil too hot"' in desk.put("oil", OIL)
    assert {"oil.CNC-01", "oil.CNC-02"} <= set(desk.desk.rules.watched)
    desk.again()
    assert desk.desk.rules.origin("oil") is RuleOrigin.API
    assert said_by(desk.desk.rules.rules["oil"]) == OIL
    assert not desk.desk.rules.problems
    assert "oil (anna, 2025-10-09T08:53:20.000Z)" in desk.desk.rules.notes[0]


def test_an_edit_lies_over_the_file_and_taking_it_back_shows_the_file_again(desk: Desk) -> None:
    seen = desk.revision("hot")
    assert desk.put("hot", hot(on_delay_s=5), seen) == "on_delay_s: left out -> 5.0"
    assert desk.desk.rules.origin("hot") is RuleOrigin.API
    assert desk.put("hot", None, desk.revision("hot")) == "on_delay_s: 5.0 -> left out"
    assert desk.desk.rules.origin("hot") is RuleOrigin.FILE
    assert desk.revision("hot") == seen


def test_a_repeat_changes_nothing_and_what_the_file_says_is_no_edit(desk: Desk) -> None:
    assert desk.put("hot", hot(), desk.revision("hot")) == ""
    assert not desk.desk.rules.edits
    desk.put("oil", OIL)
    assert desk.put("oil", OIL, desk.revision("oil")) == ""


def test_the_file_that_comes_to_say_the_same_ends_the_edit(desk: Desk) -> None:
    desk.put("hot", hot(on_delay_s=5), desk.revision("hot"))
    desk.again(RULES.replace("    response_s: 300\n", "    response_s: 300\n    on_delay_s: 5\n"))
    assert desk.desk.rules.origin("hot") is RuleOrigin.FILE
    assert not desk.desk.rules.problems
    desk.again(RULES)
    assert said_by(desk.desk.rules.rules["hot"]) == hot(), "nothing of the edit is left"


@pytest.mark.parametrize(
    ("edit", "file", "said"),
    [
        (("hot", hot(on_delay_s=5)), RULES.replace("above: 85", "above: 70"), "alerts.yaml says something else since"),
        (("hot", hot(on_delay_s=5)), RULES.replace("  hot:", "  warm:"), "it was taken out of alerts.yaml since"),
        (("late", OIL), RULES.replace("  hot:", "  late:"), "alerts.yaml has a rule of this name since"),
    ],
)
def test_a_file_that_moved_under_an_edit_is_a_problem_and_the_edit_stays_in_force(
    desk: Desk, edit: tuple[str, dict[str, Any]], file: str, said: str
) -> None:
    name, words = edit
    desk.put(name, words, desk.revision(name) if name in desk.desk.rules.rules else None)
    in_force = desk.revision(name)
    desk.again(file)
    assert desk.revision(name) == in_force
    [problem] = desk.desk.rules.problems
    assert said in problem
    assert f"DELETE /v1/rules/{name}" in problem


def test_an_edit_that_the_plant_refuses_now_is_not_in_force_and_says_why(desk: Desk) -> None:
    desk.put("packing", {**OIL, "where": {"lines": ["line2"]}})
    desk.put("oil", OIL)
    plant = desk._folder / "config" / "plant.yaml"
    plant.write_text(plant.read_text().replace("line2", "line3"))
    desk.again()
    assert "packing" not in desk.desk.rules.rules
    assert "oil" in desk.desk.rules.rules
    [problem] = desk.desk.rules.problems
    assert "rules.packing.where.lines: no line 'line2' (did you mean line3?) in the plant model" in problem
    assert "no rule of this name is in force" in problem


@pytest.mark.parametrize(
    ("rule", "said", "seen", "slug"),
    [
        ("hot", hot(), None, "version-needed"),
        ("hot", hot(), "0" * 12, "stale-version"),
        ("nothing", OIL, "0" * 12, "stale-version"),
        ("hot", None, None, "version-needed"),
        ("nothing", None, None, "not-found"),
    ],
)
def test_who_did_not_see_the_rule_changes_nothing(
    desk: Desk, rule: str, said: dict[str, Any] | None, seen: str | None, slug: str
) -> None:
    with pytest.raises(RuleRefused) as refused:
        desk.put(rule, said, seen)
    assert refused.value.slug == slug
    assert not desk.desk.rules.edits


def test_a_rule_of_the_file_cannot_be_deleted_and_the_answer_says_what_can(desk: Desk) -> None:
    with pytest.raises(RuleRefused, match=r"PUT it with enabled: false") as refused:
        desk.put("hot", None, desk.revision("hot"))
    assert refused.value.slug == "illegal-transition"
    desk.put("hot", hot(enabled=False), desk.revision("hot"))
    assert "hot.CNC-01" not in desk.desk.rules.watched


WRONG = [
    {"title": ""},
    {"class": "alarm"},
    {"condition": {"kind": "threshold", "signal": "temperature", "above": 85.0, "below": 3.0}},
    {"condition": {"kind": "threshold", "signal": "temperatur", "above": 85.0}},
    {"condition": {"kind": "threshold", "signal": "program", "above": 85.0}},
    {"condition": {"kind": "thresh", "signal": "temperature", "above": 85.0}},
    {"where": {"lines": ["line9"]}},
    {"where": {"line": ["line1"]}},
    {"on_delay_s": -1},
    {"on_delay_s": 1e300},
    {"colour": "red"},
    {"while": {"signal": "temperature"}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda each: str(each)[:40])
def test_what_the_file_may_not_say_is_refused_in_the_same_words(desk: Desk, wrong: dict[str, Any]) -> None:
    said = {**OIL, **wrong}
    with pytest.raises(RuleRefused) as refused:
        desk.put("oil", said)
    folder = write_plant(desk._folder / "wrong", f"rules: {{oil: {_yaml(said)}}}\n")
    with pytest.raises(ConfigurationProblems) as of_file:
        load_configuration(folder)
    assert list(refused.value.errors) == [(problem.key, problem.message) for problem in of_file.value.problems]
    assert not desk.desk.rules.edits


def test_a_name_that_no_topic_can_have_is_refused(desk: Desk) -> None:
    for name in ("a.b", "a/b", "millrace-mine", "+", ""):
        with pytest.raises(RuleRefused) as refused:
            desk.put(name, OIL)
        assert refused.value.slug == "invalid", name


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
