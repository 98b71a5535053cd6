"""Which alert of a group came first: it is flagged until the group is clear (alerts.md B6). Pure.

Rules that name the same `group` belong together on each line. First is who has the earliest event time; one that is recorded
later but happened earlier takes over within the window, because devices are polled at different times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from millrace_contract.language.words import EventCause

from .alert import Alert, Transition
from .rules import Watched

WINDOW_MS = 10_000

Group = tuple[str, str]
"""(name, line)"""


class FirstOut:
    """Knows who belongs to which group; the flags are in the alerts."""

    def __init__(self, watched: Iterable[Watched]) -> None:
        self._group_of: dict[str, Group] = {}
        self._members: dict[Group, list[str]] = {}
        for each in watched:
            if each.group:
                group = each.group, each.line
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
            earlier_by_ms = (first.activated_ms or 0) - transition.source_ms
            return [_flag(first, on=False), _flag(own, on=True)] if first is not own and 0 < earlier_by_ms <= WINDOW_MS else []
        if first is not None and not any(alert.facts.in_alarm for alert in members):
            return [_flag(first, on=False)]
        return []


def _flag(alert: Alert, *, on: bool) -> Alert:
    return msgspec.structs.replace(alert, first_out=on)
