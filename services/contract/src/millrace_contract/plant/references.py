"""Reference numbers, as manuals write addresses: a digit for the table, then a number from 1. 40011 is holding register 10."""

from __future__ import annotations

from typing import Final

TABLES: Final = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
_BASES: Final = {table: 10_000 * int(digit) + 1 for digit, table in TABLES.items() if digit != "0"}
"""Where the five-digit numbers of a table begin. Those of coils are too small to be told from addresses."""


def meant_address(table: str, address: int | None) -> int | None:
    """The address that was probably meant where a reference number stands in its place, or None where the address is plausible."""
    base = _BASES.get(table)
    if base is None or address is None or not base <= address < base + 9_999:
        return None
    return address - base
