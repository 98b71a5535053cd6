"""Values in registers, in every type and order, against the gateway's decoder and pymodbus': three programs that must agree."""

from __future__ import annotations

import math
import struct
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.plant import Calendar, DeviceLimits, PlantModel, Profile, RegisterSignal, ValueType, WordOrder
from millrace_contract.plant.register_types import TEXTS
from millrace_gateway.registers import decode_number, decode_text
from millrace_simulator.frames import Function, ModbusError, ModbusRequest
from millrace_simulator.image import Image
from millrace_simulator.kinds import OTHER
from millrace_simulator.machine import SimulatedMachine
from millrace_simulator.registers import raw_of, reading_of, registers_of
from millrace_simulator.schedule import Schedule

from .device_reader import decode

NUMBERS = sorted(set(get_args(ValueType)) - {"bit", "int48", "uint48", "clock", *TEXTS})
"""Those that the gateway's `decode_number` knows; the rest is put together: test_composed.py."""
ORDERS = get_args(WordOrder)


def signal_of(kind: str, order: str = "ABCD", **figures: object) -> RegisterSignal:
    return RegisterSignal.model_validate({"name": "it", "address": 10, "type": kind, "order": order, "group": "all", **figures})


def payload(registers: list[int]) -> bytes:
    return struct.pack(f">{len(registers)}H", *registers)


@given(kind=st.sampled_from(NUMBERS), order=st.sampled_from(ORDERS), quantity=st.floats(-1e12, 1e12) | st.integers(-70_000, 70_000))
def test_the_gateway_decodes_what_a_machine_holds(kind: str, order: str, quantity: float) -> None:
    if kind == "float16":
        quantity = math.fmod(quantity, 60_000)
    signal = signal_of(kind, order)
    raw = raw_of(signal, quantity)
    assert not isinstance(raw, str)
    registers = registers_of(signal, raw)
    assert len(registers) == signal.registers
    assert decode_number(kind, order, payload(registers)) == raw


@given(
    order=st.sampled_from(ORDERS), quantity=st.floats(-1e12, 1e12), kind=st.sampled_from(["int32", "uint64", "float32", "float64"])
)
def test_pymodbus_decodes_it_too(kind: str, order: str, quantity: float) -> None:
    signal = signal_of(kind, order)
    raw = raw_of(signal, quantity)
    assert decode(signal, registers_of(signal, raw)) == raw


@pytest.mark.parametrize(
    ("order", "registers"),
    [("ABCD", [0x4148, 0xF5C3]), ("CDAB", [0xF5C3, 0x4148]), ("BADC", [0x4841, 0xC3F5]), ("DCBA", [0xC3F5, 0x4841])],
)
def test_orders_are_those_of_the_manuals(order: str, registers: list[int]) -> None:
    """12.56 as IEEE 754 is 41 48 F5 C3."""
    signal = signal_of("float32", order)
    assert registers_of(signal, raw_of(signal, 12.56)) == registers


@given(
    kind=st.sampled_from(sorted(TEXTS)),
    order=st.sampled_from(ORDERS),
    text=st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=20),
)
def test_text_is_cut_at_a_whole_character_and_reads_back(kind: str, order: str, text: str) -> None:
    signal = signal_of(kind, order, registers=6)
    raw = raw_of(signal, text)
    assert isinstance(raw, str)
    assert text.startswith(raw)
    assert decode_text(order, payload(registers_of(signal, raw)), kind) == raw.strip()


@pytest.mark.parametrize(
    ("kind", "quantity", "raw"),
    [
        ("uint16", 70_000, 65_535),
        ("int16", -40_000, -32_768),
        ("bcd16", 12_345, 9_999),
        ("uint8_low", -1, 0),
        ("uint64", 1e30, 2**64 - 1),
    ],
)
def test_what_does_not_fit_is_cut_to_the_types_range(kind: str, quantity: float, raw: int) -> None:
    assert raw_of(signal_of(kind), quantity) == raw


def test_counters_wrap_at_their_modulus_or_their_types() -> None:
    assert raw_of(signal_of("uint16", counter={"modulus": 10_000, "max_rate_per_s": 5}), 12_345) == 2_345
    assert raw_of(signal_of("uint16", counter={"max_rate_per_s": 5}), 65_536 + 7) == 7
    assert raw_of(signal_of("int32", counter={"max_rate_per_s": 5}), 2**31 + 7) == 7
    assert raw_of(signal_of("bcd16", counter={"max_rate_per_s": 5}), 10_003) == 3


