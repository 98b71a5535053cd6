"""alerts.yaml: alert rules - what is watched, when it becomes an alert, and what a person then does (alerts.md B3, B4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ..errors import ConfigurationProblems
from ..language.assets import segment_problem
from ..language.words import AlertClass, Priority
from .conditions import Combination, Condition, EnergyPerPart, OwnData, Siblings, Threshold
from .conditions.of_number import Keys, keys_of
from .document import Document, Strict, document_of, nearest, read_document
from .gate import Gate
from .model import Device, PlantModel
from .suppression import SuppressedBy, suppression_problems
from .versions import version_of
from .where import Where

RULES_FILE = "alerts.yaml"
BUILT_IN = "millrace-"
"""How the names of the rules begin that every plant has: no rule of a file may."""


def _one_line(title: str) -> str:
    if not title.strip():
        raise ValueError("is empty: it is what people read first")
    if not title.isprintable():
        raise ValueError("must be one line of characters that can be seen")
    return title


class AlertRule(Strict):
    """One rule. Class alarm means that an operator must act, so it says why, how and how soon.

    group: among the alerts of a line that have the same, the first is flagged, and the others name it. `neighbours`: among those of
    one device, or of devices that stand together (on one shaft, say), each list by itself; a device in no list stands alone.
    blind_after_s: a rule of class alarm that cannot be evaluated for so long is an alert itself.
    re_alarm_s: so long after it was acknowledged an alert that is still in alarm is announced again.
    """

    id: str
    title: Annotated[str, AfterValidator(_one_line)] = Field(min_length=1, max_length=100)
    alert_class: AlertClass = Field(default=AlertClass.ALARM, alias="class")
    priority: Priority = Priority.MEDIUM
    where: Where = Where()
    condition: Condition
    gate: Gate | None = Field(default=None, alias="while")
    on_delay_s: float = Field(default=0, ge=0, le=86_400)
    off_delay_s: float = Field(default=0, ge=0, le=86_400)
    latching: bool = False
    enabled: bool = True
    group: str = Field(default="", max_length=63)
    neighbours: Literal["line", "device"] | tuple[tuple[str, ...], ...] = "line"
    blind_after_s: float = Field(default=60, gt=0, le=86_400)
    re_alarm_s: float | None = Field(default=None, ge=60, le=604_800)
    suppressed_by: SuppressedBy | None = None
    consequence: str = ""
    cause: str = ""
    action: str = ""
    response_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _rationalised(self) -> AlertRule:
        missing = [key for key in ("consequence", "cause", "action", "response_s") if not getattr(self, key)]
        if self.alert_class is AlertClass.ALARM and missing:
            raise ValueError(
                f"an alarm is for an operator who must act: add {', '.join(missing)}, or use class maintenance or system"
            )
        return self

    @model_validator(mode="after")
    def _neighbours_of_a_group(self) -> AlertRule:
        if self.neighbours != "line" and not self.group:
            raise ValueError("neighbours says whose alerts of the same group may have one cause: add the key group")
        return self

    def neighbours_of(self, line: str, device: str) -> str:
        """A name for whose alerts of the group may have one cause with those of this device."""
        if self.neighbours == "line":
            return line
        together = next((each for each in self.neighbours if self.neighbours != "device" and device in each), (device,))
        return "+".join(sorted(together))

    @property
    def is_of_platform(self) -> bool:
        """About what the platform says of itself: it watches no device, and raises one alert."""
        return isinstance(self.condition, OwnData)

    def devices(self, plant: PlantModel) -> list[Device]:
        """The devices that the rule watches, in the order of the plant."""
        if self.is_of_platform:
            return []
        return self.where.matches(plant)


class _RulesFile(Strict):
    rules: dict[str, AlertRule] = {}

    @model_validator(mode="before")
    @classmethod
    def _name_rules(cls, data: Any) -> Any:
        rules = data.get("rules") if isinstance(data, dict) else None
        if not isinstance(rules, dict):
            return data
        return {**data, "rules": {k: {**r, "id": str(k)} if isinstance(r, dict) else r for k, r in rules.items()}}


def rules_version(rules: Mapping[str, AlertRule]) -> str:
    return version_of({name: rule.model_dump(mode="json") for name, rule in rules.items()})


def load_alert_rules(folder: Path, plant: PlantModel | None) -> dict[str, AlertRule]:
    """Rules by id. Raises ConfigurationProblems with every problem of alerts.yaml; without a plant, of what it says by itself."""
    return _checked(read_document(folder / RULES_FILE, RULES_FILE), plant)


def rules_said(said: Mapping[str, Any], plant: PlantModel) -> dict[str, AlertRule]:
    """As `load_alert_rules`, of rules that came otherwise (JSON, by id): refused in the same words."""
    return _checked(document_of({"rules": dict(said)}, RULES_FILE), plant)


def _checked(document: Document, plant: PlantModel | None) -> dict[str, AlertRule]:
    rules = document.validate(_RulesFile)
    for rule in rules.rules.values() if rules is not None else ():
        if problem := segment_problem(rule.id):
            document.problem(("rules", rule.id), f"{rule.id!r} {problem}")
        if rule.id.startswith(BUILT_IN):
            document.problem(("rules", rule.id), f"names that begin with {BUILT_IN} are those of built-in rules; choose another")
        if plant is not None:
            _check(rule, plant, document)
    named = {} if rules is None else {name: rule.suppressed_by for name, rule in rules.rules.items()}
    for name, message in suppression_problems(named):
        document.problem(("rules", name, "suppressed_by"), message)
    for rule, other in _unlike_in_group(rules.rules.values() if rules is not None else ()):
        problem = f"is not what rule {other.id} of the same group {rule.group} says; neighbours are of the whole group"
        document.problem(("rules", rule.id, "neighbours"), problem)
    if document.problems or rules is None:
        raise ConfigurationProblems(document.problems)
    return rules.rules


def _unlike_in_group(rules: Iterable[AlertRule]) -> Iterator[tuple[AlertRule, AlertRule]]:
    """Rules with other neighbours than the first of their group."""
    first: dict[str, AlertRule] = {}
    for rule in rules:
        other = first.setdefault(rule.group, rule)
        if rule.group and rule.neighbours != other.neighbours:
            yield rule, other


def _check(rule: AlertRule, plant: PlantModel, document: Document) -> None:
    """What the rule says of the plant. One for profiles or asset classes of which there is no device yet waits for it."""
    path, where = ("rules", rule.id), rule.where
    if rule.is_of_platform:
        if where != Where():
            document.problem((*path, "where"), "chooses devices; a rule about the platform's own data is about none: leave it out")
        if rule.gate is not None:
            document.problem((*path, "while"), "is about a signal; a rule about the platform's own data has none: leave it out")
        return
    for below, message in where.problems(plant):
        document.problem((*path, "where", *below), message)
    for message in _problems_of_neighbours(rule, plant):
        document.problem((*path, "neighbours"), message)
    devices = rule.devices(plant)
    watched = {device.profile for device in devices} or {name for name in where.profiles if name in plant.profiles}
    for name in sorted(watched):
        for keys, message in rule.condition.problems(plant.profiles[name]):
            document.problem((*path, "condition", *keys_of(keys)), message)
        for key, message in rule.gate.problems(plant.profiles[name]) if rule.gate is not None else ():
            document.problem((*path, "while", key), message)
    for keys, message in dict.fromkeys(_problems_between(rule, devices, plant)):
        document.problem((*path, "condition", *keys), message)


def _problems_of_neighbours(rule: AlertRule, plant: PlantModel) -> Iterator[str]:
    named = [name for together in rule.neighbours for name in together] if isinstance(rule.neighbours, tuple) else []
    for name in dict.fromkeys(named):
        if name not in plant.devices:
            yield f"no device {name!r}{nearest(name, plant.devices)} in the plant model"
        elif named.count(name) > 1:
            yield f"{name} stands in two places; a device has one set of neighbours"


def _problems_between(rule: AlertRule, devices: list[Device], plant: PlantModel) -> Iterator[tuple[Keys, str]]:
    """What is wrong with a condition that looks at other devices than its own, as (keys, what it is)."""
    if isinstance(rule.condition, Threshold):
        yield from rule.condition.unknown_devices(plant)
    if isinstance(rule.condition, Siblings):
        yield from (((key,), message) for key, message in rule.condition.too_few(len(devices)))
    if isinstance(rule.condition, Combination | EnergyPerPart):
        for line in {device.line: None for device in devices}:
            yield from rule.condition.problems_of_others(plant, line)
