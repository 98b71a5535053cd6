"""Plants and days at random: a folder with the plant's files and an event file, from a seed."""

from __future__ import annotations

import json
import random
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from .plant import text_of

Values = dict[str, Any]
MINUTE = 60_000
STATES = {0: "stopped", 1: "execute", 2: "held", 3: "aborted", 4: "setup", 5: "idle", 6: "suspended", 7: "complete"}
DATES = {"plain": date(2025, 10, 15), "long": date(2025, 10, 25), "short": date(2025, 3, 29)}
KINDS = ("states", "counters", "quality", "calendar", "orders", "entries", "unknown", "lines")


def profile(draw: random.Random, kind: str) -> Values:
    counter = {"modulus": draw.choice([65536, 65536, 10_000, 1000]), "max_rate_per_s": draw.choice([5, 2])}
    if kind == "counters" and draw.random() < 0.2:
        del counter["modulus"]
    oee: Values = {
        "state": "run_status",
        "total": "total_count",
        "leaves": draw.choice([{}, {"idle": "unscheduled"}, {"idle": "unscheduled", "complete": "planned_stop"}]),
    }
    oee["reject"] = "second_count"
    if draw.random() < 0.15:
        oee["parts_per_count"] = draw.choice([2, {"total": 4}])
    if kind == "entries" and draw.random() < 0.5:
        oee["reasons"] = {"held": "mechanical/jam"}
    if draw.random() < 0.1:
        oee["stale_s"] = draw.choice([20, 90])
    return {
        "title": "of a scenario",
        "asset_class": "cnc",
        "source": "tests",
        "verified": "simulator",
        "groups": {"fast": {"interval_s": draw.choice([1, 10])}},
        "signals": {
            "run_status": {"address": 10, "type": "uint16", "values": STATES},
            "total_count": {"address": 12, "type": "uint16", "counter": counter},
            "second_count": {"address": 13, "type": "uint16", "counter": counter},
        },
        "oee": oee,
    }


