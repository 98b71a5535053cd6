"""The sample plant's bearing, as it is simulated and as the shipped rules see it: weeks ahead, days ahead, the trip, the repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_alerts.lifecycle import LearnAnew
from millrace_alerts.memories import DriftMemory
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.telemetry import decode_telemetry, encode_telemetry
from millrace_contract.language.words import EventCause, MachineState
from millrace_contract.plant import load_calendar
from millrace_simulator.bearing import REPAIR, TRIP, Bearing
from millrace_simulator.devices import build_machine
from millrace_simulator.image import Image
from millrace_simulator.kinds import CNC
from millrace_simulator.registers import reading_of

SAMPLE = Path(__file__).parents[2] / "config"
DEVICE = "CNC-02"
SUMMER_MS = 1_780_000_000_000  # 2026-05-28
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STEP_MS = 600_000
"""As coarse as roll-ups: a live plant has 600 readings where this has one, whose noise is the greater."""
RULES = ("spindle-wear", "bearing-wear", "spindle-tripped")
SIGNALS = ("spindle_speed", "vibration", "vibration_trip")


@pytest.mark.long
def test_a_bearing_is_seen_weeks_before_it_trips_and_learnt_anew_after_its_repair() -> None:
    configuration = load_configuration(SAMPLE)
    plant, calendar = configuration.plant, load_calendar(SAMPLE, configuration.plant)
    profile = plant.profile_of(DEVICE)
    machine, image = build_machine(plant, calendar, plant.devices[DEVICE], seed=1), Image(profile)
    assert CNC.bearing is not None
    trip_ms = Bearing(CNC.bearing, machine.seed).next_trip_ms(SUMMER_MS)
    new_ms, repaired_ms = trip_ms - 50 * DAY_MS, trip_ms + 6 * HOUR_MS
    watch = Watch(plant, watched_rules(plant, {name: configuration.rules[name] for name in RULES}), Saved())
    told: list[tuple[str, EventCause, int]] = []
    stops: list[tuple[MachineState, str]] = []
    machine.begin(new_ms)
    for seq, at_ms in enumerate(range(new_ms, trip_ms + 9 * DAY_MS, STEP_MS), 1):
        stops += [(each.state, each.reason) for each in machine.advance(at_ms) if each.reason in {TRIP, REPAIR}]
        if at_ms - STEP_MS < repaired_ms <= at_ms:
            watch.command(f"spindle-wear.{DEVICE}", LearnAnew(), at_ms, actor="maria", comment="new bearing")
        raw = image.signals(machine, at_ms, list(SIGNALS))
        readings = {name: reading_of(profile.register_signals[name], value) for name, value in raw.items()}
        payload = encode_telemetry(
            device_id=DEVICE, timestamp_ms=at_ms, readings={name: value for name, value in readings.items() if value is not None},
            quality={}, tags={}, stream="edge-1.a", seq=seq, prev=seq - 1, hold_s=STEP_MS / 1000,
        )  # fmt: skip
        made = watch.telemetry(DEVICE, decode_telemetry(payload, at_ms, DEVICE))
        told += [(each.alert.rule, each.cause, each.source_ms) for each in made]

    def days_before(rule: str) -> list[float]:
        """When the rule was raised, counted back from the trip."""
        return [(trip_ms - at_ms) / DAY_MS for each, cause, at_ms in told if (each, cause) == (rule, EventCause.CONDITION)]

    assert stops == [(MachineState.ABORTED, TRIP), (MachineState.STOPPED, REPAIR)]
    (wear,), (limit,), (tripped,) = map(days_before, RULES)
    assert 7 < wear < 21
    assert 1 < limit < wear
    assert 0 >= tripped > -1 / 24
    memory = watch.alerts[f"spindle-wear.{DEVICE}"].memory
    assert isinstance(memory, DriftMemory)
    assert memory.version == 2
    assert memory.baseline is not None
    assert memory.baseline.mean == pytest.approx(1.3, rel=0.1)
    assert not any(alert.facts.in_alarm for alert in watch.alerts.values())
