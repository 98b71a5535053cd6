from __future__ import annotations

import pytest

from millrace_gateway.probe import Decoding, candidates

from .device_bytes import encode_number, encode_text


def around(payload: bytes) -> dict[int, bytes]:
    """The registers from 99, 100 and 101 on, where `payload` stands at 100."""
    memory = b"\x12\x34" + payload + b"\xab\xcd\x43\x21\x00\x07\x55\xaa"
    return {99: memory[0:8], 100: memory[2:10], 101: memory[4:12]}


def matching(found: list[Decoding]) -> list[tuple[int, str, str]]:
    return [(each.address, each.type, each.order) for each in found if each.matches]


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
def test_finds_the_order_of_a_float(order: str) -> None:
    found = candidates("holding", around(encode_number("float32", order, 68.7)), "68.7")
    assert matching(found) == [(100, "float32", order)]


def test_finds_a_value_one_address_off() -> None:
    shifted = {address - 1: payload for address, payload in around(encode_number("float32", "CDAB", 68.7)).items()}
    found = candidates("input", shifted, "68.7")
    assert matching(found) == [(99, "float32", "CDAB")]
    assert next(each for each in found if each.matches).profile_line == (
        "my_signal: {table: input, address: 99, type: float32, order: CDAB}"
    )


def test_a_display_rounds() -> None:
    payloads = around(encode_number("float32", "ABCD", 68.6512))
    assert matching(candidates("holding", payloads, "68.7")) == [(100, "float32", "ABCD")]
    assert matching(candidates("holding", payloads, "68.65")) == [(100, "float32", "ABCD")]
    assert matching(candidates("holding", payloads, "68.66")) == []


def test_a_scaled_number_is_found_when_nothing_matches_as_it_stands() -> None:
    found = candidates("holding", around(encode_number("int16", "ABCD", 687) + b"\x99\x99"), "68.7")
    best = next(each for each in found if each.matches)
    assert (best.address, best.type, best.scale) == (100, "int16", 0.1)
    assert best.profile_line.endswith("type: int16, order: ABCD, scale: 0.1}")


def test_every_type_in_every_order_is_listed() -> None:
    found = candidates("holding", around(bytes(4)), None)
    here = {(each.type, each.order) for each in found if each.address == 100 and each.type != "string"}
    assert len(here) == (8 + 5) * 4 + 4
    assert {("float64", "DCBA"), ("bcd32", "CDAB"), ("uint8_low", "ABCD")} <= here
    assert {each.matches for each in found} == {None}


def test_what_is_no_number_has_no_value() -> None:
    found = candidates("holding", {0: bytes.fromhex("7fc0000000000000")}, "5")
    (nan,) = [each for each in found if each.type == "float32" and each.order == "ABCD"]
    assert (nan.value, nan.matches) == (None, False)


def test_text_is_found_in_both_packings() -> None:
    assert matching(candidates("holding", {5: encode_text("BADC", "O1234", 4)}, "O1234")) == [(5, "string", "BADC")]


def test_text_with_one_character_a_register_is_found_as_far_as_it_was_read() -> None:
    low, high = bytes.fromhex("004f 0031 0032 0033"), bytes.fromhex("4f00 3100 3200 3300")
    assert matching(candidates("holding", {5: low}, "O1234")) == [(5, "string_low", "ABCD")]
    assert matching(candidates("holding", {5: high}, "O123")) == [(5, "string_high", "ABCD")]
    assert not matching(candidates("holding", {5: low}, "O124"))


def test_a_device_that_ends_early_is_read_as_far_as_it_goes() -> None:
    found = candidates("holding", {7: b"\x00\x2a"}, "42")
    assert {each.type for each in found} == {"int16", "uint16", "float16", "int8_high", "int8_low", "uint8_high", "uint8_low"}
    assert (7, "uint16", "ABCD") in matching(found)


def test_bits() -> None:
    found = candidates("coil", {3: b"\x01", 4: b"\x00"}, "1")
    assert [(each.address, each.type, each.value, each.matches) for each in found] == [(3, "bit", 1, True), (4, "bit", 0, False)]
