"""The rules of the plant, resolved: one watched condition for each (rule, device)."""

from dataclasses import dataclass

from millrace_contract.plant import AlertRule, Device, DeviceOffline, NoData, PlantModel, Profile, Threshold, hold_ms

from .alert import Description, alert_id
from .conditions import Delays


@dataclass(frozen=True, slots=True)
class Limit:
    """A signal beyond a limit."""

    signal: str
    limit: float
    deadband: float
    high: bool


@dataclass(frozen=True, slots=True)
class Silence:
    """No good reading of the signal (of any, when None) for `after_ms`."""

    signal: str | None
    after_ms: int


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The device or its gateway is offline."""


Condition = Limit | Silence | Unreachable


@dataclass(frozen=True, slots=True)
class Watched:
    """One rule for one device."""

    alert_id: str
    rule: str
    line: str
    device_id: str
    condition: Condition
    delays: Delays
    latching: bool
    description: Description


def watched_rules(plant: PlantModel, rules: dict[str, AlertRule]) -> dict[str, Watched]:
    """Every (rule, device) that is watched, by alert id."""
    watched = (_watched(plant, rule, device) for rule in rules.values() for device in rule.devices(plant))
    return {each.alert_id: each for each in watched}


def _watched(plant: PlantModel, rule: AlertRule, device: Device) -> Watched:
    profile = plant.profile_of(device.id)
    condition, fresh_ms = _condition(rule, profile)
    limit = condition.limit if isinstance(condition, Limit) else None
    unit = profile.signals[condition.signal].unit if isinstance(condition, Limit) else None
    delays = Delays(on_ms=_ms(rule.on_delay_s), off_ms=_ms(rule.off_delay_s))
    return Watched(
        alert_id=alert_id(rule.id, device.id),
        rule=rule.id,
        line=device.line,
        device_id=device.id,
        condition=condition,
        delays=delays if fresh_ms is None else Delays(delays.on_ms, delays.off_ms, fresh_ms),
        latching=rule.latching,
        description=Description(
            title=rule.title,
            alert_class=rule.alert_class,
            priority=rule.priority,
            limit=limit,
            unit=unit,
            consequence=rule.consequence,
            cause=rule.cause,
            action=rule.action,
            response_s=rule.response_s,
        ),
    )


def _condition(rule: AlertRule, profile: Profile) -> tuple[Condition, int | None]:
    match rule.condition:
        case Threshold() as threshold:
            high = threshold.above is not None
            limit = threshold.above if threshold.above is not None else threshold.below
            if limit is None:
                raise ValueError(f"rule {rule.id}: a threshold without a limit passed the check of the plant model")
            condition = Limit(threshold.signal, limit, threshold.deadband, high)
            return condition, hold_ms(profile, threshold.signal)
        case NoData() as silence:
            return Silence(silence.signal, _ms(silence.after_s)), None
        case DeviceOffline():
            return Unreachable(), None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
