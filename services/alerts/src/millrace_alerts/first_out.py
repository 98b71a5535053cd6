"""Which alert of a group came first: it is flagged until the group is clear (alerts.md B6). Pure.

Rules that name the same `group` belong together on each line, or among the neighbours that they declare: on one device, or on
devices that stand on one shaft. First is who has the earliest event time; one that is recorded later but happened earlier takes
over within the window, because devices are polled at different times. All others raised meanwhile name it as their first cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from millrace_contract.language.words import EventCause

from .alert import Alert, Transition
from .rules import Watched

WINDOW_MS = 10_000

Group = tuple[str, str]
"""(name, neighbours)"""


class FirstOut:
    """Knows who belongs to which group; the flags are in the alerts."""

    def __init__(self, watched: Iterable[Watched]) -> None:
        self._group_of: dict[str, Group] = {}
        self._members: dict[Group, list[str]] = {}
        for each in watched:
            if each.group:
                group = each.group, each.neighbours
                self._group_of[each.alert_id] = group
                self._members.setdefault(group, []).append(each.alert_id)

    def would_be_first(self, alert_id: str, alerts: Mapping[str, Alert]) -> bool:
        """Whether the alert is first of its group, or would be if it were raised now."""
        group = self._group_of.get(alert_id)
        if group is None:
            return False
        return alerts[alert_id].first_out or not any(alerts[name].first_out for name in self._members[group])

    def flagged(self, transition: Transition, alerts: Mapping[str, Alert]) -> list[Alert]:
        """The alerts whose flag changes by this transition, which `alerts` has already."""
        group = self._group_of.get(transition.alert.id)
        if group is None:
            return []
        members = [alerts[name] for name in self._members[group]]
        first = next((alert for alert in members if alert.first_out), None)
        own = alerts[transition.alert.id]
        if transition.cause is EventCause.CONDITION:
            if first is None:
                return [_flag(own, on=True)]
            if first is own:
                return []
            if 0 < (first.activated_ms or 0) - transition.source_ms <= WINDOW_MS:
                others = [each for each in members if (each.first_out or each.facts.in_alarm) and each is not own]
                return [*(_named(_flag(each, on=False), own.id) for each in others), _flag(own, on=True)]
            return [_named(own, first.id)]
        if first is not None and not any(alert.facts.in_alarm for alert in members):
            return [_named(_flag(each, on=False), None) for each in members if each.first_out or each.first_cause]
        return []


def _named(alert: Alert, first_cause: str | None) -> Alert:
    return msgspec.structs.replace(alert, first_cause=first_cause)


def _flag(alert: Alert, *, on: bool) -> Alert:
    return msgspec.structs.replace(alert, first_out=on, first_cause=None if on else alert.first_cause)
