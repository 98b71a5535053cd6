"""Which alerts are to be told of what, for one device: a reading meets only the rules that it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .conditions import judges_in_order
from .rules import Watched


@dataclass(frozen=True, slots=True)
class Concerned:
    """Ids of alerts: by signal, of all that is said of the device, and (`in_order`) of those who judge in order, by signal: whose
    gate it is, and who reads it.
    """

    gates: dict[str, list[str]] = field(default_factory=dict)
    readings: dict[str, list[str]] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)
    data: dict[str | None, list[str]] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    inhibited: list[str] = field(default_factory=list)
    every: list[str] = field(default_factory=list)
    in_order: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)


def by_device(watched: Mapping[str, Watched], devices: Iterable[str]) -> dict[str, Concerned]:
    """For each device of the plant."""
    concerned = {name: Concerned() for name in devices}
    for each in watched.values():
        if each.device_id:
            concerned[each.device_id].every.append(each.alert_id)
            _add_signals(concerned[each.device_id], each)
            _add_news(concerned[each.device_id], each)
            for part in each.condition.listening.parts:
                concerned[part.device_id].parts.setdefault(part.signal, []).append(each.alert_id)
    return concerned


def _add_signals(those: Concerned, each: Watched) -> None:
    gate, readings = each.gate, each.condition.listening.readings
    if gate is not None:
        those.gates.setdefault(gate.signal, []).append(each.alert_id)
    for signal in readings:
        those.readings.setdefault(signal, []).append(each.alert_id)
    if judges_in_order(each.condition):
        for signal in readings:
            those.in_order.setdefault(signal, ([], []))[1].append(each.alert_id)
        if gate is not None:
            those.in_order.setdefault(gate.signal, ([], []))[0].append(each.alert_id)


def _add_news(those: Concerned, each: Watched) -> None:
    listening = each.condition.listening
    for wanted in listening.data:
        those.data.setdefault(wanted, []).append(each.alert_id)
    if listening.table is not None:
        those.tables.setdefault(listening.table, []).append(each.alert_id)
    for wants, ids in (
        (listening.figures, those.figures),
        (listening.link, those.links),
        (listening.is_inhibited_by_offline, those.inhibited),
    ):
        if wants:
            ids.append(each.alert_id)
