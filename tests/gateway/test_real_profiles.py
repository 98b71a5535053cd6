"""The profiles of real devices: each is loaded, simulated, and read back by the gateway over Modbus; so are the examples that
the makers' manuals and our how-to give."""

from __future__ import annotations

import re
import struct
import textwrap
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.plant import Device, PlantModel, Profile, RegisterSignal, load_plant
from millrace_contract.plant.profile_files import load_profiles
from millrace_contract.testing import free_port
from millrace_gateway.commission import SignalReading, read_device
from millrace_simulator.registers import Raw, reading_of
from millrace_simulator.settings import SimulatorSettings
from millrace_simulator.testing import RunningSimulator
from millrace_simulator.truth import Read, read_truth

pytestmark = pytest.mark.process

StartServer = Callable[..., Any]
"""The fixture device_server: conftest.py has the class; a test module cannot import from there."""

SAMPLE = Path(__file__).parents[2] / "config"
HOW_TO = Path(__file__).parents[2] / "docs" / "write-a-profile.md"
REAL = sorted(
    path.stem
    for path in (SAMPLE / "profiles").glob("*.yaml")
    if not path.stem.startswith("demo-") and "\nmessage:" not in path.read_text()  # test_message_reader.py has those
)
EVERY_TYPE = "every-type"
ACME = "acme-p3"
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")
INTEGERS = ("int16", "uint16", "int32", "uint32", "int64", "uint64")
WIDE = (*INTEGERS, "float16", "float32", "float64", "bcd16", "bcd32", "epoch32", "epoch64")

PUT_TOGETHER = (
    "type: uint48, order: EFABCD",
    "type: int48, minimum: -50, maximum: 50",
    "type: uint64, order: CDABGHEF",
    "type: int32, bit_range: [4, 19], minimum: -50, maximum: 50",
    "type: uint16, sign: magnitude, minimum: -50, maximum: 50",
    "type: uint32, sign: {address: HERE}, minimum: -50, maximum: 50",
    "type: uint16, plus: [{address: HERE, scale: 10_000}], minimum: 0, maximum: 10_000_000",
    "type: clock, registers: 3, layout: YYMMDDhhmmss",
    "type: epoch64, divisor: 1000",
    "type: string, registers: 6, encoding: latin-1, words_swapped: true",
    "type: float64, order: CDAB, wide: true",
)
"""`HERE` is an address behind the value, which the answer must hold, too."""


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
    lines += [f"  put_together_{i}: {{address: {address + 200 + 10 * i}, {keys.replace('HERE', str(address + 200 + 10 * i + 8))}}}"
              for i, keys in enumerate(PUT_TOGETHER)]  # fmt: skip
    head = "title: Every type\nsource: test\nverified: simulator\ngroups: {fast: {interval_s: 1}}\nsignals:\n"
    return head + "\n".join(lines) + "\n"


