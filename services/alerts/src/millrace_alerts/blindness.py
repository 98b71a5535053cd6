"""Alarm rules that cannot be evaluated for longer than they may be: one alert a rule, which names the devices. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from millrace_contract.language.looks import EVALUATION_LOOKS
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import EVALUABLE, AlertClass, Evaluation

from .alert import Alert
from .builtin import blind_rule, is_built_in
from .rules import Watched

NAMED = 5
"""So many devices an alert names; of the others it says how many there are."""


def blind_rules(
    watched: Iterable[Watched],
    alerts: Mapping[str, Alert],
    now_ms: int,
    is_in_maintenance: Callable[[str], bool] = lambda _alert_id: False,
) -> dict[str, str | None]:
    """For each alarm rule the built-in rule that tells of it, and what it says: None where somebody watches.

    What an alert already explains (an offline device, a gateway that is gone, maintenance) is not told a second time.
    """
    found: dict[str, list[Alert]] = {}
    for each in watched:
        if each.description.alert_class is not AlertClass.ALARM or is_built_in(each.rule):
            continue
        blind = found.setdefault(blind_rule(each.rule), [])
        alert = alerts[each.alert_id]
        if (
            alert.evaluation in EVALUABLE
            or alert.evaluation is Evaluation.INHIBITED
            or alert.explained_by is not None
            or alert.blind_since_ms is None
            or is_in_maintenance(alert.id)
        ):
            continue
        if now_ms - alert.blind_since_ms >= each.blind_after_ms:
            blind.append(alert)
    return {name: _in_words(blind) for name, blind in found.items()}


def _in_words(blind: list[Alert]) -> str | None:
    if not blind:
        return None
    said = [
        f"{alert.device_id or 'the platform'}: {EVALUATION_LOOKS[alert.evaluation].word} since "
        f"{format_timestamp(alert.blind_since_ms or 0)}"
        for alert in blind[:NAMED]
    ]
    more = f"; and {len(blind) - NAMED} more" if len(blind) > NAMED else ""
    return "; ".join(said) + more
