from __future__ import annotations

import math
import struct
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace_contract.plant import RegisterSignal
from millrace_gateway import registers
from millrace_gateway.decoder import BlockDecoder, Snapshot
from millrace_gateway.registers import BCD_TYPES, EPOCH_TYPES, FLOAT_TYPES, NUMBER_TYPES, ORDERS

from .device_bytes import encode_bits, encode_number, encode_text


def signal(name: str, address: int, type_name: str, **more: Any) -> RegisterSignal:
    return RegisterSignal.model_validate({"name": name, "address": address, "type": type_name, **more})


def decode(signals: list[RegisterSignal], payload: bytes, address: int = 0, count: int | None = None) -> Snapshot:
    snapshot = Snapshot()
    BlockDecoder(address, len(payload) // 2 if count is None else count, signals).decode(payload, snapshot)
    return snapshot


def test_gaps_and_mixed_orders_in_one_block() -> None:
    signals = [
        signal("speed", 100, "uint16"),
        signal("temperature", 103, "float32", order="CDAB"),
        signal("energy", 105, "float64", order="DCBA"),
        signal("program", 110, "string", registers=3, order="BADC"),
    ]
    payload = (
        struct.pack(">H4x", 1500)
        + encode_number("float32", "CDAB", 68.5)
        + encode_number("float64", "DCBA", 1234.5)
        + bytes(2)
        + encode_text("BADC", "O1234", 3)
        + bytes(2)
    )
    snapshot = decode(signals, payload, address=100)
    assert snapshot.readings == {"speed": 1500, "temperature": 68.5, "energy": 1234.5, "program": "O1234"}
    assert snapshot.quality == {}


@pytest.mark.parametrize(
    ("type_name", "raw", "scaling", "reading"),
    [
        ("int16", 2301, {"scale": 0.1}, 230.1),  # 2301 * 0.1 is 230.10000000000002
        ("int16", -3, {"scale": 0.1}, -0.3),
        ("int16", 687, {"scale": 0.1, "offset": -40.0}, 28.7),
        ("uint16", 9, {"scale": -0.1, "offset": 1}, 0.1),  # 1 - 9 * 0.1 is 0.09999999999999998
        ("uint16", 1, {"scale": -1, "offset": 1}, 0),
        ("int16", 7, {"scale": -0.001}, -0.007),
        ("uint16", 3, {"scale": 1e-7}, 3e-7),
        ("uint16", 3, {"scale": 1e-20, "offset": 1e-20}, 4e-20),
        ("uint16", 13_824, {"scale": 100, "divisor": 27_648}, 50),
        ("uint16", 1, {"divisor": 3}, 1 / 3),
        ("uint16", 2301, {"divisor": 10}, 230.1),
        ("uint64", 2**63 + 1, {"scale": 0.1}, 922337203685477580.9),
        ("bcd16", 0x2301, {"scale": 0.1}, 230.1),
        ("float64", 2301.0, {"scale": 0.1}, 230.1),
        ("float64", 0.5, {"scale": -0.2, "offset": 0.4}, 0.3),
        ("float32", 1.5, {"offset": 0.1}, 1.6),
    ],
)
def test_a_scale_means_the_decimal_number_that_was_written(
    type_name: str, raw: float, scaling: dict[str, float], reading: float
) -> None:
    payload = struct.pack(">" + NUMBER_TYPES[type_name].code, raw)
    for limits in ({}, {"minimum": -1e30, "maximum": 1e30}):
        assert decode([signal("x", 0, type_name, **scaling, **limits)], payload).readings == {"x": reading}


@given(
    raw=st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    scale=st.decimals(-1000, 1000, places=5).filter(bool),
    divisor=st.sampled_from([1, 3, 10, 0.5, 27_648]),
    offset=st.decimals(-1000, 1000, places=3),
)
def test_a_scaled_reading_is_the_float_nearest_to_the_exact_one(
    raw: float, scale: Decimal, divisor: float, offset: Decimal
) -> None:
    type_name = "int32" if isinstance(raw, int) else "float64"
    it = signal("x", 0, type_name, scale=float(scale), divisor=divisor, offset=float(offset))
    payload = struct.pack(">" + NUMBER_TYPES[type_name].code, raw)
    exact = Fraction(raw) * Fraction(scale) / Fraction(str(divisor)) + Fraction(offset)
    if abs(exact) < 1e308:
        assert decode([it], payload).readings == {"x": float(exact)}


@pytest.mark.parametrize("wrong", [{"scale": 0}, {"divisor": 0}, {"scale": 1e40}, {"scale": math.inf}, {"offset": math.nan}])
def test_a_scale_that_makes_no_reading_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"makes no reading|finite number"):
        signal("x", 0, "int16", **wrong)


