"""The tags of a Modbus device as KEPServerEX exports them (CSV). After Kepware's help on the Modbus Ethernet driver: address
descriptions, data types, tag scaling, and the device's settings on zero-based addressing and data encoding.

The list does not hold the device's settings. Theirs are taken as Kepware sets them: 400001 is address 0, and the first word of a
32-bit value is the low one.
"""

from __future__ import annotations

import re
from typing import Any, Final

from millrace_contract.plant import references
from millrace_contract.plant.register_types import TEXTS

from .columns import plain
from .numbers import StraightLine, line_between, read_number
from .rows import TagRow, rows, yes_or_no, zero_based
from .tags import DeviceTags, Tag, Unclear
from .units import read_unit

FIRST_COLUMNS: Final = ("tag name", "address", "data type", "respect data type")
TYPES: Final = {
    "boolean": "bit", "short": "int16", "word": "uint16", "default": "uint16", "long": "int32", "dword": "uint32",
    "llong": "int64", "qword": "uint64", "float": "float32", "double": "float64", "bcd": "bcd16", "lbcd": "bcd32",
    "string": "string",
}  # fmt: skip
ADDRESS: Final = re.compile(r"(?P<digits>[0134]\d{4,5})(?:\.(?P<bit>\d{1,2}))?")
STRING: Final = re.compile(r"(?P<digits>[34]\d{4,5})\.(?P<length>\d{1,3})(?P<order>[HLhl])?")
UNUSED: Final = ("Respect Data Type", "Client Access", "Scan Rate", "Scaled Data Type")


def looks_like_kepware(text: str) -> bool:
    """The header that Kepware writes."""
    cells = [plain(cell) for cell in text.split("\n", 1)[0].split(",")]
    return tuple(cells[: len(FIRST_COLUMNS)]) == FIRST_COLUMNS


def read_kepware(text: str) -> list[DeviceTags]:
    """The one device whose tags were exported."""
    device = DeviceTags(
        default_order="CDAB", default_order_is="the list does not hold Kepware's First Word Low, which is on unless changed"
    )
    device.note("assumed", 0, "", "400001 is address 0, as with Kepware's Zero-Based Addressing on; it is on unless changed")
    for row in rows(text, ""):
        name = row.cells.get("name", "")
        try:
            device.tags.append(Tag(row.line, name, _keys(row, device)))
        except Unclear as unclear:
            device.refuse(row.line, name, unclear)
    device.unused.update(dict.fromkeys(UNUSED))
    return [device]


def _keys(row: TagRow, device: DeviceTags) -> dict[str, Any]:
    cells = row.cells
    if not cells.get("name"):
        raise Unclear("name", "is empty")
    kind = plain(cells.get("type", "default"))
    if kind not in TYPES:
        raise Unclear("type", f"data type {cells['type']} is more than one value, a byte or a date; a profile has no such type")
    keys = _place(cells.get("address", ""), TYPES[kind])
    if keys["type"] not in TEXTS and "bit" not in keys and keys["type"] != "bit":
        keys.update(_line(row, device).keys())
    unit = read_unit(cells.get("unit", ""))
    if unit.scale != 1:
        raise Unclear(
            "unit", f"{cells['unit']!r} begins with a scale; Kepware does not apply it, so nobody knows what the value is"
        )
    if unit.text:
        keys["unit"] = unit.text
    if not unit.is_known:
        device.note("changed", row.line, cells["name"], f"unit {cells['unit']!r} is none of UCUM: kept as {unit.text}")
    if "description" in cells:
        keys["description"] = cells["description"]
    return keys


def _place(address: str, type_name: str) -> dict[str, Any]:
    text = address.strip()
    match = (STRING if type_name == "string" else ADDRESS).fullmatch(text)
    if match is None:
        if "[" in text:
            raise Unclear("address", f"{text} is an array: a profile has a signal for each value")
        raise Unclear("address", f"{text!r} is no Modbus address like 400011, 400011.3 or 400011.20H (for a string)")
    digits = match["digits"]
    table, place, _ = zero_based(references.TABLES[digits[0]], int(digits[1:]), "address", None)
    keys: dict[str, Any] = {"table": table, "address": place, "type": type_name}
    if type_name == "string":
        low_first = (match["order"] or "H").upper() == "L"
        return {**keys, "registers": -(-int(match["length"]) // 2), "order": "BADC" if low_first else "ABCD"}
    if match["bit"] is not None:
        if table in ("coil", "discrete") or type_name not in ("bit", "uint16", "int16"):
            raise Unclear("address", f"{text} names a bit, which a {type_name} of the {table} table has not")
        return {**keys, "type": "uint16", "bit": int(match["bit"])}
    if table in ("coil", "discrete"):
        return {**keys, "type": "bit"}
    if type_name == "bit":
        raise Unclear("address", f"{text} is a Boolean of a register, and names no bit (400011.3)")
    return keys


def _line(row: TagRow, device: DeviceTags) -> StraightLine:
    scaling = plain(row.cells.get("scaling", "none"))
    line = StraightLine()
    if scaling == "linear":
        names = ("raw_low", "raw_high", "scaled_low", "scaled_high")
        if missing := [name.replace("_", " ") for name in names if name not in row.cells]:
            raise Unclear("scaling", f"is linear, but the row has no {', '.join(missing)}")
        ends = [read_number(name, row.cells[name]) for name in names]
        line = line_between(ends[0], ends[1], ends[2], ends[3])
        if clamps := [title for title, cell in row.others.items() if plain(title).startswith("clamp") and yes_or_no(title, cell)]:
            message = f"{' and '.join(clamps)} is not carried over: values beyond the range stay as they are"
            device.note("changed", row.line, row.cells["name"], message)
    elif scaling not in ("none", "no", "0"):
        raise Unclear("scaling", f"{row.cells['scaling']} is no straight line: a profile has only scale and offset")
    if yes_or_no("negate", row.cells.get("negate", "")):
        line = line.then(-1.0)
    return line
