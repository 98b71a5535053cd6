"""What a signal says of itself beside its registers: what people read, how many decimals, what kind it is, what is normal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from millrace_contract.plant import RegisterSignal
from millrace_contract.plant.profile_files import load_profiles

SAMPLE = Path(__file__).parents[2] / "config" / "profiles"


def signal(name: str = "it", **keys: Any) -> RegisterSignal:
    return RegisterSignal.model_validate({"name": name, "address": 10, "type": "uint16", **keys})


@pytest.mark.parametrize(
    ("name", "keys", "label"),
    [
        ("spindle_temperature", {}, "Spindle temperature"),
        ("voltage_l1", {}, "Voltage L1"),
        ("dc_bus_voltage", {}, "DC bus voltage"),
        ("input_x001", {}, "Input X001"),
        ("stage_1_pressure", {}, "Stage 1 pressure"),
        ("sunspec_model", {"title": "SunSpec model"}, "SunSpec model"),
    ],
)
def test_people_read_its_title_or_its_name_in_words(name: str, keys: dict[str, Any], label: str) -> None:
    assert signal(name, **keys).label == label


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({}, "gauge"),
        ({"counter": {"max_rate_per_s": 5}}, "counter"),
        ({"values": {1: "on"}}, "state"),
        ({"bit": 3}, "bit"),
        ({"type": "bit", "table": "coil"}, "bit"),
        ({"bits": {0: "ready"}}, "bits"),
        ({"type": "string", "registers": 4}, "text"),
        ({"type": "epoch32"}, "time"),
        ({"type": "clock", "registers": 3, "layout": "YYMMDDhhmmss"}, "time"),
    ],
)
def test_its_kind_follows_from_what_the_profile_says(keys: dict[str, Any], kind: str) -> None:
    assert signal(**keys).kind == kind


@pytest.mark.parametrize(
    ("keys", "decimals"),
    [
        ({}, 0),
        ({"scale": 0.1}, 1),
        ({"scale": 2.5}, 1),
        ({"scale": 10}, 0),
        ({"divisor": 1000}, 3),
        ({"scale": 0.1, "offset": 0.05}, 2),
        ({"scale": 100, "divisor": 27_648}, None),
        ({"type": "float32"}, None),
        ({"type": "float32", "decimals": 2}, 2),
        ({"scale": 0.001, "decimals": 1}, 1),
        ({"values": {1: "on"}}, None),
    ],
)
def test_its_decimals_are_given_or_those_of_its_scale(keys: dict[str, Any], decimals: int | None) -> None:
    assert signal(**keys).shown_decimals == decimals


def test_one_end_of_the_normal_range_may_be_open() -> None:
    assert signal(normal=[None, 85]).normal == (None, 85)
    with pytest.raises(ValidationError, match="a bit has no decimals"):
        signal(bit=1, decimals=2)


def test_a_shipped_profile_says_how_its_readings_are_shown() -> None:
    profiles, _ = load_profiles(SAMPLE)
    assert len(profiles) == len(list(SAMPLE.glob("*.yaml")))
    for profile in profiles.values():
        for each in profile.signals.values():
            where = f"{profile.name}: {each.name}"
            assert each.label, where
            assert each.kind not in ("gauge", "counter") or each.shown_decimals is not None, where
            assert each.unit not in ("kW.h", "W.h") or each.kind == "counter", where
