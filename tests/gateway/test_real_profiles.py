"""The profiles of real devices: each is loaded, simulated, and read back by the gateway over Modbus."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from millrace_contract.plant import PlantModel, Profile, load_plant
from millrace_contract.testing import free_port
from millrace_gateway.commission import SignalReading, read_device
from millrace_simulator.registers import Raw, reading_of
from millrace_simulator.settings import SimulatorSettings
from millrace_simulator.testing import RunningSimulator
from millrace_simulator.truth import Read, read_truth

SAMPLE = Path(__file__).parents[2] / "config"
REAL = sorted(path.stem for path in (SAMPLE / "profiles").glob("*.yaml") if not path.stem.startswith("demo-"))
EVERY_TYPE = "every-type"
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
INTEGERS = ("int16", "uint16", "int32", "uint32", "int64", "uint64")
WIDE = (*INTEGERS, "float16", "float32", "float64", "bcd16", "bcd32", "epoch32", "epoch64")


def every_type() -> str:
    """A profile with each type in each order, bytes that share a register, text in both packings, and named bits."""
    lines, address = [], 0
    for name in WIDE:
        for order in ORDERS:
            low = "" if name.startswith(("u", "b", "e")) else ", minimum: -50, maximum: 50"
            lines.append(f"  {name}_{order.lower()}: {{address: {address}, type: {name}, order: {order}{low}}}")
            address += 4
    lines += [f"  {name}: {{address: {address}, type: {name}}}" for name in ("int8_high", "uint8_low")]
    lines += [f"  text_{order.lower()}: {{address: {address + 10 + 8 * i}, type: string, registers: 8, order: {order}}}"
              for i, order in enumerate(("ABCD", "BADC"))]  # fmt: skip
    for i, name in enumerate(("string_high", "string_low")):
        lines.append(f"  {name}: {{address: {address + 60 + 16 * i}, type: {name}, registers: 16, order: BADC}}")
    lines += [f"  power_{name}_{order.lower()}: {{address: {address + 100 + 5 * i}, type: {name}, order: {order}, "
              f"scale_register: {address + 100 + 5 * i + 4}, minimum: -500, maximum: 500}}"
              for i, (name, order) in enumerate(product(("int16", "int32", "int64"), ORDERS))]  # fmt: skip
    lines.append(f"  word: {{address: {address + 40}, type: uint32, order: CDAB, bits: {{0: ready, 17: fault, 31: door_open}}}}")
    head = "title: Every type\nsource: test\nverified: simulator\ngroups: {fast: {interval_s: 1}}\nsignals:\n"
    return head + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Played:
    """What the gateway read of each profile, and every raw value that the simulator says it served."""

    plant: PlantModel
    read: dict[str, list[SignalReading]]
    served: dict[str, dict[str, list[Raw]]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("real")
    config = folder / "config"
    (config / "profiles").mkdir(parents=True)
    for path in (SAMPLE / "profiles").glob("*.yaml"):
        (config / "profiles" / path.name).write_text(path.read_text())
    (config / "profiles" / f"{EVERY_TYPE}.yaml").write_text(every_type())
    (config / "calendar.yaml").write_text((SAMPLE / "calendar.yaml").read_text())
    port = free_port()
    devices = "".join(
        f"      {name}: {{profile: {name}, connection: {{host: 127.0.0.1, port: {port}, unit: {unit}, timeout_s: 5}}}}\n"
        for unit, name in enumerate([*REAL, EVERY_TYPE], 1)
    )
    (config / "plant.yaml").write_text(f"root: factory\ntime_zone: UTC\nlines:\n  line1:\n    devices:\n{devices}")
    simulator = RunningSimulator(SimulatorSettings(config=config, data=folder / "data", http_port=free_port()))
    plant = load_plant(config, {})
    simulator.start()
    try:
        read = {device.id: read_device(device, plant.profile_of(device.id))[0] for device in plant.devices.values()}
    finally:
        simulator.stop()
    served: dict[str, dict[str, list[Raw]]] = defaultdict(lambda: defaultdict(list))
    for record in read_truth(folder / "data" / "truth"):
        if isinstance(record, Read):
            for name, raw in record.raw.items():
                served[record.device][name].append(raw)
    return Played(plant, read, served)


def test_there_are_at_least_fifteen() -> None:
    assert len(REAL) >= 15


@pytest.mark.parametrize("name", [*REAL, EVERY_TYPE])
def test_a_profile_is_served_and_read_back_to_the_digit(played: Played, name: str) -> None:
    profile = played.plant.profiles[name]
    assert [reading.signal for reading in played.read[name]] == list(profile.signals)
    for reading in played.read[name]:
        expected = [reading_of(profile.signals[reading.signal], raw) for raw in played.served[name][reading.signal]]
        assert reading.value in expected, f"{reading.signal} is {reading.value!r} ({reading.reason}), served was {expected}"
        assert reading.quality == "good", f"{reading.signal}: {reading.reason}"


@pytest.mark.parametrize("name", REAL)
def test_a_profile_says_where_it_comes_from(played: Played, name: str) -> None:
    profile: Profile = played.plant.profiles[name]
    assert profile.verified == "simulator"
    assert profile.vendor
    assert profile.model
    assert profile.source.startswith((profile.vendor.split()[0], "SunSpec"))
    assert "reads_served" not in profile.signals
