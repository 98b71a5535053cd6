"""Rules that every plant has: whether anybody is watching it at all. They are in no file and cannot be switched off.

Each is about the platform; the engine says itself, beside the broker, what is wrong (`Watch.report`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from millrace_contract.language.words import AlertClass
from millrace_contract.plant import AlertRule, PlantModel
from millrace_contract.plant.alert_rules import BUILT_IN
from millrace_contract.plant.maintenance import MaintenanceWindow

CLOCK_SET = f"{BUILT_IN}clock-set"
NOT_WATCHING = f"{BUILT_IN}not-watching"
FLOOD = f"{BUILT_IN}flood"
FUTURE = f"{BUILT_IN}future-readings"


def blind_rule(rule: str) -> str:
    """The built-in rule that tells when this one cannot be evaluated."""
    return f"{BUILT_IN}blind-{rule}"


def gateway_rule(gateway: str) -> str:
    """The built-in rule that tells when this gateway is gone, in place of each of its devices."""
    return f"{BUILT_IN}gateway-{gateway}"


def maintenance_rule(window: str) -> str:
    """The built-in rule that tells that this window of maintenance is on."""
    return f"{BUILT_IN}maintenance-{window}"


def built_in_rules(
    plant: PlantModel, rules: Iterable[AlertRule], windows: Mapping[str, MaintenanceWindow] | None = None
) -> Iterator[AlertRule]:
    """In the order in which they are explained in docs/alerts.md."""
    yield _rule(
        NOT_WATCHING,
        "Nobody is watching the plant",
        "No rule is evaluated until the broker is back: look at the machines themselves, then see whether the broker runs.",
        priority="critical",
    )
    yield _rule(
        CLOCK_SET,
        "The clock of the alerts service was set",
        "Compare the server's clock with a good one, and see what set it. Times between the two settings are wrong.",
    )
    yield _rule(
        FUTURE,
        "Readings from the future are refused",
        "This server's clock is behind, or the gateway's is ahead: set the wrong one. Until then these readings raise no alert.",
        on_delay_s=20,
    )
    yield _rule(
        FLOOD,
        "More alerts than a person can take in",
        "Look for what they have in common; those marked as first come first. Then see which rules tell nobody anything.",
        priority="medium",
    )
    for gateway in sorted({device.gateway for device in plant.devices.values()}):
        yield _rule(
            gateway_rule(gateway),
            f"Gateway {gateway} is gone",
            "See whether its computer runs and has a network. What its devices say meanwhile waits in it, if it runs at all.",
            on_delay_s=10,
            off_delay_s=5,
        )
    for window in windows or {}:
        yield _rule(
            maintenance_rule(window),
            "Maintenance",
            "Alerts of the machines in work are hidden until it ends. What happens meanwhile is in their events.",
            priority="low",
        )
    for rule in rules:
        if rule.alert_class is AlertClass.ALARM:
            yield _rule(
                blind_rule(rule.id),
                f"Cannot be evaluated: {rule.title}",
                "Nobody is told when it happens there: look at the machine itself, then find out why its readings do not come.",
                priority=rule.priority,
            )


def is_built_in(rule: str) -> bool:
    """Whether the rule is one of these; no rule of a plant has such a name."""
    return rule.startswith(BUILT_IN)


def _rule(
    name: str, title: str, action: str, *, priority: str = "high", on_delay_s: float = 0, off_delay_s: float = 0
) -> AlertRule:
    return AlertRule.model_validate(
        {
            "id": name,
            "title": title,
            "class": "system",
            "priority": priority,
            "condition": {"kind": "own_data", "service": "alerts", "problem": name},
            "on_delay_s": on_delay_s,
            "off_delay_s": off_delay_s,
            "action": action,
        }
    )