def acme_p3() -> str:
    """The profile that the how-to starts, with what its table makes of a manual's words."""
    text = HOW_TO.read_text()
    start = re.search(r"^ *```yaml\n( *title: Acme.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^ *\|[^|`]+\| `((?:type|invalid): [^`]+)`", text, re.MULTILINE)
    assert start is not None
    assert len(cells) == 7, cells
    keys = [cell if cell.startswith("type") else f"type: uint16, {cell}" for cell in cells]
    odd = re.findall(r"^\|[^|`]+(?:`[^`]+`)?[^|`]*\| `(\w+: \{address: [^`]+\})`", text, re.MULTILINE)
    assert len(odd) == 15, odd
    rows = "".join(f"  {signal}\n" for signal in odd)
    return (
        textwrap.dedent(start[1]) + rows + "".join(f"  row_{i}: {{address: {100 + 10 * i}, {key}}}\n" for i, key in enumerate(keys))
    )


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
    (config / "profiles" / f"{ACME}.yaml").write_text(acme_p3())
    (config / "calendar.yaml").write_text((SAMPLE / "calendar.yaml").read_text())
    port = free_port()
    devices = "".join(
        f"      {name}: {{profile: {name}, connection: {{host: 127.0.0.1, port: {port}, unit: {unit}, timeout_s: 5}}}}\n"
        for unit, name in enumerate([*REAL, EVERY_TYPE, ACME], 1)
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


@pytest.fixture(scope="module")
def profiles() -> dict[str, Profile]:
    return load_profiles(SAMPLE / "profiles")[0]


def test_there_are_at_least_fifteen() -> None:
    assert len(REAL) >= 15


@pytest.mark.parametrize("name", [*REAL, EVERY_TYPE, ACME])
def test_a_profile_is_served_and_read_back_to_the_digit(played: Played, name: str) -> None:
    profile = played.plant.profiles[name]
    assert [reading.signal for reading in played.read[name]] == list(profile.signals)
    for reading in played.read[name]:
        expected = [reading_of(profile.register_signals[reading.signal], raw) for raw in played.served[name][reading.signal]]
        assert reading.value in expected, f"{reading.signal} is {reading.value!r} ({reading.reason}), served was {expected}"
        assert reading.quality == "good", f"{reading.signal}: {reading.reason}"


@pytest.mark.parametrize("name", REAL)
def test_a_profile_says_where_it_comes_from(profiles: dict[str, Profile], name: str) -> None:
    profile = profiles[name]
    assert profile.verified == "simulator"
    assert profile.vendor
    assert profile.model
    assert profile.source.startswith((profile.vendor.split()[0], "SunSpec"))
    assert "reads_served" not in profile.signals
    _, _, second = profile.source.partition("; ")
    assert any(word in second for word in ("agree", "no second list")), "names no second list, nor says that there is none"


@dataclass(frozen=True)
class Example:
    """A request and its answer as a maker's manual prints them (RTU without the CRC), and what the manual says that they mean."""

    profile: str
    request: str
    answer: str
    means: dict[str, float]


EXAMPLES = (
    # SDM630 Modbus protocol (the SDM320Y manual repeats it, p. 42): 230.2 V.
    Example("eastron-sdm630", "01 04 0000 0002", "01 04 04 4366 3334", {"voltage_l1": 230.2}),
    # PZEM-014/016 manual, section 2.3: 220.0 V, 1.000 A, 220.0 W, 0 Wh, 50.0 Hz, 1.00.
    Example("peacefair-pzem-016", "01 04 0000 000A", "01 04 14 0898 03E8 0000 0898 0000 0000 0000 01F4 0064 0000",
            {"voltage": 220, "current": 1, "active_power": 220, "energy": 0, "frequency": 50, "power_factor": 1}),
    # E5_C communications manual H175, p. 4-9: 100.0 degrees.
    Example("omron-e5cc", "01 03 0000 0002", "01 03 04 0000 03E8", {"process_value": 100}),
    # EZ-ZONE communications manual, chapter 2, p. 13: 75.0 degrees stand as 0000 4296 in 2160 and 2161.
    Example("watlow-ez-zone-pm", "01 03 0870 0002", "01 03 04 0000 4296", {"setpoint": 75}),
    # ATV320 Modbus manual, p. 19: 4 kHz, 60 Hz, 50 Hz, 0 Hz.
    Example("schneider-atv320", "02 03 0C1E 0004", "02 03 08 0028 0258 01F4 0000",
            {"switching_frequency": 4, "maximum_frequency": 60, "high_speed": 50, "low_speed": 0}),
    # DVP10MC11T manual, p. A-7: D0 is 1, D1 is 2.
    Example("delta-dvp", "01 03 1000 0002", "01 03 04 0001 0002", {"word_d0": 1, "word_d1": 2}),
    # BC9000 documentation, p. 74: the first two words of the inputs are 0038 and 3F0B hex.
    Example("beckhoff-bk9050", "01 04 0000 0002", "01 04 04 0038 3F0B", {"input_word_0": 56, "input_word_1": 16_139}),
    # WAGO 750 manuals, internal variables: the constants.
    Example("wago-750-352", "01 03 2002 0001", "01 03 02 1234", {"constant_1234": 0x1234}),
)  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.profile)
def test_an_example_of_the_manual_reads_as_the_manual_says(
    profiles: dict[str, Profile],
    device_server: StartServer,
    make_device: Callable[..., Device],
    example: Example,
) -> None:
    unit, function, start, _ = struct.unpack(">BBHH", bytes.fromhex(example.request))
    data = bytes.fromhex(example.answer)[3:]
    table = {3: "holding", 4: "input"}[function]
    server = device_server()
    words = struct.unpack(f">{len(data) // 2}H", data)
    server.registers = {(table, start + index): word for index, word in enumerate(words)}
    wanted = _only(profiles[example.profile], example.means)
    readings, fault = read_device(make_device(server.port, unit=unit, timeout_s=5), wanted)
    assert fault is None
    assert {reading.signal: reading.value for reading in readings} == pytest.approx(example.means)
    assert all(request.table == table for request in server.requests)


