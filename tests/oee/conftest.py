"""A small plant for OEE tests: line1 has two machines of a generated profile, one hour windows fit round numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace_contract.language.words import MachineState
from millrace_contract.plant import Calendar
from millrace_oee.calendar import LineCalendar, load_zone
from millrace_oee.counts import Baseline
from millrace_oee.history import History, Seed
from millrace_oee.machine import CounterSettings, Machine
from millrace_oee.samples import Sample
from millrace_oee.states import leaves_of

STATES = {0: "stopped", 1: "execute", 2: "held", 3: "suspended", 4: "setup", 5: "idle", 6: "aborted"}
SIGNALS: dict[str, Any] = {
    "run_status": {"address": 10, "type": "uint16", "values": STATES},
    "cycle_count": {"address": 12, "type": "uint16", "counter": {"modulus": 65536, "max_rate_per_s": 5}},
    "defect_count": {"address": 13, "type": "uint16", "counter": {"modulus": 65536, "max_rate_per_s": 5}},
}
EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@pytest.fixture
def make_machine() -> Callable[..., Machine]:
    def make(**changes: Any) -> Machine:
        counters = {
            role: CounterSettings(name, 65536, 5.0) for role, name in (("total", "cycle_count"), ("reject", "defect_count"))
        }
        machine = Machine(
            id="CNC-01",
            line="line1",
            gateway="edge-1",
            measurement="test-cnc",
            state_signal="run_status",
            states={number: MachineState(word) for number, word in STATES.items()},
            leaves=leaves_of({}),
            counters=counters,
            ideal_ns=1_000_000_000,
            micro_ms=120_000,
            stale_ms=5_000,
        )
        return replace(machine, **changes)

    return make


@pytest.fixture
def make_calendar() -> Callable[..., LineCalendar]:
    def make(shifts: dict[str, Any] | None = None, zone: str = "Europe/Berlin", **more: Any) -> LineCalendar:
        shifts = shifts or {"all": {"start": "00:00", "end": "00:00"}}
        filled = {name: {"days": EVERY_DAY, **shift} for name, shift in shifts.items()}
        return LineCalendar(Calendar.model_validate({"shifts": filled, **more}), "line1", load_zone(zone))

    return make


@pytest.fixture
def make_history(make_machine: Callable[..., Machine], make_calendar: Callable[..., LineCalendar]) -> Callable[..., History]:
    def make(
        samples: list[Sample],
        machine: Machine | None = None,
        calendar: LineCalendar | None = None,
        baselines: dict[str, Baseline] | None = None,
    ) -> History:
        history = History(machine or make_machine(), calendar or make_calendar(), 0, Seed(baselines or {}))
        for sample in samples:
            history.add(sample)
        return history

    return make


@pytest.fixture
def plant_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration folder: devices of line1 with their ideal cycle, the shifts and the poll interval."""

    def write(
        devices: dict[str, float | None] | None = None,
        *,
        shifts: dict[str, Any] | None = None,
        zone: str = "UTC",
        interval_s: float = 1.0,
        method: str = "constraint",
        micro_stop_s: float = 120,
        coverage_min: float = 0.9,
        max_rate_per_s: float = 5,
        name: str = "config",
    ) -> Path:
        folder = tmp_path / name
        (folder / "profiles").mkdir(parents=True, exist_ok=True)
        signals = {key: dict(signal) for key, signal in SIGNALS.items()}
        for key in ("cycle_count", "defect_count"):
            signals[key]["counter"] = {"modulus": 65536, "max_rate_per_s": max_rate_per_s}
        profile = {
            "title": "Test CNC",
            "asset_class": "cnc",
            "source": "tests",
            "verified": "simulator",
            "groups": {"fast": {"interval_s": interval_s}},
            "signals": signals,
            "atomic": [["cycle_count", "defect_count"]],
            "oee": {"state": "run_status", "total": "cycle_count", "reject": "defect_count", "leaves": {"idle": "unscheduled"}},
        }
        devices = devices or {"CNC-01": 1.0}
        entries = {
            device: {
                "profile": "test-cnc",
                "connection": {"host": "127.0.0.1", "port": 5020},
                "micro_stop_s": micro_stop_s,
                **({"ideal_cycle_s": ideal} if ideal else {}),
            }
            for device, ideal in devices.items()
        }
        plant = {
            "root": "factory",
            "time_zone": zone,
            "lines": {"line1": {"oee": {"method": method, "coverage_min": coverage_min}, "devices": entries}},
        }
        filled = {k: {"days": EVERY_DAY, **s} for k, s in (shifts or {"day": {"start": "06:00", "end": "14:00"}}).items()}
        (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
        (folder / "profiles" / "test-cnc.yaml").write_text(yaml.safe_dump(profile))
        (folder / "calendar.yaml").write_text(yaml.safe_dump({"shifts": filled}))
        return folder

    return write
