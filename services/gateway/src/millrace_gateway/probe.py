"""Which type and order is it? An address and its neighbours decoded in every way, beside the value that a person expects. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .registers import BYTE_TYPES, NUMBER_TYPES, ORDERS, TEXT_BYTES, NotBcd, NotText, Value, decode_number, decode_text

OTHER_SCALES: Final = (0.1, 0.01, 0.001, 10.0, 100.0)
TEXT_REGISTERS: Final = 4
SHORTEST_TEXT: Final = 3
"""Fewer characters than this are more often a number that happens to look like text."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """One reading of an address. `matches` is None where nothing was expected; `scale` is 1 unless another one makes it match."""

    table: str
    address: int
    type: str
    order: str
    value: Value | None
    matches: bool | None
    scale: float = 1.0

    @property
    def profile_line(self) -> str:
        """To paste into a profile."""
        order = f", order: {self.order}" if self.type != "bit" else ""
        scale = f", scale: {self.scale:g}" if self.scale != 1 else ""
        size = f", registers: {TEXT_REGISTERS}" if self.type in TEXT_BYTES else ""
        return f"my_signal: {{table: {self.table}, address: {self.address}, type: {self.type}{order}{scale}{size}}}"


def candidates(table: str, payloads: Mapping[int, bytes], expected: str | None) -> list[Decoding]:
    """Every reading of every address, in order of address, type, order.

    payloads: the registers' bytes from each address on (four registers, or as many as the device has), or one byte of bits.
    expected: the value as a person reads it on the machine. When nothing matches as it stands, common scales are tried.
    """
    found = [
        Decoding(table, address, type_name, order, value, None if expected is None else _matches(value, expected, 1.0))
        for address, payload in sorted(payloads.items())
        for type_name, order, value in _readings(table, payload)
    ]
    if expected is None or any(each.matches for each in found):
        return found
    return [_rescaled(each, expected) for each in found]


def _readings(table: str, payload: bytes) -> Iterator[tuple[str, str, Value | None]]:
    if table in ("coil", "discrete"):
        yield "bit", "ABCD", payload[0] & 1
        return
    for type_name, (_, registers) in NUMBER_TYPES.items():
        if len(payload) >= 2 * registers:
            for order in ORDERS:
                try:
                    number = decode_number(type_name, order, payload[: 2 * registers])
                except NotBcd:
                    continue
                yield type_name, order, number if math.isfinite(number) else None
    for type_name in BYTE_TYPES:
        yield type_name, "ABCD", decode_number(type_name, "ABCD", payload[:2])
    for type_name, order in (("string", "ABCD"), ("string", "BADC"), ("string_high", "ABCD"), ("string_low", "ABCD")):
        try:
            text = decode_text(order, payload[: 2 * TEXT_REGISTERS], type_name)
        except NotText:
            continue
        if len(text) >= SHORTEST_TEXT:
            yield type_name, order, text


def _rescaled(candidate: Decoding, expected: str) -> Decoding:
    for scale in OTHER_SCALES:
        if not candidate.type.startswith("float") and _matches(candidate.value, expected, scale):
            return Decoding(
                candidate.table, candidate.address, candidate.type, candidate.order, candidate.value, matches=True, scale=scale
            )
    return candidate


def _matches(value: Value | None, expected: str, scale: float) -> bool:
    """Within half a unit of the last digit that the person gave: a display shows 68.7 for 68.6999."""
    if isinstance(value, str):  # A long text was read as far as TEXT_REGISTERS go.
        return value == expected or (len(value) >= TEXT_REGISTERS and expected.startswith(value))
    if value is None:
        return False
    try:
        wanted = float(expected)
    except ValueError:
        return False
    _, _, decimals = expected.lower().partition("e")[0].partition(".")
    tolerance = 0.5 * 10.0 ** -len(decimals) if "e" not in expected.lower() else abs(wanted) * 1e-6
    return abs(value * scale - wanted) <= tolerance * (1 + 1e-9)
