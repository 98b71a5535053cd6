from __future__ import annotations

import math
import struct
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from millrace_gateway import registers
from millrace_gateway.registers import BCD_TYPES, EPOCH_TYPES, FLOAT_TYPES, NUMBER_TYPES, ORDERS

from .device_bytes import encode_bits, encode_number, encode_text

ORDER_NAMES = sorted(ORDERS)
# What a manual prints for 12345.678 as a 32-bit float and 305419896 as a 32-bit integer, in the four orders.
GOLDEN = [
    ("float32", "ABCD", "4640 e6b6"),
    ("float32", "CDAB", "e6b6 4640"),
    ("float32", "BADC", "4046 b6e6"),
    ("float32", "DCBA", "b6e6 4046"),
    ("uint32", "ABCD", "1234 5678"),
    ("uint32", "CDAB", "5678 1234"),
    ("uint32", "BADC", "3412 7856"),
    ("uint32", "DCBA", "7856 3412"),
    ("int16", "ABCD", "fffe"),
    ("int16", "CDAB", "fffe"),
    ("int16", "BADC", "feff"),
    ("int16", "DCBA", "feff"),
    ("uint64", "ABCD", "0123 4567 89ab cdef"),
    ("uint64", "CDAB", "cdef 89ab 4567 0123"),
    ("uint64", "BADC", "2301 6745 ab89 efcd"),
    ("uint64", "DCBA", "efcd ab89 6745 2301"),
]
GOLDEN_VALUES = {"float32": 12345.677734375, "uint32": 0x12345678, "int16": -2, "uint64": 0x0123456789ABCDEF}


@pytest.mark.parametrize(("type_name", "order", "words"), GOLDEN)
def test_decodes_what_a_manual_prints(type_name: str, order: str, words: str) -> None:
    payload = bytes.fromhex(words)
    assert registers.decode_number(type_name, order, payload) == GOLDEN_VALUES[type_name]
    assert encode_number(type_name, order, GOLDEN_VALUES[type_name]) == payload


FLOATS = {16: st.floats(width=16, allow_nan=False), 32: st.floats(width=32, allow_nan=False), 64: st.floats(allow_nan=False)}


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, registers.Number]:
    type_name = draw(st.sampled_from(sorted(NUMBER_TYPES)))
    bits = 16 * NUMBER_TYPES[type_name].registers
    if type_name in FLOAT_TYPES:
        return type_name, draw(FLOATS[bits])
    if type_name in BCD_TYPES:
        return type_name, draw(st.integers(0, int("9" * (bits // 4))))
    low, high = (
        (0, 2**bits - 1) if type_name.startswith("u") or type_name in EPOCH_TYPES else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    return type_name, draw(st.integers(low, high))


@given(numbers(), st.sampled_from(ORDER_NAMES))
def test_a_number_survives_the_round_trip_in_every_order(number: tuple[str, registers.Number], order: str) -> None:
    type_name, value = number
    payload = encode_number(type_name, order, value)
    assert len(payload) == 2 * NUMBER_TYPES[type_name].registers
    assert registers.decode_number(type_name, order, payload) == value


PYMODBUS_KNOWS = {"int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}


@given(numbers().filter(lambda number: number[0] in PYMODBUS_KNOWS), st.sampled_from(["big", "little"]), st.booleans())
def test_agrees_with_pymodbus(number: tuple[str, registers.Number], word_order: Literal["big", "little"], swap: bool) -> None:
    type_name, value = number
    words = ModbusClientMixin.convert_to_registers(
        value, getattr(ModbusClientMixin.DATATYPE, type_name.upper()), word_order=word_order
    )
    payload = struct.pack(f">{len(words)}H", *words)
    if swap:
        payload = registers.swap_bytes(payload)
    order = {("big", False): "ABCD", ("little", False): "CDAB", ("big", True): "BADC", ("little", True): "DCBA"}[word_order, swap]
    assert registers.decode_number(type_name, order, payload) == value


def test_a_float_may_be_no_number() -> None:
    assert math.isnan(registers.decode_number("float32", "ABCD", bytes.fromhex("7fc00000")))
    assert registers.decode_number("float32", "CDAB", bytes.fromhex("00007f80")) == math.inf


def test_text_ends_at_the_first_nul_and_loses_its_padding() -> None:
    assert registers.decode_text("ABCD", b"O1234 \0junk") == "O1234"
    assert registers.decode_text("BADC", registers.swap_bytes(b"O1234 \0junk!")) == "O1234"
    assert registers.decode_text("ABCD", bytes(8)) == ""


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N"]), max_size=8), st.sampled_from(ORDER_NAMES))
def test_text_survives_the_round_trip(text: str, order: str) -> None:
    assert registers.decode_text(order, encode_text(order, text, 16)) == text


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"M\xfcller", b"\x01\x02"])
def test_bytes_that_are_no_text_are_refused(payload: bytes) -> None:
    with pytest.raises(registers.NotText, match="the registers hold"):
        registers.decode_text("ABCD", payload)


def test_text_that_is_too_long_is_not_cut() -> None:
    with pytest.raises(ValueError, match="needs 5 bytes, 2 registers hold 4"):
        encode_text("ABCD", "12345", 2)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=2000))
def test_bits_survive_the_round_trip(bits: list[int]) -> None:
    assert registers.decode_bits(encode_bits(bits), len(bits)) == bits


def test_the_first_bit_is_the_lowest_of_the_first_byte() -> None:
    assert registers.decode_bits(bytes([0b0000_0101, 0b1]), 9) == [1, 0, 1, 0, 0, 0, 0, 0, 1]


def test_words_are_as_a_person_sees_them() -> None:
    assert registers.register_words(bytes.fromhex("0001ffff")) == [1, 65535]
