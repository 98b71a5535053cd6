"""The plant's files and an event file, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

Values = dict[str, Any]


def ms_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def text_of(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


@dataclass
class Reading:
    """What was said of one signal: `value` None is not good, `doubtful` where it was uncertain rather than bad."""

    at: int
    value: float | str | None
    hold_ms: int | None
    doubtful: bool = False


@dataclass
class Device:
    name: str
    line: str
    settings: Values
    profile: Values
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    words: list[int] = field(default_factory=list)  # when its gateway said that it does not answer
    heard: list[int] = field(default_factory=list)  # when a message with readings or qualities came


@dataclass
class Plant:
    zone: ZoneInfo
    calendar: Values
    reasons: Mapping[str, Values]
    products: Values
    lines: dict[str, Values]
    devices: dict[str, Device]
    entries: list[Values]
    now: int

    def local(self, text: Any) -> int:
        """Of a wall time of the plant."""
        at = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
        return round(at.replace(tzinfo=self.zone, fold=0).timestamp() * 1000)

    def dated(self, settings: Values, key: str, at: int, default: Any = None) -> Any:
        value = settings.get(key, default)
        for change in settings.get("changes", ()):
            if self.local(change["valid_from"]) <= at and key in change:
                value = change[key]
        return value

    def changes(self, settings: Values) -> list[int]:
        return [self.local(change["valid_from"]) for change in settings.get("changes", ())]


def read(folder: Path) -> Plant:
    model = _yaml(folder / "plant.yaml")
    devices: dict[str, Device] = {}
    for line, found in model["lines"].items():
        for name, settings in found["devices"].items():
            devices[name] = Device(name, line, settings, _yaml(folder / "profiles" / f"{settings['profile']}.yaml"))
    reasons: dict[str, Values] = {}
    _flatten(_yaml(folder / "reasons.yaml").get("reasons", {}), "", {}, reasons)
    plant = Plant(
        zone=ZoneInfo(model["time_zone"]),
        calendar=_yaml(folder / "calendar.yaml"),
        reasons=reasons,
        products=_yaml(folder / "products.yaml").get("products", {}),
        lines={name: line.get("oee", {}) for name, line in model["lines"].items()},
        devices=devices,
        entries=[],
        now=0,
    )
    _messages(plant, model["root"], (folder / "events.jsonl").read_text(encoding="utf-8").splitlines())
    return plant


def _yaml(path: Path) -> Values:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def _flatten(level: Values, above: str, inherited: Values, into: dict[str, Values]) -> None:
    for key, reason in level.items():
        own = {**inherited, **{k: reason[k] for k in ("leaf", "failure") if reason.get(k)}}
        into[above + key] = own
        _flatten(reason.get("children", {}), f"{above}{key}/", own, into)


def _messages(plant: Plant, root: str, lines: list[str]) -> None:
    telemetry: dict[tuple[str, str, int], Values] = {}
    entries: dict[str, Values] = {}
    for line in lines:
        event = json.loads(line)
        place, payload = event["topic"].removeprefix(f"{root}/").split("/"), event["payload"]
        told = ms_of(payload["timestamp"])
        plant.now = max(plant.now, told)
        if place[-1] == "telemetry":
            telemetry[(place[1], payload["stream"], payload["seq"])] = payload  # of two writes of one identity the later one
        else:
            entry = {**payload, "line": place[0], "device": place[1] if len(place) == 4 else None, "at": told}
            old = entries.get(entry["id"])
            if old is None or (entry.get("version", 1), told) > (old.get("version", 1), old["at"]):
                entries[entry["id"]] = entry
    plant.entries = sorted((e for e in entries.values() if e["kind"] != "withdrawal"), key=lambda e: (e["at"], e["id"]))
    found: dict[tuple[str, str, int], Reading] = {}
    for (name, _, _), message in telemetry.items():
        device, at = plant.devices[name], ms_of(message["timestamp"])
        hold = round(message["hold_s"] * 1000) if "hold_s" in message else None
        if message.get("unreachable"):
            device.words.append(at)
        said = {
            **dict.fromkeys(message.get("quality", {})),
            **{k: v for k, v in message["readings"].items() if k not in message.get("quality", {})},
        }
        if said:
            device.heard.append(at)
        for signal, value in said.items():
            old_reading = found.get((name, signal, at))
            if old_reading is None or old_reading.value is not None:  # what is not good takes back what is
                found[name, signal, at] = Reading(
                    at,
                    float(value) if isinstance(value, bool | int) else value,
                    hold,
                    doubtful=message.get("quality", {}).get(signal) == "uncertain",
                )
    for (name, signal, _), reading in sorted(found.items(), key=lambda item: item[1].at):
        plant.devices[name].readings.setdefault(signal, []).append(reading)