def test_bits_of_one_register_and_the_register_itself() -> None:
    signals = [
        signal("overload", 20, "uint16", bit=3),
        signal("coolant_low", 20, "uint16", bit=15),
        signal("status_word", 20, "uint16"),
    ]
    snapshot = decode(signals, struct.pack(">H", 0b1000_0000_0000_0001), address=20)
    assert snapshot.readings == {"overload": 0, "coolant_low": 1, "status_word": 0b1000_0000_0000_0001}


def test_coils_beyond_a_byte() -> None:
    signals = [signal(f"bit{i}", 5 + i, "bit", table="discrete") for i in (0, 7, 8, 12)]
    snapshot = decode(signals, encode_bits([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]), address=5, count=13)
    assert snapshot.readings == {"bit0": 1, "bit7": 0, "bit8": 1, "bit12": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_bad_and_spoils_no_neighbour(value: float) -> None:
    signals = [signal("left", 0, "float32"), signal("broken", 2, "float32"), signal("right", 4, "float32")]
    snapshot = decode(signals, struct.pack(">fff", 1.5, value, 2.5))
    assert snapshot.readings == {"left": 1.5, "right": 2.5}
    assert snapshot.quality == {"broken": "bad"}
    assert "no number" in snapshot.reasons["broken"]


def test_huge_numbers_whose_sum_overflows_are_still_numbers() -> None:
    signals = [signal("a", 0, "float64"), signal("b", 4, "float64")]
    assert decode(signals, struct.pack(">dd", 1.7e308, 1.7e308)).readings == {"a": 1.7e308, "b": 1.7e308}


def test_a_scale_that_overflows_is_bad() -> None:
    snapshot = decode([signal("a", 0, "float64", scale=10.0)], struct.pack(">d", 1.7e308))
    assert (snapshot.readings, snapshot.quality) == ({}, {"a": "bad"})


@pytest.mark.parametrize(("raw", "good"), [(-400, True), (-401, False), (1200, True), (1201, False), (-32768, False)])
def test_outside_its_limits_a_signal_is_bad(raw: int, good: bool) -> None:
    snapshot = decode([signal("t", 0, "int16", scale=0.1, minimum=-40, maximum=120)], struct.pack(">h", raw))
    assert (snapshot.readings == {"t": raw / 10}) is good
    assert snapshot.quality == ({} if good else {"t": "bad"})


def test_text_that_is_no_text_is_bad() -> None:
    snapshot = decode([signal("program", 0, "string", registers=2)], b"\xff\xfe\xfd\xfc")
    assert (snapshot.readings, snapshot.quality) == ({}, {"program": "bad"})


FINITE = {
    16: st.floats(width=16, allow_nan=False, allow_infinity=False),
    32: st.floats(width=32, allow_nan=False, allow_infinity=False),
    64: st.floats(allow_nan=False, allow_infinity=False),
}


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[RegisterSignal], dict[str, registers.Number], bytes]:
    """Signals of random types and orders with gaps, their values, and the payload that holds them."""
    signals, values, payload, address = [], {}, b"", 7
    for index in range(draw(st.integers(1, 20))):
        type_name = draw(st.sampled_from(sorted(NUMBER_TYPES.keys() - EPOCH_TYPES)))
        order = draw(st.sampled_from(sorted(ORDERS)))
        gap = draw(st.integers(0, 3)) if index else 0
        scale = draw(st.sampled_from([1.0, 0.5]))
        width = 16 * NUMBER_TYPES[type_name].registers
        if type_name in FLOAT_TYPES:
            raw: registers.Number = draw(FINITE[width])
        elif type_name in BCD_TYPES:
            raw = draw(st.integers(0, int("9" * (width // 4))))
        else:
            low, high = (0, 2**width - 1) if type_name.startswith("u") else (-(2 ** (width - 1)), 2 ** (width - 1) - 1)
            raw = draw(st.integers(low, high))
        payload += b"\xaa\x55" * gap + encode_number(type_name, order, raw)
        address += gap
        signals.append(signal(f"s{index}", address, type_name, order=order, scale=scale))
        address += NUMBER_TYPES[type_name].registers
        values[f"s{index}"] = raw if scale == 1.0 else raw * scale
    return signals, values, payload


@given(layouts())
def test_a_compiled_block_agrees_with_decoding_one_by_one(
    layout: tuple[list[RegisterSignal], dict[str, registers.Number], bytes],
) -> None:
    signals, values, payload = layout
    snapshot = decode(signals, payload, address=7)
    assert snapshot.readings == values
    assert snapshot.quality == {}


def test_bytes_of_a_register_digits_and_half_floats() -> None:
    signals = [
        signal("level", 0, "uint8_high"),
        signal("trim", 0, "int8_low", order="DCBA"),
        signal("batch", 1, "bcd32", order="CDAB"),
        signal("ratio", 3, "float16"),
        signal("torque", 4, "int8_high", scale=0.5),
    ]
    payload = bytes.fromhex("c8fe 5678 1234") + struct.pack(">e", 1.5) + bytes.fromhex("9c00")
    assert decode(signals, payload).readings == {"level": 200, "trim": -2, "batch": 12345678, "ratio": 1.5, "torque": -50.0}


@pytest.mark.parametrize(("type_name", "payload"), [("string_high", "4f00 3100 3200 0000"), ("string_low", "004f 2031 ff32 0000")])
@pytest.mark.parametrize("order", ["ABCD", "DCBA"])
def test_text_with_one_character_a_register(type_name: str, payload: str, order: str) -> None:
    program = signal("program", 0, type_name, registers=4, order=order)
    assert decode([program], bytes.fromhex(payload)).readings == {"program": "O12"}


@pytest.mark.parametrize(
    ("raw", "power", "reading"),
    [(2301, -1, 230.1), (2301, 0, 2301), (-5, 2, -500), (1, -10, 1e-10), (-1, -1, -0.1), (7, -3, 0.007)],
)
@pytest.mark.parametrize("order", sorted(ORDERS))
def test_a_power_of_ten_from_another_register(raw: int, power: int, reading: float, order: str) -> None:
    """SunSpec's integer models: the value at 40072 - 1, its scale factor at 40076 - 1."""
    signals = [signal("voltage", 40071, "int16", order=order, scale_register=40075), signal("next", 40076, "uint16", order=order)]
    words = [(raw, 0, 0, 0, power, 7)]
    payload = b"".join(struct.pack("<h" if order in registers.LOW_BYTE_FIRST else ">h", word) for word in words[0])
    snapshot = decode(signals, payload, address=40071)
    assert snapshot.readings == {"voltage": reading, "next": 7}
    assert type(snapshot.readings["voltage"]) is type(reading)


def test_a_power_of_ten_before_its_value_and_a_scale_of_the_profile_on_top() -> None:
    energy = signal(
        "energy", 1, "uint32", order="CDAB", scale_register=0, scale=0.001, offset=5.0, unit="kW.h", counter={"max_rate_per_s": 5}
    )
    assert decode([energy], struct.pack(">hHH", 2, 12, 1)).readings == {"energy": 6559.8}


@pytest.mark.parametrize(
    ("raw", "power", "why"),
    [(-32768, -1, "mark for no value"), (100, -32768, "the power of ten holds -32768"), (100, 11, "the power of ten holds 11")],
)
def test_no_value_or_no_power_of_ten_is_bad(raw: int, power: int, why: str) -> None:
    current = signal("current", 0, "int16", scale_register=1, invalid=[0x8000])
    snapshot = decode([current], struct.pack(">hh", raw, power))
    assert (snapshot.readings, snapshot.quality) == ({}, {"current": "bad"})
    assert why in snapshot.reasons["current"]


def test_digits_that_are_no_digits_are_bad() -> None:
    snapshot = decode([signal("batch", 0, "bcd16")], bytes.fromhex("12a4"))
    assert (snapshot.readings, snapshot.quality) == ({}, {"batch": "bad"})
    assert "0x12a4, which is no BCD number" in snapshot.reasons["batch"]


@pytest.mark.parametrize(
    ("type_name", "invalid", "payload"),
    [
        ("int16", 0x8000, "8000"),
        ("int16", -32768, "8000"),
        ("uint16", 0xFFFF, "ffff"),
        ("int8_high", 0x80, "8000"),
        ("int32", 0x80000000, "80000000"),
        ("int64", 0x8000000000000000, "8000000000000000"),
        ("uint64", 0xFFFFFFFFFFFFFFFF, "ffffffffffffffff"),
        ("float32", -9999.9, struct.pack(">f", -9999.9).hex()),
        ("bcd16", 0xEEEE, "eeee"),
    ],
)
def test_the_devices_mark_for_no_value_is_bad(type_name: str, invalid: float, payload: str) -> None:
    marked = signal("t", 0, type_name, invalid=[invalid])
    snapshot = decode([marked], bytes.fromhex(payload))
    assert (snapshot.readings, snapshot.quality) == ({}, {"t": "bad"})
    assert "mark for no value" in snapshot.reasons["t"]
    assert decode([marked], bytes(2 * marked.registers)).readings == {"t": 0}


@pytest.mark.parametrize(("seconds", "good"), [(1_760_535_902, True), (0, False), (4_200_000_000, False)])
def test_a_clock_that_is_not_set_is_bad(seconds: int, good: bool) -> None:
    snapshot = decode([signal("at", 0, "epoch32")], struct.pack(">I", seconds))
    assert snapshot.readings == ({"at": seconds} if good else {})


def test_named_bits_are_signals_beside_their_field(make_profile: Any) -> None:
    status = {"address": 0, "type": "uint32", "order": "CDAB", "bits": {0: "ready", 17: "fault"}}
    profile = make_profile({"status_word": status})
    assert list(profile.signals) == ["status_word", "ready", "fault"]
    snapshot = decode(list(profile.signals.values()), bytes.fromhex("0000 0002"))
    assert snapshot.readings == {"status_word": 0x20000, "ready": 0, "fault": 1}
