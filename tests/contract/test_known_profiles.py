"""By which profile a reading was made: what an outbox holds is stored under the profile that read it, however late it comes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.known_devices import PROFILES_KEPT, KnownDevice, with_plant
from millrace_contract.runtime.remembered_devices import remember_devices
from millrace_contract.testing import ManualClock

PROFILE = """
title: Machine
source: tests
verified: simulator
groups: {fast: {interval_s: 1}}
signals: {speed: {address: 0, type: uint16}}
"""


@pytest.fixture
def plant_of(tmp_path: Path) -> Callable[[str], PlantModel]:
    """A plant whose one device has this profile."""

    def make(profile: str) -> PlantModel:
        (tmp_path / "profiles").mkdir(exist_ok=True)
        for name in ("mill", "press"):
            (tmp_path / "profiles" / f"{name}.yaml").write_text(PROFILE)
        device = f"{{profile: {profile}, connection: {{host: h}}}}"
        (tmp_path / "plant.yaml").write_text(f"root: factory\ntime_zone: UTC\nlines: {{line1: {{devices: {{M-01: {device}}}}}}}")
        return load_plant(tmp_path)

    return make


def test_a_reading_belongs_to_the_profile_that_was_in_force_when_it_was_made(plant_of: Callable[[str], PlantModel]) -> None:
    known = with_plant({}, plant_of("mill"), 1_000)
    assert (known["M-01"].profiles, known["M-01"].profile_at(0)) == ((), "mill")
    known = with_plant(with_plant(known, plant_of("press"), 5_000), plant_of("press"), 7_000)
    assert [known["M-01"].profile_at(at_ms) for at_ms in (0, 4_999, 5_000, 9_000)] == ["mill", "mill", "press", "press"]
    known = with_plant(known, plant_of("mill"), 6_000)
    assert [known["M-01"].profile_at(at_ms) for at_ms in (4_999, 5_500, 6_000)] == ["mill", "press", "mill"]


def test_a_file_that_is_older_than_the_edit_before_does_not_turn_the_order(plant_of: Callable[[str], PlantModel]) -> None:
    known = with_plant(with_plant({}, plant_of("mill")), plant_of("press"), 5_000)
    known = with_plant(known, plant_of("mill"), 3_000)
    assert [known["M-01"].profile_at(at_ms) for at_ms in (4_999, 5_000)] == ["mill", "mill"]
    for number in range(2 * PROFILES_KEPT):
        known = with_plant(known, plant_of("press" if number % 2 else "mill"), 6_000 + number)
    assert len(known["M-01"].profiles) == PROFILES_KEPT


def test_what_was_kept_before_profiles_had_a_past_is_read_as_it_was(plant_of: Callable[[str], PlantModel], tmp_path: Path) -> None:
    clock = ManualClock()
    (tmp_path / "known-devices.json").write_text('{"M-01": {"profile": "mill", "gateways": ["edge-1"], "lines": ["line1"]}}')
    plant = plant_of("press")  # written after the clock's now: no time of the future is believed
    known = remember_devices(tmp_path, plant, clock=clock)
    assert known["M-01"] == KnownDevice("press", ("edge-1",), ("line1",), ((0, "mill"), (clock.now_ms(), "press")))
    assert remember_devices(tmp_path, plant, clock=clock) == known
