"""Values that are put together, byte by byte as devices send them; the simulator, which knows no decoder, writes them, too."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace_contract.plant import RegisterSignal
from millrace_gateway.decoder import BlockDecoder, Snapshot
from millrace_simulator.registers import placed, raw_of, reading_of

AT = 100
JULY = 1_783_161_296
"""2026-07-04 10:34:56 UTC."""


def signal(type_name: str, **keys: Any) -> RegisterSignal:
    return RegisterSignal.model_validate({"name": "it", "address": AT, "type": type_name, "group": "all", **keys})


def decode(it: RegisterSignal, payload: bytes) -> Snapshot:
    snapshot = Snapshot()
    BlockDecoder(it.first, len(payload) // 2, [it]).decode(payload, snapshot)
    return snapshot


def served(it: RegisterSignal, raw: float | str) -> bytes:
    """The answer of a simulated machine to a read of the whole signal."""
    words = dict(placed(it, raw))
    return struct.pack(f">{it.end - it.first}H", *(words.get(at, 0) for at in range(it.first, it.end)))


MODULO_10000 = [{"address": 101, "scale": 10_000}, {"address": 102, "scale": 100_000_000}, {"address": 103, "scale": 10**12}]
GOLDEN: list[tuple[str, str, dict[str, Any], str, float | str]] = [
    # Schneider PM800 and kin: four registers of 0 to 9999 each, the lowest first: 4567 + 123 * 10,000 + 89 * 10**8.
    ("modulo 10,000", "uint16", {"plus": MODULO_10000}, "11d7 007b 0059 0000", 8_901_234_567),
    ("modulo 10,000, W.h as kW.h", "uint16", {"plus": MODULO_10000[:1], "scale": 0.001}, "11d7 007b", 1_234.567),
    ("sign and magnitude", "uint16", {"sign": "magnitude", "scale": 0.1}, "8019", -2.5),
    ("sign and magnitude, above 0", "uint16", {"sign": "magnitude", "scale": 0.1}, "0019", 2.5),
    ("sign and magnitude, swapped", "uint32", {"sign": "magnitude", "order": "CDAB"}, "0005 8001", -65_541),
    ("minus nothing", "uint16", {"sign": "magnitude"}, "8000", 0),
    ("a sign of its own", "uint32", {"sign": {"address": 102}}, "0001 0002 0001", -65_538),
    ("a sign of its own, plus", "uint32", {"sign": {"address": 102}}, "0001 0002 0000", 65_538),
    ("a sign before its value", "uint16", {"sign": {"address": 99, "positive": 1, "negative": 2}}, "0002 0007", -7),
    ("24 bits", "uint32", {"bit_range": [0, 23]}, "ab12 3456", 0x123456),
    ("24 bits with a sign", "int32", {"bit_range": [0, 23], "order": "CDAB"}, "fffe abff", -2),
    ("48 bits", "uint48", {}, "1234 5678 9abc", 0x123456789ABC),
    ("48 bits, low word first", "uint48", {"order": "CDAB"}, "9abc 5678 1234", 0x123456789ABC),
    ("48 bits with a sign, swapped bytes", "int48", {"order": "DCBA"}, "feff ffff ffff", -2),
    ("48 bits, the middle word last", "uint48", {"order": "ABEFCD"}, "1234 9abc 5678", 0x123456789ABC),
    ("64 bits, the halves swapped", "uint64", {"order": "EFGHABCD"}, "89ab cdef 0123 4567", 0x0123456789ABCDEF),
    ("64 bits, words swapped in each half", "uint64", {"order": "CDABGHEF"}, "4567 0123 cdef 89ab", 0x0123456789ABCDEF),
    ("a float64 with its halves swapped", "float64", {"order": "EFGHABCD"}, "0000 0000 4093 4a00", 1234.5),
    ("a range of bits", "uint16", {"bit_range": [4, 7]}, "abcd", 0xC),
    ("a range of bits with a sign", "int16", {"bit_range": [4, 7], "scale": 0.5}, "abcd", -2),
    ("a state in a range of bits", "uint16", {"bit_range": [8, 10], "values": {3: "running"}}, "0b00", 3),
    ("MW.h and kW.h", "uint32", {"plus": [{"address": 102, "type": "uint32", "scale": 1000}]}, "0000 00fa 0000 0003", 3_250),
    ("hours and minutes", "uint16", {"plus": [{"address": 101, "divisor": 60}]}, "0007 000f", 7.25),
    ("hours and a third", "uint16", {"plus": [{"address": 101, "divisor": 60}], "divisor": 10}, "0001 0014", 4 / 30),
    ("a sum not side by side", "uint16", {"plus": [{"address": 103, "scale": 65_536}]}, "0005 ffff ffff 0002", 131_077),
    ("a float and a register", "float32", {"plus": [{"address": 102, "scale": 0.1}]}, "3fc0 0000 0001", 1.6),
    ("BCD and BCD", "bcd16", {"plus": [{"address": 101, "type": "bcd16", "scale": 10_000}]}, "5678 1234", 12_345_678),
    ("a BCD clock", "clock", {"registers": 3, "layout": "YYMMDDhhmmss"}, "2607 0410 3456", JULY),
    ("a BCD clock, swapped", "clock", {"registers": 3, "layout": "YYMMDDhhmmss", "order": "BADC"}, "0726 1004 5634", JULY),
    ("six registers", "clock", {"registers": 6, "layout": "YYYY--MM--DD--hh--mm--ss", "encoding": "binary"},
     "07ea 0007 0004 000a 0022 0038", JULY),
    ("a clock an hour ahead", "clock", {"registers": 3, "layout": "YYMMDDhhmmss", "offset": -3600}, "2607 0411 3456", JULY),
    ("milliseconds", "epoch64", {"divisor": 1000}, "0000 019f 2cb2 14fb", 1_783_161_296.123),
    ("seconds since 2000", "epoch32", {"offset": 946_684_800}, "31db 9e50", JULY),
    ("seconds, halves in order", "epoch32", {"order": "BADC"}, "496a e090", 0x6A4990E0),
    ("Latin-1", "string", {"registers": 3, "encoding": "latin-1"}, "4dfc 6c6c 6572", "Müller"),
    ("UTF-8", "string", {"registers": 4}, "4dc3 bc6c 6c65 7200", "Müller"),
    ("padded with FF", "string", {"registers": 4}, "4f31 32ff ffff ffff", "O12"),
    ("padded with spaces and FF", "string", {"registers": 4}, "4f31 3220 20ff ffff", "O12"),
    ("words swapped", "string", {"registers": 4, "words_swapped": True}, "4344 4142 4748 4546", "ABCDEFGH"),
    ("words and bytes swapped", "string", {"registers": 2, "words_swapped": True, "order": "BADC"}, "4443 4241", "ABCD"),
]  # fmt: skip


@pytest.mark.parametrize(("type_name", "keys", "sent", "reading"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_it_is_put_together_from_these_bytes(type_name: str, keys: dict[str, Any], sent: str, reading: float | str) -> None:
    it = signal(type_name, **keys)
    snapshot = decode(it, bytes.fromhex(sent))
    assert snapshot.readings == {"it": reading}, snapshot.reasons
    assert snapshot.quality == {}


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("uint16", {"sign": {"address": 101}}, "0005 0007", "the register of the sign holds 7"),
    ("uint16", {"plus": MODULO_10000[:1], "invalid": [0x8000]}, "8000 0001", "mark for no value"),
    ("int32", {"bit_range": [0, 23], "invalid": [0x800000]}, "0080 0000", "mark for no value"),
    ("clock", {"registers": 3, "layout": "YYMMDDhhmmss"}, "0000 0000 0000", "no date and time"),
    ("clock", {"registers": 3, "layout": "YYMMDDhhmmss"}, "260a 0410 3456", "no BCD number"),
    ("float32", {"plus": [{"address": 102}]}, "7fc0 0000 0001", "no number"),
    ("bcd16", {"plus": [{"address": 101, "type": "bcd16"}]}, "0001 000a", "no BCD number"),
    ("string", {"registers": 2}, "0000 0000", "empty text"),
    ("string", {"registers": 2}, "ffff ffff", "empty text"),
    ("string", {"registers": 2}, "2020 2020", "empty text"),
    ("string", {"registers": 2}, "4dfc 6c6c", "no UTF-8 text; encoding: latin-1"),
    ("epoch64", {"divisor": 1000}, "0000 0000 0000 0000", "no time"),
]


@pytest.mark.parametrize(("type_name", "keys", "sent", "why"), BAD)
def test_what_cannot_be_put_together_is_bad(type_name: str, keys: dict[str, Any], sent: str, why: str) -> None:
    snapshot = decode(signal(type_name, **keys), bytes.fromhex(sent))
    assert (snapshot.readings, snapshot.quality) == ({}, {"it": "bad"})
    assert why in snapshot.reasons["it"]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("int16", {"sign": "magnitude"}, "take an unsigned type"),
    ("float32", {"sign": {"address": 102}}, "take an unsigned type"),
    ("uint16", {"sign": {"address": 101, "positive": 1}}, "positive and negative are both 1"),
    ("uint16", {"bit_range": [4, 16]}, "none of uint16: the lower bit first, 0 to 15"),
    ("uint16", {"bit_range": [7, 4]}, "the lower bit first"),
    ("float32", {"bit_range": [0, 7]}, "bits of a whole number"),
    ("uint64", {"order": "ABCDEFGG"}, "ABCDEFGH in any order"),
    ("uint32", {"order": "ABCDEFGH"}, "ABCD in any order"),
    ("string", {"registers": 2, "order": "DACB"}, "it is ABCD, CDAB, BADC or DCBA"),
    ("string", {"registers": 3, "words_swapped": True}, "even number of registers"),
    ("uint32", {"words_swapped": True}, "a number has an order"),
    ("string", {"registers": 3, "encoding": "bcd"}, "text is utf-8 or latin-1"),
    ("uint16", {"encoding": "latin-1"}, "text is utf-8 or latin-1"),
    ("clock", {"registers": 3, "layout": "YYMMDDhhmmzz"}, "two characters for each byte"),
    ("clock", {"registers": 3, "layout": "YYMMhhmmss--"}, "has no DD"),
    ("clock", {"registers": 4, "layout": "YYMMDDhhmmss"}, "write registers: 3"),
    ("clock", {"registers": 3, "layout": "YYMMDDhhmmss", "scale": 2}, "a clock has no scale"),
    ("uint16", {"layout": "YYMMDDhhmmss"}, "uint16 has none"),
    ("uint16", {"plus": [{"address": 101, "type": "string"}]}, "string cannot be added"),
    ("uint16", {"plus": [{"address": 101}], "values": {1: "on"}}, "neither sign nor plus"),
    ("uint16", {"plus": [{"address": 101}], "scale_register": 102}, "without scale_register"),
    ("uint16", {"normal": [5, 5]}, "the lower end comes first"),
    ("uint16", {"normal": [0, 5], "values": {1: "on"}}, "a state has no normal range"),
]


@pytest.mark.parametrize(("type_name", "keys", "why"), REFUSED)
def test_what_makes_no_sense_is_refused_in_words(type_name: str, keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why.replace("(", r"\(")):
        signal(type_name, **keys)


SHAPES: list[tuple[str, dict[str, Any]]] = [
    *((row[1], row[2]) for row in GOLDEN if row[1] not in ("string", "clock", "epoch32", "epoch64") and "values" not in row[2]),
    ("uint64", {"order": "HGFEDCBA", "sign": "magnitude"}),
    ("int16", {"order": "BADC", "bit_range": [3, 12]}),
    ("uint48", {"order": "BADC", "scale_register": 110}),
]


@given(shape=st.sampled_from(SHAPES), quantity=st.floats(-1e10, 1e10) | st.integers(-70_000, 70_000))
def test_what_a_simulated_machine_holds_is_read_back(shape: tuple[str, dict[str, Any]], quantity: float) -> None:
    it = signal(shape[0], **shape[1])
    raw = raw_of(it, quantity)
    assert decode(it, served(it, raw)).readings == {"it": reading_of(it, raw)}


@given(
    layout=st.sampled_from(["YYMMDDhhmmss", "ss--mmhhDDMMYY--", "YYYY--MM--DD--hh--mm--ss"]),
    order=st.sampled_from(["ABCD", "BADC"]),
    encoding=st.sampled_from(["bcd", "binary"]),
    seconds=st.integers(946_684_801, 4_102_444_799),
)
def test_a_clock_is_read_back(layout: str, order: str, encoding: str, seconds: int) -> None:
    it = signal("clock", registers=len(layout) // 4, layout=layout, order=order, encoding=encoding)
    assert decode(it, served(it, seconds)).readings == {"it": seconds}


def test_it_lies_in_the_middle_of_a_larger_answer() -> None:
    it = signal("uint16", plus=MODULO_10000)
    snapshot = Snapshot()
    plain = RegisterSignal.model_validate({"name": "next", "address": 105, "type": "float32", "order": "CDAB"})
    payload = bytes.fromhex("ffff ffff 11d7 007b 0059 0000 ffff 0000 3fc0 ffff")
    BlockDecoder(98, 10, [it, plain]).decode(payload, snapshot)
    assert snapshot.readings == {"it": 8_901_234_567, "next": 1.5}