def _only(profile: Profile, names: dict[str, float]) -> Profile:
    return profile.model_copy(update={"signals": {name: profile.register_signals[name] for name in names}})


POWER = -2
"""What every scale register holds below."""


def known(signal: RegisterSignal, number: int) -> float | str:
    """A raw value that no other signal of the profile has, and that another order of bytes or words would change."""
    if signal.is_text:
        return f"T{number}"
    if signal.type == "bit":
        return number % 2
    if signal.type.startswith("float"):
        return number + 0.25
    if "int8" in signal.type:
        return number + 1
    whole = {"16": 0x1200, "32": 0x0102_0300, "64": 0x0102_0304_0506_0700}[signal.type[-2:]] + number
    return whole if signal.type.startswith("u") else -whole


def encoded(signal: RegisterSignal, raw: float | str) -> dict[int, int]:
    """The registers, or the bit, of this raw value; written apart from the simulator's encoder, and from the gateway's decoder."""
    if signal.type == "bit":
        return {signal.address: int(raw)}
    if isinstance(raw, str):
        high = [ord(letter) << (0 if signal.type == "string_low" else 8) for letter in raw.ljust(2 * signal.registers, "\0")]
        pairs = zip(high[0::2], high[1::2], strict=True)
        words = [a | b >> 8 for a, b in pairs] if signal.type == "string" else high[: signal.registers]
    elif signal.type.startswith("float"):
        letter = {"float32": "f", "float64": "d"}[signal.type]
        words = list(struct.unpack(f">{signal.registers}H", struct.pack(f">{letter}", raw)))
    elif signal.type == "uint8_high":
        words = [int(raw) << 8]
    else:
        number = int(raw) % 2 ** (16 * signal.registers)
        words = [number >> 16 * (signal.registers - 1 - index) & 0xFFFF for index in range(signal.registers)]
    if signal.order == "CDAB" and not signal.is_text:
        words.reverse()
    return {signal.address + index: word for index, word in enumerate(words)}


@pytest.mark.parametrize("name", REAL)
def test_a_known_value_of_every_signal_arrives(
    profiles: dict[str, Profile], device_server: StartServer, make_device: Callable[..., Device], name: str
) -> None:
    profile = profiles[name]
    server = device_server()
    image: dict[tuple[str, int], int] = defaultdict(int)
    expected: dict[str, float | str] = {}
    for number, signal in enumerate(profile.register_signals.values()):
        if signal.bit is not None:
            continue
        raw = known(signal, number)
        expected[signal.name] = raw if isinstance(raw, str) else raw * signal.scale / signal.divisor + signal.offset
        for address, word in encoded(signal, raw).items():
            image[signal.table, address] |= word
        if signal.scale_register is not None:
            expected[signal.name] = float(raw) * 10**POWER
            image[signal.table, signal.scale_register] = POWER & 0xFFFF
    for signal in profile.register_signals.values():
        if signal.bit is not None:
            expected[signal.name] = image[signal.table, signal.address] >> signal.bit & 1
    server.registers = dict(image)
    readings, fault = read_device(make_device(server.port, timeout_s=5), profile)
    assert fault is None
    for reading in readings:
        assert reading.quality == "good", f"{reading.signal}: {reading.reason}"
        wanted = expected[reading.signal]
        assert reading.value == (wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=1e-9)), reading.signal
