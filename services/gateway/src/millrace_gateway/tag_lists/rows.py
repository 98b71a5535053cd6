"""A tag list in CSV, as engineers write it. Every column is used, or named as unused, or refused where it may change a value."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant import references
from millrace_contract.plant.register_types import FLOATS, REGISTERS, TEXTS

from .columns import AMBIGUOUS, CHANGES_VALUES, KNOWN, NEUTRAL, ORDERS, TABLES, TYPES, plain
from .numbers import StraightLine, line_between, read_factor, read_number, read_whole
from .tags import DeviceTags, Tag, Unclear
from .units import read_unit

YES: Final = frozenset({"1", "yes", "y", "true", "x", "on", "ja"})
RANGE: Final = ("raw_low", "raw_high", "scaled_low", "scaled_high")


@dataclass(frozen=True, slots=True)
class TagRow:
    """One line of the list: its cells by our column names, and those of columns that we do not know; empty ones left out."""

    line: int
    cells: Mapping[str, str]
    others: Mapping[str, str]


def looks_like_rows(text: str) -> bool:
    """Is the first line a header of columns that tag lists have?"""
    header = _header(text)
    known = {KNOWN[plain(cell)] for cell in header if plain(cell) in KNOWN}
    return (len(header) > 1 and len(known) >= 2) or (bool(known & {"address", "reference", "number"}) and "\n" in text)


def read_rows(text: str, file: str) -> list[DeviceTags]:
    """The devices of the list: one, unless a column tells them apart. Raises ConfigurationProblems for the header."""
    devices: dict[str, DeviceTags] = {}
    for row in rows(text, file):
        name = row.cells.get("device", "")
        device = devices.setdefault(name, DeviceTags(name, is_strict=True, default_order_is="the list gives no order"))
        try:
            _refuse_what_is_unknown(row)
            device.tags.append(Tag(row.line, row.cells.get("name", ""), signal_keys(row, device)))
        except Unclear as unclear:
            device.refuse(row.line, row.cells.get("name", ""), unclear)
        device.unused.update(dict.fromkeys(f"column {title}" for title in row.others))
    return list(devices.values()) or [DeviceTags(is_strict=True)]


def rows(text: str, file: str) -> Iterator[TagRow]:
    """Raises ConfigurationProblems for a header that leaves something open."""
    header = _header(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    next(reader, [])
    columns = [KNOWN.get(plain(cell)) for cell in header]
    if problems := _header_problems(header, columns, file):
        raise ConfigurationProblems(problems)
    for cells in reader:
        named: dict[str, str] = {}
        others: dict[str, str] = {}
        for title, column, cell in zip(header, columns, cells, strict=False):
            if cell.strip():
                (others if column is None else named)[column or title.strip() or "without a name"] = cell.strip()
        if surplus := [cell.strip() for cell in cells[len(header) :] if cell.strip()]:
            others["without a header"] = " ".join(surplus)
        if named:
            yield TagRow(reader.line_num, named, others)


def _header_problems(header: list[str], columns: list[str | None], file: str) -> list[Problem]:
    problems: list[Problem] = []
    places = [column for column in ("address", "reference", "number") if column in columns]
    if not places:
        asked = next((cell for cell in header if plain(cell) in AMBIGUOUS), None)
        hint = (
            f"column {asked!r} leaves open where counting begins; call it"
            if asked
            else "there is no column of addresses; it is called"
        )
        words = f"{hint} address (from 0, as on the wire), register_number (from 1) or reference (4xxxx, 3xxxx)"
        problems.append(Problem(file, 1, "header", words))
    problems += [Problem(file, 1, "header", f"there is no column {name}") for name in ("name", "type") if name not in columns]
    doubled = {column for column in columns if column is not None and columns.count(column) > 1}
    problems += [Problem(file, 1, "header", f"two columns mean {column}; rename one") for column in sorted(doubled)]
    if len(places) > 1:
        problems.append(Problem(file, 1, "header", f"{' and '.join(places)} both say where a value stands; leave one out"))
    return problems


def _header(text: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)), [])


def _delimiter(text: str) -> str:
    return max(";\t,", key=text.split("\n", 1)[0].count)


def _refuse_what_is_unknown(row: TagRow) -> None:
    """A column that we do not know may be passed over only if it cannot change the value."""
    for title, cell in row.others.items():
        if title == "without a header" or (CHANGES_VALUES.search(plain(title)) and cell.lower() not in NEUTRAL):
            raise Unclear(title, f"{cell!r} may change the value, and is not known here; write it as scale and offset, or empty it")


def signal_keys(row: TagRow, device: DeviceTags) -> dict[str, Any]:
    """The keys of a profile. Raises Unclear."""
    cells = row.cells
    if "name" not in cells:
        raise Unclear("name", "is empty")
    table, address, bit = _place(cells)
    type_name, characters = _type(cells, table, bit)
    keys: dict[str, Any] = {"table": table, "address": address, "type": type_name}
    if type_name in TEXTS:
        keys["registers"] = _string_registers(cells, characters, 2 if type_name == "string" else 1)
    else:
        _check_length(cells, type_name)
    if bit is not None and table in ("holding", "input"):
        keys["bit"] = bit
    if order := _order(cells):
        keys["order"] = order
    unit = read_unit(cells.get("unit", ""))
    if not unit.is_known:
        device.note("changed", row.line, cells["name"], f"unit {cells['unit']!r} is none of UCUM: kept as {unit.text}")
    line = _line(cells, unit.scale)
    _decimals(row, type_name, line, device)
    keys.update(line.keys())
    if "invalid" in cells:
        keys["invalid"] = [_marker(part) for part in re.split(r"[\s;,|/]+", cells["invalid"]) if part]
    if "values" in cells:
        keys["values"] = _values(cells["values"])
    for key in ("minimum", "maximum"):
        if key in cells:
            keys[key] = read_number(key, cells[key])
    if unit.text:
        keys["unit"] = unit.text
    if "description" in cells:
        keys["description"] = cells["description"]
    return keys


def _place(cells: Mapping[str, str]) -> tuple[str, int, int | None]:
    """Table, zero-based address and bit. `100.3` is bit 3 of 100; `0x64` and `64h` are hexadecimal."""
    column = next((each for each in ("address", "reference", "number") if each in cells), None)
    if column is None:
        raise Unclear("address", "is empty")
    digits, _, bit_text = cells[column].partition(".")
    bit = read_whole("bit", bit_text or cells["bit"]) if bit_text or "bit" in cells else None
    table = one_of("table", cells["table"], TABLES) if "table" in cells else None
    if column == "reference":
        if not re.fullmatch(r"[0134]\d{4,5}", digits):
            raise Unclear(column, f"{cells[column]!r} is no reference number like 40011 or 400011")
        meant, number = references.TABLES[digits[0]], int(digits[1:])
        if table not in (None, meant):
            raise Unclear(column, f"{digits} is in the {meant} table, but the row says {table}")
        return zero_based(meant, number, column, bit)
    number = read_whole(column, digits)
    table = table or ("coil" if plain(cells.get("type", "")) == "coil" else "holding")
    if column == "number":
        return zero_based(table, number, column, bit)
    if not 0 <= number <= 0xFFFF:
        raise Unclear(column, f"{number} is no address: 0 to 65535")
    if (meant_number := references.meant_address(table, number)) is not None:
        raise Unclear(column, f"{number} looks like a reference number: name the column reference, or write {meant_number}")
    return table, number, bit


def zero_based(table: str, number: int, column: str, bit: int | None) -> tuple[str, int, int | None]:
    """Raises Unclear where `number` does not count from 1."""
    if not 1 <= number <= 0x10000:
        raise Unclear(column, f"{number} counts from 1: 1 to 65536")
    return table, number - 1, bit


def _type(cells: Mapping[str, str], table: str, bit: int | None) -> tuple[str, int | None]:
    """Our type, and the characters that a type like STRING(16) names."""
    if "type" not in cells:
        raise Unclear("type", "is empty")
    match = re.fullmatch(r"\s*([A-Za-z][\w -]*?)\s*[\[(](\d+)[\])]\s*", cells["type"])
    word = match[1] if match else cells["type"]
    lowered = word.lower() if word.lower() in TYPES else plain(word)
    if lowered in ("sint", "usint", "byte", "int8", "uint8", "u8", "s8"):
        raise Unclear("type", f"{word} is one byte of a register: write int8_high, int8_low, uint8_high or uint8_low")
    type_name = one_of("type", lowered, TYPES)
    if match and type_name not in TEXTS:
        raise Unclear("type", f"{cells['type']!r} is more than one value: write a row for each")
    if type_name == "bit" and table in ("holding", "input"):
        if bit is None:
            raise Unclear("bit", f"which bit of the {table} register? write the address as 100.3, or a column bit")
        type_name = "uint16"
    return type_name, int(match[2]) if match else None


def _string_registers(cells: Mapping[str, str], characters: int | None, characters_each: int) -> int:
    if "registers" in cells:
        return read_whole("registers", cells["registers"])
    if characters is None and "length" not in cells:
        raise Unclear("registers", "a string needs its length: a column registers, or length in characters, or STRING(16)")
    return -(-(characters or read_whole("length", cells["length"])) // characters_each)


def _check_length(cells: Mapping[str, str], type_name: str) -> None:
    """Raises Unclear where the row says that a number takes more or less than its type does; `length` may count bits or bytes."""
    count = REGISTERS[type_name]
    for column, allowed in (("registers", {count}), ("length", {count, 2 * count, 16 * count, 1 if type_name == "bit" else count})):
        if column in cells and read_whole(column, cells[column]) not in allowed:
            raise Unclear(column, f"{cells[column]} does not go with {cells['type']}, which takes {count} (as {type_name})")


def _order(cells: Mapping[str, str]) -> str | None:
    swaps = [yes_or_no(column, cells[column]) if column in cells else None for column in ("word_swap", "byte_swap")]
    swapped = {(False, False): "ABCD", (True, False): "CDAB", (False, True): "BADC", (True, True): "DCBA"}
    by_swaps = None if swaps == [None, None] else swapped[bool(swaps[0]), bool(swaps[1])]
    if "order" not in cells:
        return by_swaps
    order = one_of("order", cells["order"], ORDERS)
    if by_swaps not in (None, order):
        raise Unclear("order", f"{cells['order']!r} is {order}, but the columns of swaps say {by_swaps}; leave one out")
    return order


def _line(cells: Mapping[str, str], unit_scale: float) -> StraightLine:
    """Scale and offset, by whichever way the row gives them; two ways at once are refused."""
    factor = read_factor("scale", cells["scale"]) if "scale" in cells else 1.0
    divisor = read_factor("divisor", cells["divisor"]) if "divisor" in cells else 1.0
    offset = read_number("offset", cells["offset"]) if "offset" in cells else 0.0
    line = StraightLine(factor / divisor, offset)
    given = [name for name in RANGE if name in cells]
    kind = plain(cells.get("scaling", ""))
    if kind not in ("", "none", "no", "linear", "0"):
        raise Unclear("scaling", f"{cells['scaling']!r} is no straight line: a profile has only scale and offset")
    if kind == "linear" and not given and line == StraightLine():
        raise Unclear("scaling", "is linear, but no columns say from what to what: raw low, raw high, scaled low, scaled high")
    if given and kind not in ("none", "no", "0"):
        values = [read_number(name, cells[name]) for name in given]
        if len(given) < 4 and any(values):
            missing = ", ".join(name.replace("_", " ") for name in RANGE if name not in cells)
            raise Unclear(given[0], f"a range of raw and scaled values needs all four ends; there is no {missing}")
        if any(values):
            if line != StraightLine():
                raise Unclear("scale", "the range from raw to scaled values gives the scale too; leave one out")
            line = line_between(values[0], values[1], values[2], values[3])
    if unit_scale != 1:
        if line != StraightLine():
            raise Unclear("unit", f"{cells['unit']!r} begins with a scale, and the row has another one; write it once")
        line = StraightLine(unit_scale)
    if "negate" in cells and yes_or_no("negate", cells["negate"]):
        line = line.then(-1.0)
    return line


def _decimals(row: TagRow, type_name: str, line: StraightLine, device: DeviceTags) -> None:
    """Decimals of a whole number are asked about: 235 with one may mean 23.5."""
    if "decimals" not in row.cells:
        return
    decimals = read_whole("decimals", row.cells["decimals"])
    if decimals == 0 or type_name in FLOATS or line.scale != 1:
        device.unused["column decimals (how many digits are shown)"] = None
        return
    factor = f"{10.0**-decimals:.{min(decimals, 12)}f}"
    raise Unclear("decimals", f"{decimals} leaves open whether 235 means {235 * 10.0**-decimals:g}; write {factor} or 1 as scale")


def _values(text: str) -> dict[int, str]:
    """`0=off; 1=on`, `0: off, 1: on`."""
    found: dict[int, str] = {}
    for part in re.split(r"[;,|\n]+", text):
        if not part.strip():
            continue
        match = re.fullmatch(r"\s*(\d+|0x[0-9a-fA-F]+)\s*[=:]\s*(.+?)\s*", part)
        if match is None:
            raise Unclear("values", f"{part.strip()!r} is not like 0=off; 1=on")
        found[int(match[1], 0) if match[1].startswith("0x") else int(match[1])] = match[2]
    return found


def _marker(text: str) -> int | float:
    number = read_whole("invalid", text) if re.fullmatch(r"0x[0-9a-fA-F]+|[0-9A-Fa-f]+h", text) else read_number("invalid", text)
    return int(number) if number == int(number) else number


def yes_or_no(column: str, text: str) -> bool:
    """Raises Unclear."""
    if text.lower() in YES:
        return True
    if text.lower() in NEUTRAL | {"nein"}:
        return False
    raise Unclear(column, f"{text!r} is neither yes nor no")


def one_of(column: str, text: str, known: Mapping[str, str]) -> str:
    """Raises Unclear that lists what is known."""
    found = known.get(text.lower()) or known.get(plain(text))
    if found is None:
        raise Unclear(column, f"{text!r} is not known; write one of {', '.join(sorted(set(known.values())))}")
    return found
