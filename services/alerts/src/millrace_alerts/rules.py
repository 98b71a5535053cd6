"""The rules of the plant, resolved: one watched condition for each (rule, device)."""

from dataclasses import dataclass

from millrace_contract.plant import AlertRule, Device, PlantModel

from .alert import Description, alert_id
from .changes import Terms
from .conditions import Condition, Limit, condition_of


@dataclass(frozen=True, slots=True)
class Watched:
    """One rule for one device."""

    alert_id: str
    rule: str
    line: str
    device_id: str
    condition: Condition
    terms: Terms
    description: Description


def watched_rules(plant: PlantModel, rules: dict[str, AlertRule]) -> dict[str, Watched]:
    """Every (rule, device) that is watched, by alert id."""
    watched = (_watched(plant, rule, device) for rule in rules.values() for device in rule.devices(plant))
    return {each.alert_id: each for each in watched}


def _watched(plant: PlantModel, rule: AlertRule, device: Device) -> Watched:
    condition = condition_of(rule.condition, plant.profile_of(device.id))
    return Watched(
        alert_id=alert_id(rule.id, device.id),
        rule=rule.id,
        line=device.line,
        device_id=device.id,
        condition=condition,
        terms=Terms(condition.delays(_ms(rule.on_delay_s), _ms(rule.off_delay_s)), rule.latching),
        description=Description(
            title=rule.title,
            alert_class=rule.alert_class,
            priority=rule.priority,
            limit=condition.limit if isinstance(condition, Limit) else None,
            unit=condition.unit if isinstance(condition, Limit) else None,
            consequence=rule.consequence,
            cause=rule.cause,
            action=rule.action,
            response_s=rule.response_s,
        ),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
