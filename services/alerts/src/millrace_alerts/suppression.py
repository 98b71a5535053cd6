"""What hides an alert by design: alerts that say why already, and maintenance (alerts.md B2). Pure.

An alert is hidden when there is something to hide: one that is NORM stays NORM until its condition comes, which is then recorded as
hidden from the first. What is flagged as first of its group stays visible: it may be the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from zoneinfo import ZoneInfo

from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import IsaState
from millrace_contract.plant import PlantModel
from millrace_contract.plant.maintenance import MaintenanceWindow

from .alert import Alert, Transition
from .builtin import maintenance_rule
from .changes import act
from .lifecycle import Suppress, Unsuppress, underlying_state_of
from .rules import Watched

BY_RULE, BY_MAINTENANCE = "rule ", "maintenance "
"""How the sources in `Facts.designed` begin that are decided here."""

Alerts = Mapping[str, Alert]


class Suppression:
    """Knows who hides whom; what is hidden stands in the alerts."""

    def __init__(self, plant: PlantModel, watched: Mapping[str, Watched], windows: Mapping[str, MaintenanceWindow]) -> None:
        self._zone = ZoneInfo(plant.time_zone)
        self._windows = windows
        self._sources: dict[str, list[tuple[str, list[str]]]] = {}
        self._hidden_by: dict[str, list[str]] = {}
        self._windows_of: dict[str, list[str]] = {}
        self._on: dict[str, int] = {}
        self._link(watched)
        devices = {name: {device.id for device in window.where.matches(plant)} for name, window in windows.items()}
        for each in watched.values() if windows else ():
            if found := [name for name, those in devices.items() if each.device_id in those]:
                self._windows_of[each.alert_id] = found

    def look(self, now_ms: int) -> tuple[set[str], dict[str, str | None]]:
        """Whose window began or ended by now, and what the built-in rule of each window says."""
        on = {name: end_ms for name, window in self._windows.items() if (end_ms := window.end_ms(now_ms, self._zone)) is not None}
        changed = on.keys() ^ self._on.keys()
        self._on = on
        concerned = {alert for alert, names in self._windows_of.items() if changed.intersection(names)} if changed else set()
        return concerned, {maintenance_rule(name): self._in_words(name) for name in self._windows}

    def is_in_maintenance(self, alert_id: str) -> bool:
        return any(name in self._on for name in self._windows_of.get(alert_id, ()))

    def concerned_by(self, alert_id: str) -> Iterable[str]:
        """The alerts that this one may hide, and itself."""
        return (alert_id, *self._hidden_by.get(alert_id, ()))

    @property
    def members(self) -> set[str]:
        """Every alert that something may hide."""
        return {*self._sources, *self._windows_of}

    def sources(self, alert_id: str, alerts: Alerts, *, is_first: bool) -> list[str]:
        """What hides the alert now; `is_first`: nothing but maintenance hides it."""
        found = [f"{BY_MAINTENANCE}{name}" for name in self._windows_of.get(alert_id, ()) if name in self._on]
        for rule, ids in () if is_first else self._sources.get(alert_id, ()):
            if any(alerts[each].facts.in_alarm for each in ids):
                found.append(f"{BY_RULE}{rule}")
        return found

    def _link(self, watched: Mapping[str, Watched]) -> None:
        by_rule: dict[str, list[Watched]] = {}
        for each in watched.values():
            by_rule.setdefault(each.rule, []).append(each)
        for each in watched.values():
            for rule in () if each.suppressed_by is None else each.suppressed_by.rules:
                ids = [other.alert_id for other in by_rule.get(rule, ()) if _reaches(other, each)]
                self._sources.setdefault(each.alert_id, []).append((rule, ids))
                for source in ids:
                    self._hidden_by.setdefault(source, []).append(each.alert_id)

    def _in_words(self, name: str) -> str | None:
        if name not in self._on:
            return None
        return f"{self._windows[name].title}, until {format_timestamp(self._on[name])}"


def covered(alert: Alert, sources: Iterable[str], at_ms: int) -> tuple[Alert, tuple[Transition, ...]]:
    """Hidden by those that do not hide it yet."""
    made: tuple[Transition, ...] = ()
    for source in sources:
        if source not in alert.facts.designed:
            alert, more = act(alert, Suppress(source), at_ms)
            made += more
    return alert, made


def settled(alert: Alert, sources: list[str], at_ms: int) -> tuple[Alert, tuple[Transition, ...]]:
    """As it must be with these sources and no other of ours: hidden where there is something to hide, else shown."""
    made: tuple[Transition, ...] = ()
    if underlying_state_of(alert.facts) is not IsaState.NORM:
        alert, made = covered(alert, sources, at_ms)
    for source in alert.facts.designed:
        if source.startswith((BY_RULE, BY_MAINTENANCE)) and source not in sources:
            alert, more = act(alert, Unsuppress(source), at_ms)
            made += more
    return alert, made


def _reaches(source: Watched, target: Watched) -> bool:
    within = "" if target.suppressed_by is None else target.suppressed_by.within
    if source.alert_id == target.alert_id:
        return False
    if within == "plant":
        return True
    return source.line == target.line if within == "line" else bool(target.device_id) and source.device_id == target.device_id
