"""What ships in config/ works: every profile, every rule, every shift."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_contract.plant import PlantModel, load_alert_rules, load_calendar, load_plant, load_reasons

CONFIG = Path(__file__).resolve().parents[2] / "config"
PROFILES = sorted(path.stem for path in (CONFIG / "profiles").glob("*.yaml"))


@pytest.fixture(scope="module")
def plant() -> PlantModel:
    return load_plant(CONFIG)


def test_the_sample_plant_loads(plant: PlantModel) -> None:
    assert len(plant.lines) >= 2
    assert len(plant.devices) >= 12
    assert len({plant.profile_of(device).asset_class for device in plant.devices}) >= 6


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_loaded_and_every_demo_profile_is_used(plant: PlantModel, name: str) -> None:
    """Profiles of real devices wait for a plant that has one; tests/gateway simulates and reads each."""
    assert name in plant.profiles, f"profiles/{name}.yaml is not loaded"
    used = any(device.profile == name for device in plant.devices.values())
    assert used == name.startswith("demo-"), f"profile {name}: demo profiles are those that the sample plant uses"
    assert plant.profiles[name].signals


def test_every_alert_rule_applies_to_a_device(plant: PlantModel) -> None:
    rules = load_alert_rules(CONFIG, plant)
    assert rules
    idle = [name for name, rule in rules.items() if not rule.is_of_platform and not rule.devices(plant)]
    assert not idle, f"alerts.yaml: no device matches {idle}"


def test_calendar_and_reasons_load(plant: PlantModel) -> None:
    assert load_calendar(CONFIG, plant).shifts
    assert load_reasons(CONFIG).reasons
