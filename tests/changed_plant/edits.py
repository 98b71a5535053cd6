"""A plant's files as a person changes them: devices, lines, gateways, profiles, counters, shifts and rules, at random."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .machines import Machines

EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
LINES, GATEWAYS, PROFILES = ("line1", "line2", "line3"), ("edge-1", "edge-2"), ("mill", "press")
SHIFTS = {
    "quarters": {
        f"q{hour // 6}": {"start": f"{hour:02}:00", "end": f"{(hour + 6) % 24:02}:00", "days": EVERY_DAY} for hour in (0, 6, 12, 18)
    },
    "halves": {
        "am": {"start": "00:00", "end": "12:00", "days": EVERY_DAY},
        "pm": {"start": "12:00", "end": "00:00", "days": EVERY_DAY},
    },
    "all": {"all": {"start": "00:00", "end": "00:00", "days": EVERY_DAY}},
}


@dataclass
class PlantFiles:
    """What the files say. `write` puts it on disk; nobody has read it then."""

    devices: dict[str, dict[str, str]] = field(default_factory=dict)
    temperature: dict[str, str] = field(default_factory=lambda: dict.fromkeys(PROFILES, "temperature"))
    modulus: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(PROFILES, 10_000))
    shifts: str = "quarters"
    limit: float = 80.0
    has_offline_rule: bool = True

    def write(self, folder: Path) -> bool:
        """Returns whether plant.yaml says something else now. What is as it was is left alone."""
        (folder / "profiles").mkdir(parents=True, exist_ok=True)
        lines: dict[str, Any] = {line: {"devices": {}} for line in LINES if any(d["line"] == line for d in self.devices.values())}
        for number, (name, device) in enumerate(sorted(self.devices.items())):
            lines[device["line"]]["devices"][name] = {
                "profile": device["profile"],
                "gateway": device["gateway"],
                "ideal_cycle_s": 10,
                "connection": {"host": f"10.0.0.{number + 1}"},
            }
        files = {
            "plant.yaml": {"root": "factory", "time_zone": "UTC", "lines": lines},
            **{f"profiles/{name}.yaml": self._profile(name) for name in PROFILES},
            "calendar.yaml": {"shifts": SHIFTS[self.shifts]},
            "alerts.yaml": {"rules": self._rules()},
        }
        texts = {folder / name: yaml.safe_dump(content, sort_keys=False) for name, content in files.items()}
        changed = {path.name for path, text in texts.items() if not path.exists() or path.read_text() != text}
        for path, text in texts.items():
            if path.name in changed:
                path.write_text(text)
        return "plant.yaml" in changed

    def _profile(self, name: str) -> dict[str, Any]:
        numbers = {"mill": {1: "execute", 2: "stopped"}, "press": {2: "execute", 1: "stopped"}}[name]
        counter: dict[str, Any] = {"max_rate_per_s": 1}
        if self.modulus[name] is not None:
            counter["modulus"] = self.modulus[name]
        return {
            "title": name,
            "source": "tests",
            "verified": "simulator",
            "groups": {"fast": {"interval_s": 60}},
            "signals": {
                "reads": {"address": 0, "type": "uint16"},
                "it": {"address": 1, "type": "uint16", "values": numbers},
                "total": {"address": 2, "type": "uint16", "counter": counter},
                self.temperature[name]: {"address": 3, "type": "uint16"},
            },
            "oee": {"state": "it", "total": "total"},
        }

    def _rules(self) -> dict[str, Any]:
        rules: dict[str, Any] = {
            f"hot-{name}": {
                "title": "Hot",
                "class": "system",
                "where": {"profiles": [name]},
                "condition": {"kind": "threshold", "signal": self.temperature[name], "above": self.limit},
            }
            for name in PROFILES
        }
        rules["silent"] = {"title": "Silent", "class": "system", "condition": {"kind": "no_data", "after_s": 300}}
        if self.has_offline_rule:
            rules["offline"] = {"title": "Offline", "class": "system", "condition": {"kind": "device_offline"}}
        return rules


class Editor:
    """One person at the files. `ids`: every id that a device ever had."""

    def __init__(self, dice: random.Random, machines: Machines) -> None:
        self.files = PlantFiles()
        self.log: list[str] = []
        self.machines = machines
        self._dice = dice
        self._numbers = 0
        for _ in range(4):
            self._add()

    def edit(self) -> str:
        """Change one thing; returns what."""
        before = copy.deepcopy(self.files)
        said = self._dice.choice(self._edits())()
        if self.files == before:
            said = "nothing"
        self.log.append(said)
        return said

    def _edits(self) -> list[Callable[[], str]]:
        return [
            self._add, self._add, self._remove, self._bring_back, self._rename, self._move_line, self._move_line,
            self._move_gateway, self._move_gateway, self._change_profile, self._rename_signal, self._change_modulus,
            self._change_shifts, self._change_rule, self._drop_rule,
        ]  # fmt: skip

    def _some(self) -> str:
        return self._dice.choice(sorted(self.files.devices))

    def _place(self) -> dict[str, str]:
        dice = self._dice
        return {"line": dice.choice(LINES), "gateway": dice.choice(GATEWAYS), "profile": dice.choice(PROFILES)}

    def _add(self) -> str:
        if len(self.files.devices) >= 6:
            return "nothing"
        self._numbers += 1
        name = f"M-{self._numbers:02}"
        self.files.devices[name] = self._place()
        return f"add {name} {self.files.devices[name]}"

    def _remove(self) -> str:
        if len(self.files.devices) < 2:
            return "nothing"
        name = self._some()
        del self.files.devices[name]
        return f"remove {name}"

    def _bring_back(self) -> str:
        gone = [f"M-{number:02}" for number in range(1, self._numbers + 1) if f"M-{number:02}" not in self.files.devices]
        if not gone or len(self.files.devices) >= 6:
            return "nothing"
        name = self._dice.choice(gone)
        self.files.devices[name] = self._place()
        return f"bring back {name} {self.files.devices[name]}"

    def _rename(self) -> str:
        old = self._some()
        self._numbers += 1
        new = f"M-{self._numbers:02}"
        self.files.devices[new] = self.files.devices.pop(old)
        self.machines.rename(old, new)
        return f"rename {old} to {new}"

    def _change(self, name: str, key: str, values: tuple[str, ...]) -> str:
        device = self.files.devices[name]
        device[key] = self._dice.choice([each for each in values if each != device[key]])
        return f"{name}: {key} is {device[key]}"

    def _move_line(self) -> str:
        return self._change(self._some(), "line", LINES)

    def _move_gateway(self) -> str:
        return self._change(self._some(), "gateway", GATEWAYS)

    def _change_profile(self) -> str:
        return self._change(self._some(), "profile", PROFILES)

    def _rename_signal(self) -> str:
        profile = self._dice.choice(PROFILES)
        names = ("temperature", "spindle_temperature", "oil_temperature")
        self.files.temperature[profile] = self._dice.choice([each for each in names if each != self.files.temperature[profile]])
        return f"{profile}: temperature is called {self.files.temperature[profile]}"

    def _change_modulus(self) -> str:
        profile = self._dice.choice(PROFILES)
        self.files.modulus[profile] = self._dice.choice(
            [each for each in (None, 10_000, 65_536) if each != self.files.modulus[profile]]
        )
        return f"{profile}: modulus is {self.files.modulus[profile]}"

    def _change_shifts(self) -> str:
        self.files.shifts = self._dice.choice([each for each in SHIFTS if each != self.files.shifts])
        return f"shifts are {self.files.shifts}"

    def _change_rule(self) -> str:
        self.files.limit = self._dice.choice([50.0, 80.0, 90.0])
        return f"limit is {self.files.limit}"

    def _drop_rule(self) -> str:
        self.files.has_offline_rule = not self.files.has_offline_rule
        return f"offline rule: {self.files.has_offline_rule}"