def calendar(draw: random.Random, kind: str) -> Values:
    if kind != "calendar" and draw.random() < 0.6:
        return {"shifts": {"early": {"start": "06:00", "end": draw.choice(["07:00", "08:00", "08:30"])}}}
    early: Values = {"start": "06:00", "end": "08:00", "breaks": [{"start": "06:40", "end": "06:50"}]}
    late: Values = {"start": draw.choice(["08:00", "08:20"]), "end": "09:30"}
    night: Values = {
        "start": draw.choice(["22:00", "23:30"]),
        "end": draw.choice(["06:00", "04:00"]),
        "breaks": [{"start": draw.choice(["02:00", "02:30"]), "end": draw.choice(["02:45", "03:15"])}],
    }
    if draw.random() < 0.3:
        late["days"] = draw.sample(["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 4)
    shifts: Values = {"early": early, "late": late, "night": night}
    if draw.random() < 0.5:
        shifts.pop(draw.choice(list(shifts)))
    said: Values = {"shifts": shifts}
    return said


class Day:
    """One scenario of a kind: what the plant is, and what its machines and people said."""

    def __init__(self, seed: int, kind: str) -> None:
        self.draw, self.kind, self.seed = random.Random(f"{kind}/{seed}"), kind, seed
        draw = self.draw
        self.zone = ZoneInfo(
            draw.choice(["Europe/Berlin", "America/Chicago"]) if kind == "calendar" else draw.choice(["UTC", "Europe/Berlin"])
        )
        day = DATES[draw.choice(["plain", "long", "short"])] if kind == "calendar" else DATES["plain"]
        hour = draw.choice([5, 6, 21, 23]) if kind == "calendar" else draw.choice([5, 6, 6, 6])
        self.start = round(
            datetime(day.year, day.month, day.day, hour, 59 if hour in (5, 21) else 0, tzinfo=self.zone).timestamp() * 1000
        )
        self.length = draw.choice([60, 130, 200]) * MINUTE if kind != "calendar" else draw.choice([200, 500, 1600]) * MINUTE
        self.profiles = {"p": profile(draw, kind)}
        self.calendar = calendar(draw, kind)
        self.lines: Values = {"line1": {"devices": {"M1": self._device()}}}
        self.lines["line1"]["oee"] = {"coverage_min": draw.choice([0, 0, 0.5, 0.9])}
        if kind in ("states", "unknown", "lines") and draw.random() < 0.4:
            self.lines["line1"]["oee"]["outside"] = draw.choice([["setup"], ["planned_stop"], ["planned_stop", "setup"]])
        if kind == "lines":
            for name in ("M2", "M3", "M4")[: draw.randint(1, 3)]:
                self.lines["line1"]["devices"][name] = self._device()
        self.reasons: Values = {}
        self.products: Values = {}
        self.events: list[tuple[int, Values]] = []
        self.seq = 0
        for name in self.lines["line1"]["devices"]:
            self._machine(name)
        if kind == "entries":
            self._reasons()
        if kind == "orders":
            self._orders()
        if kind in ("quality", "lines"):
            self._quality()

    def _device(self) -> Values:
        draw = self.draw
        said: Values = {"profile": "p", "connection": {"host": "127.0.0.1", "port": 5020}}
        if draw.random() < 0.95:
            said["ideal_cycle_s"] = draw.choice([1, 2.5, 7, 0.7, 10 / 3])
        if draw.random() < 0.5:
            said["micro_stop_s"] = draw.choice([0, 30, 300, 61.5])
        if draw.random() < 0.2:
            at = datetime.fromtimestamp(self.start / 1000 + draw.choice([1800, 3600, 4000]), self.zone)
            said["changes"] = [
                {
                    "valid_from": f"{at:%Y-%m-%d %H:%M}",
                    **draw.choice([{"ideal_cycle_s": 1.3}, {"micro_stop_s": 200}, {"ideal_cycle_s": 4, "micro_stop_s": 10}]),
                }
            ]
        if self.kind == "unknown":
            said["oee"] = {"unknown": draw.choice(["exclude", "down", "hold"])}
        return said

    def _say(self, at: int, name: str | None, payload: Values, topic: str = "telemetry") -> None:
        self.seq += 1
        place = f"factory/line1/{name}/" if name else "factory/line1/"
        stream = "edge-1.a1" if topic == "telemetry" else "alerts-1.b2"
        self.events.append(
            (at, {"topic": place + topic, "payload": {"timestamp": text_of(at), "stream": stream, "seq": self.seq, **payload}})
        )

    def _machine(self, name: str) -> None:
        draw, settings = self.draw, self.lines["line1"]["devices"][name]
        counter = self.profiles["p"]["signals"]["total_count"]["counter"]
        modulus = counter.get("modulus", 1 << 16)
        cycle = settings.get("ideal_cycle_s", 2)
        every = draw.choice([10_000, 60_000, 300_000]) if self.kind != "calendar" else draw.choice([120_000, 300_000, 900_000])
        total, second, state = draw.randrange(modulus), draw.randrange(modulus), draw.choice([0, 1, 1])
        at = self.start + draw.choice([0, 0, 17_345, 900_000])
        separate = draw.random() < 0.3
        while at < self.start + self.length:
            readings: Values = {"run_status": state}
            made = draw.choice([0, 1]) * every / 1000 / cycle * draw.uniform(0.5, 1.1) if state == 1 else draw.choice([0, 0, 0, 1])
            made = round(made)
            bad = draw.choice([0, 0, 0, 1, made // 10])
            total = (total + made) % modulus
            second = (second + bad) % modulus
            quality: Values = {}
            if self.kind == "counters" and draw.random() < 0.1:
                total, second = draw.choice([(0, 0), (draw.randrange(modulus), second), (total, draw.randrange(modulus))])
            if not separate or draw.random() < 0.3:
                readings |= {"total_count": total, "second_count": second}
            payload: Values = {"readings": readings}
            if self.kind in ("unknown", "counters", "states") and draw.random() < 0.06:
                gone = draw.choice(list(readings))
                quality[gone] = draw.choice(["bad", "uncertain"])
                if quality[gone] == "bad":
                    del readings[gone]
                payload["quality"] = quality
            if draw.random() < 0.8:
                payload["hold_s"] = draw.choice([15, 60, 600])
            if self.kind == "unknown" and draw.random() < 0.03:
                self._dark(name, at)
                at += draw.choice([5, 20]) * MINUTE
            self._say(at, name, payload)
            if draw.random() < 0.25:
                state = draw.choice([1, 1, 1, 0, 2, 3, 4, 5, 6, 7, *([17] if self.kind == "states" else [])])
            at += max(1, round(every * draw.choice([1, 1, 1, 0.3, 2, 4])))
            if draw.random() < 0.02:
                at += draw.choice([11, 70]) * MINUTE
        self._say(at, name, {"readings": {"run_status": state}, "hold_s": 60})
        self._say(at + 1000, name, {"readings": {"run_status": state, "total_count": total, "second_count": second}})

    def _dark(self, name: str, at: int) -> None:
        bad = dict.fromkeys(self.profiles["p"]["signals"], "bad")
        self._say(at - 1500, name, {"readings": {}, "quality": bad, "unreachable": True})
        for minute in range(1, self.draw.randint(1, 5)):
            self._say(at - 1500 + minute * MINUTE, name, {"readings": {}, "unreachable": True})

    def _instant(self) -> int:
        return self.start + round(self.draw.random() * self.length / 1000) * 1000

    def _enter(self, kind: str, values: Values, name: str | None = "M1", entry_id: str | None = None, version: int = 1) -> None:
        at = self.start + self.length - MINUTE + self.draw.randrange(MINUTE)
        payload: Values = {"id": entry_id or f"{kind}-{self.seq}", "kind": kind, "version": version}
        if kind != "withdrawal":
            payload["values"] = values
        self._say(at, name, payload, "context/event")

    def _correct(self, kind: str, values: Values, other: Values, name: str | None = "M1") -> None:
        """Enters it, now and then twice, or takes it back."""
        entry_id = f"{kind}-{self.seq}"
        self._enter(kind, values, name, entry_id)
        if self.draw.random() < 0.3:
            self._enter(*self.draw.choice([(kind, other), ("withdrawal", {})]), name, entry_id, version=2)

    def _reasons(self) -> None:
        self.reasons = {
            "mechanical": {
                "title": "M",
                "leaf": "unplanned_stop",
                "children": {"jam": {"title": "J"}, "broken": {"title": "B", "failure": True}},
            },
            "planned": {"title": "P", "leaf": "planned_stop"},
            "setup": {"title": "S", "leaf": "setup"},
            "no-order": {"title": "N", "leaf": "unscheduled"},
            "plain": {"title": "plain"},
        }
        paths = ["mechanical/jam", "mechanical/broken", "mechanical", "planned", "setup", "no-order", "plain"]
        for _ in range(self.draw.randint(1, 5)):
            start = self._instant()
            end = start + self.draw.choice([1000, 60_000, 600_000, 1_800_000])
            action = self.draw.choice(["choose", "choose", "split", "merge"])
            values: Values = {"action": action, "start": text_of(start), "end": text_of(end), "reason": self.draw.choice(paths)}
            if action == "choose" and self.draw.random() < 0.3:
                del values["end"]
            self._correct("reason", values, {**values, "reason": self.draw.choice(paths)}, self.draw.choice(["M1", "M1", None]))

    def _orders(self) -> None:
        draw = self.draw
        self.products = {
            "small": {"machines": {"M1": {"ideal_cycle_s": 0.9}}},
            "twin": {"machines": {"M1": {"ideal_cycle_s": 2, "parts": 3}}},
            "other": {"title": "of no machine"},
        }
        times = sorted(self._instant() for _ in range(draw.randint(1, 6)))
        for number, at in enumerate(times):
            order = "o1"
            action = "start" if number == 0 else draw.choice(["pause", "resume", "end"])
            values: Values = {"action": action, "order": order, "at": text_of(at)}
            if action == "start":
                values["product"] = draw.choice(["small", "twin", "other", "never-heard-of"])
                if draw.random() < 0.3:
                    values["ideal_cycle"] = {"parts": draw.choice([1, 3]), "seconds": draw.choice([1.5, 7])}
            self._correct("order", values, {**values, "at": text_of(at + 5000)}, draw.choice(["M1", "M1", None]))

    def _quality(self) -> None:
        draw = self.draw
        for _ in range(draw.randint(1, 4)):
            start = self._instant()
            values: Values = {"count": draw.choice([1, 3, 17, -2]), "start": text_of(start)}
            if draw.random() < 0.7:
                values["end"] = text_of(start + draw.choice([0, 60_000, 1_800_000, 7_200_000]))
            if draw.random() < 0.1:
                values = {"count": 4}
            name = draw.choice(list(self.lines["line1"]["devices"]))
            self._correct(draw.choice(["scrap", "scrap", "rework"]), values, {**values, "count": 5}, name)

    def write(self, folder: Path) -> None:
        (folder / "profiles").mkdir(exist_ok=True)
        plant = {"root": "factory", "time_zone": str(self.zone), "lines": self.lines}
        files = {"plant": plant, "calendar": self.calendar, **{f"profiles/{name}": said for name, said in self.profiles.items()}}
        if self.reasons:
            files["reasons"] = {"reasons": self.reasons}
        if self.products:
            files["products"] = {"products": self.products}
        for name, said in files.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
        events = sorted(self.events, key=lambda event: (event[0], event[1]["payload"]["seq"]))
        (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for _, event in events), encoding="utf-8")