def test_the_modulus_of_a_counter_is_in_the_unit_of_its_readings() -> None:
    energy = signal_of("uint32", scale=0.01, counter={"modulus": 100_000, "max_rate_per_s": 5})
    assert reading_of(energy, raw_of(energy, 100_012.5)) == 12.5


@given(quantity=st.floats(-250, 450), scale=st.sampled_from([0.1, 0.01, 0.001, 2.0]), offset=st.sampled_from([0.0, 100.0]))
def test_scales_are_undone_to_half_a_step(quantity: float, scale: float, offset: float) -> None:
    signal = signal_of("int32", scale=scale, offset=offset)
    reading = reading_of(signal, raw_of(signal, quantity))
    assert isinstance(reading, float)
    assert abs(reading - quantity) <= abs(scale) * 0.500001


def test_limits_and_marks_make_no_reading() -> None:
    assert reading_of(signal_of("int16", minimum=0), -1) is None
    assert reading_of(signal_of("int16", invalid=[0x8000]), -32_768) is None
    assert reading_of(signal_of("float32"), math.inf) is None


@pytest.fixture
def idle_machine(plant: PlantModel, calendar: Calendar) -> SimulatedMachine:
    machine = SimulatedMachine("ACME-01", OTHER, Schedule(calendar, "line1", plant.zone), 1, cycle_s=1.0)
    machine.begin(1_760_000_000_000)
    return machine


MAP = Profile.model_validate(
    {
        "name": "acme",
        "title": "",
        "source": "",
        "verified": "",
        "groups": {"all": {"interval_s": 1}},
        "limits": DeviceLimits(max_registers=10, max_gap=2),
        "signals": {
            "word": {"address": 100, "type": "uint16", "bits": {0: "door", 9: "lamp"}},
            "high": {"address": 101, "type": "uint8_high", "minimum": 200, "maximum": 210},
            "low": {"address": 101, "type": "uint8_low", "minimum": 100, "maximum": 110},
            "clock": {"address": 104, "type": "epoch32"},
            "far": {"address": 120, "type": "int16"},
        },
    }
)


def asked(address: int, count: int, function: int = Function.READ_HOLDING_REGISTERS) -> ModbusRequest:
    return ModbusRequest(1, 1, function, address, count)


def test_a_field_of_named_bits_says_what_its_bits_say(idle_machine: SimulatedMachine) -> None:
    seen = set()
    for second in range(60):
        answer = Image(MAP).read(asked(100, 2), idle_machine, second * 7_000, 0)
        assert answer.raw["word"] == answer.words[0] == int(answer.raw["door"]) + (int(answer.raw["lamp"]) << 9)
        assert answer.words[1] == (int(answer.raw["high"]) << 8) + int(answer.raw["low"])
        seen.add(answer.raw["word"])
    assert seen == {0, 1, 512, 513}


def test_a_clock_that_jumps_shows_in_the_registers_and_nowhere_else(idle_machine: SimulatedMachine) -> None:
    now_ms, image = 1_760_000_010_000, Image(MAP)
    before = image.read(asked(100, 6), idle_machine, now_ms, 0).raw
    assert before["clock"] == now_ms // 1000
    idle_machine.move_clock(now_ms, by_ms=-3_600_000)
    assert image.read(asked(100, 6), idle_machine, now_ms, 0).raw == before | {"clock": now_ms // 1000 - 3_600}


@pytest.mark.parametrize(
    ("address", "count", "code"), [(100, 6, None), (99, 2, 2), (105, 2, 2), (106, 1, 2), (120, 1, None), (100, 11, 3), (119, 2, 2)]
)
def test_gaps_may_be_read_across_and_the_rest_not(
    idle_machine: SimulatedMachine, address: int, count: int, code: int | None
) -> None:
    image = Image(MAP)
    if code is None:
        assert len(image.read(asked(address, count), idle_machine, 0, 0).words) == count
        return
    with pytest.raises(ModbusError) as refused:
        image.read(asked(address, count), idle_machine, 0, 0)
    assert refused.value.code == code


def test_half_a_value_is_served_but_is_no_value(idle_machine: SimulatedMachine) -> None:
    answer = Image(MAP).read(asked(104, 1), idle_machine, 1_760_000_000_000, 0)
    assert answer.words == [1_760_000_000 >> 16]
    assert answer.raw == {}
