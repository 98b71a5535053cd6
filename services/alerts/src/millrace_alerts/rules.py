"""The rules of the plant, resolved: one watched condition for each (rule, device)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from millrace_contract.language.words import AlertClass, AlertLevel, Priority
from millrace_contract.plant import AlertRule, Levels, OwnData, PlantModel
from millrace_contract.plant.maintenance import MaintenanceWindow
from millrace_contract.plant.suppression import SuppressedBy

from .alert import Alert, Description, alert_id
from .builtin import built_in_rules
from .changes import Terms
from .conditions import (
    Approach,
    Away,
    Condition,
    Consumption,
    InZone,
    Limit,
    LowFigure,
    OddOneOut,
    RuleSite,
    SelfReport,
    Stages,
    TooFewParts,
    condition_of,
)
from .gates import GateTest
from .rule_changes import revision_of

_LIMITED = (Limit, Approach, Away, OddOneOut, Consumption, LowFigure, TooFewParts, SelfReport)


@dataclass(frozen=True, slots=True)
class Watched:
    """One rule for one device; line and device are empty where it is about the platform itself."""

    alert_id: str
    rule: str
    line: str
    device_id: str
    condition: Condition
    terms: Terms
    description: Description
    blind_after_ms: int = 60_000
    gate: GateTest | None = None
    re_alarm_ms: int | None = None
    suppressed_by: SuppressedBy | None = None
    neighbours: str = ""
    """Whose alerts of the same group may have one cause: a line, a device, or several devices that the rule names."""

    @property
    def group(self) -> str:
        return self.description.group or ""

    def rank(self, alert: Alert) -> tuple[Priority, AlertClass]:
        """What decides, beside its state, where the alert stands in a list."""
        about = self.description.of(alert)
        return about.priority, about.alert_class


def watched_rules(
    plant: PlantModel, rules: dict[str, AlertRule], windows: Mapping[str, MaintenanceWindow] | None = None
) -> dict[str, Watched]:
    """Every (rule, device) that is watched, by alert id. `windows` of maintenance have built-in rules of their own."""
    rules = {name: rule for name, rule in rules.items() if rule.enabled}
    of_devices = (each for rule in rules.values() for each in _of_devices(plant, rule))
    of_platform = (
        _watched(rule, SelfReport.of(rule.condition), "", "") for rule in rules.values() if isinstance(rule.condition, OwnData)
    )
    # What a built-in rule is told is about it, whatever the words are.
    built_in = (
        _watched(rule, replace(SelfReport.of(rule.condition), problem=""), "", "")
        for rule in built_in_rules(plant, rules.values(), windows)
        if isinstance(rule.condition, OwnData)
    )
    return {each.alert_id: each for each in (*of_devices, *of_platform, *built_in)}


def _of_devices(plant: PlantModel, rule: AlertRule) -> Iterator[Watched]:
    devices = rule.devices(plant)
    for device in devices:
        site = RuleSite(plant, device, tuple(each for each in devices if each is not device))
        gate = None if rule.gate is None else GateTest.of(rule.gate, site.profile)
        yield _watched(rule, condition_of(rule.condition, site), device.line, device.id, gate)


def _watched(rule: AlertRule, condition: Condition, line: str, device: str, gate: GateTest | None = None) -> Watched:
    return Watched(
        alert_id=alert_id(rule.id, device),
        rule=rule.id,
        line=line,
        device_id=device,
        condition=condition,
        terms=Terms(
            condition.delays(_ms(rule.on_delay_s), _ms(rule.off_delay_s)),
            rule.latching,
            condition.worse,
            rule.alert_class is AlertClass.SYSTEM,
        ),
        description=Description(
            title=rule.title,
            alert_class=rule.alert_class,
            priority=rule.priority,
            limit=condition.limit if isinstance(condition, _LIMITED) else None,
            unit=condition.unit if isinstance(condition, Limit | Stages | Away | OddOneOut | Consumption) else None,
            consequence=rule.consequence,
            cause=rule.cause,
            action=rule.action,
            response_s=rule.response_s,
            group=rule.group or None,
            revision=revision_of(rule),
            levels=_levels(rule),
            zones=condition.borders if isinstance(condition, InZone) else None,
            table=condition.table if isinstance(condition, Limit) else {},
        ),
        blind_after_ms=_ms(rule.blind_after_s),
        gate=gate,
        re_alarm_ms=None if rule.re_alarm_s is None else _ms(rule.re_alarm_s),
        suppressed_by=rule.suppressed_by,
        neighbours=rule.neighbours_of(line, device),
    )


def _levels(rule: AlertRule) -> dict[AlertLevel, tuple[float, Priority]]:
    if not isinstance(rule.condition, Levels):
        return {}
    return {level: (limit.at, limit.priority or rule.priority) for level, limit in rule.condition.limits.items()}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
