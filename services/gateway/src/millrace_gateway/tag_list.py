"""From the tag list that an engineer has (CSV) to a device profile. Pure.

Headers are matched by many names; what a header leaves open (does `register` count from 0 or from 1?) is asked, not guessed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.assets import signal_problem
from millrace_contract.plant import Signal, references

from .registers import TEXT_BYTES

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "name": ("name", "tag", "tag name", "tagname", "signal", "variable", "symbol", "parameter", "item name"),
    "address": (
        "address",
        "modbus address",
        "protocol address",
        "offset address",
        "addr",
        "zero based address",
    ),
    "reference": ("reference", "reference number", "modbus reference", "modicon address", "modicon", "4x address", "plc address"),
    "number": ("register number", "one based address", "register 1 based"),
    "table": ("table", "area", "register type", "object type", "memory area", "function", "function code", "fc", "modbus function"),
    "type": ("type", "data type", "datatype", "format", "value type"),
    "order": ("order", "byte order", "word order", "endian", "endianness", "swap"),
    "registers": ("registers", "register count", "number of registers", "words", "word count", "quantity"),
    "length": ("length", "len", "size", "characters", "string length"),
    "bit": ("bit", "bit number", "bit index", "bit no"),
    "unit": ("unit", "units", "uom", "engineering unit", "engineering units", "eu"),
    "scale": ("scale", "factor", "multiplier", "gain", "scale factor", "scaling factor", "resolution"),
    "divisor": ("divisor", "divider", "divide by"),
    "offset": ("offset", "value offset", "bias"),
    "minimum": ("minimum", "min", "low limit", "range low"),
    "maximum": ("maximum", "max", "high limit", "range high"),
    "description": ("description", "comment", "remark", "remarks", "text", "meaning", "notes"),
}
AMBIGUOUS: Final = ("register", "reg", "modbus register", "register no", "no", "number")
TYPES: Final[dict[str, str]] = {
    **dict.fromkeys(("bool", "boolean", "bit", "coil", "digital", "di", "do"), "bit"),
    **dict.fromkeys(("int", "int16", "short", "s16", "i16", "sint16", "signed", "signed 16", "int 16"), "int16"),
    **dict.fromkeys(("uint", "uint16", "word", "ushort", "u16", "unsigned", "unsigned 16", "enum", "enum16", "uint 16"), "uint16"),
    **dict.fromkeys(("dint", "int32", "long", "s32", "i32", "sint32", "signed 32", "int 32"), "int32"),
    **dict.fromkeys(("udint", "uint32", "dword", "ulong", "u32", "unsigned 32", "uint 32", "acc32"), "uint32"),
    **dict.fromkeys(("lint", "int64", "s64", "i64", "int 64"), "int64"),
    **dict.fromkeys(("ulint", "uint64", "lword", "qword", "u64", "uint 64", "acc64"), "uint64"),
    **dict.fromkeys(("float16", "half"), "float16"),
    **dict.fromkeys(("real", "float", "float32", "f32", "single", "ieee754", "ieee float", "float 32", "real32"), "float32"),
    **dict.fromkeys(("lreal", "double", "float64", "f64", "float 64", "real64"), "float64"),
    **dict.fromkeys(("bcd", "bcd16", "bcd4"), "bcd16"),
    **dict.fromkeys(("lbcd", "bcd32", "bcd8", "long bcd"), "bcd32"),
    **dict.fromkeys(("string", "str", "char", "ascii", "text", "utf8"), "string"),
    **dict.fromkeys(("unix", "unix time", "epoch", "timestamp", "epoch32"), "epoch32"),
    **{name: name for name in ("string_high", "string_low", "int8_high", "int8_low", "uint8_high", "uint8_low", "epoch64")},
}
TABLES: Final[dict[str, str]] = {
    **dict.fromkeys(("coil", "coils", "1", "01", "fc1", "fc01", "0x", "output coil", "discrete output", "read coils"), "coil"),
    **dict.fromkeys(("discrete", "discrete input", "discrete inputs", "2", "02", "fc2", "fc02", "1x", "input status"), "discrete"),
    **dict.fromkeys(("holding", "holding register", "holding registers", "3", "03", "fc3", "fc03", "4x", "hr"), "holding"),
    **dict.fromkeys(("input", "input register", "input registers", "4", "04", "fc4", "fc04", "3x", "ir"), "input"),
}
ORDERS: Final[dict[str, str]] = {
    **dict.fromkeys(("abcd", "big", "big endian", "be", "msw first", "high word first", "1234", "none", "no"), "ABCD"),
    **dict.fromkeys(
        ("cdab", "word swap", "word swapped", "lsw first", "low word first", "3412", "little endian word swap"), "CDAB"
    ),
    **dict.fromkeys(("badc", "byte swap", "byte swapped", "2143"), "BADC"),
    **dict.fromkeys(("dcba", "little", "little endian", "le", "4321"), "DCBA"),
}
UNITS: Final[dict[str, str]] = {
    "°c": "Cel", "degc": "Cel", "deg c": "Cel", "celsius": "Cel", "kwh": "kW.h", "wh": "W.h", "mwh": "MW.h", "kvarh": "kvar.h",
    "rpm": "1/min", "1/min": "1/min", "u/min": "1/min", "pcs": "{part}", "parts": "{part}", "m³/h": "m3/h", "l/min": "L/min",
    "sec": "s", "hours": "h", "percent": "%",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TagRow:
    """One line of the list: its cells by our column names, empty ones left out."""

    line: int
    cells: Mapping[str, str]


class _Unclear(ValueError):
    """A cell that cannot be taken as it is; the text says what to write."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def profile_from_tags(text: str, file: str, *, title: str) -> tuple[str, int]:
    """A profile as YAML, and how many signals it has. Raises ConfigurationProblems that name every row that cannot be taken."""
    problems: list[Problem] = []
    signals: dict[str, str] = {}
    first_line: dict[str, int] = {}
    for row in _rows(text, file):
        try:
            name, keys = _signal(row.cells)
        except _Unclear as unclear:
            problems.append(Problem(file, row.line, unclear.column, str(unclear)))
            continue
        if name in first_line:
            message = f"{row.cells['name']!r} becomes {name}, as line {first_line[name]} did; give one another name"
            problems.append(Problem(file, row.line, "name", message))
            continue
        first_line[name] = row.line
        if problem := _check(name, keys):
            problems.append(Problem(file, row.line, name, problem))
        signals[name] = ", ".join(f"{key}: {_scalar(value)}" for key, value in keys.items())
    if not signals and not problems:
        problems.append(Problem(file, 0, "", "has a header but no rows"))
    if problems:
        raise ConfigurationProblems(problems)
    lines = [
        f"title: {_scalar(title)}",
        "asset_class: other",
        f"source: {_scalar(f'tag list {file}')}",
        'verified: "no"',
        "groups: {fast: {interval_s: 1.0}, slow: {interval_s: 10.0}}",
        "signals:",
        *(f"  {name}: {{{keys}}}" for name, keys in signals.items()),
    ]
    return "\n".join(lines) + "\n", len(signals)


def _rows(text: str, file: str) -> Iterator[TagRow]:
    """Raises ConfigurationProblems for a header that leaves something open."""
    text = text.removeprefix("\ufeff")
    header_line = text.split("\n", 1)[0]
    delimiter = max(";\t,", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = next(reader, [])
    known = {alias: column for column, aliases in COLUMNS.items() for alias in aliases}
    columns = [known.get(_plain(cell)) for cell in header]
    problems: list[Problem] = []
    places = [column for column in ("address", "reference", "number") if column in columns]
    if not places:
        asked = next((cell for cell in header if _plain(cell) in AMBIGUOUS), None)
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
    if problems:
        raise ConfigurationProblems(problems)
    for cells in reader:
        named = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if column and cell.strip()}
        if named:
            yield TagRow(reader.line_num, named)


def _plain(cell: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", cell.lower()).strip()


def _signal(cells: Mapping[str, str]) -> tuple[str, dict[str, str | int | float]]:
    """The signal's name and its keys in a profile. Raises _Unclear."""
    if "name" not in cells:
        raise _Unclear("name", "is empty")
    table, address, bit = _place(cells)
    type_name, characters = _type(cells, table, bit)
    keys: dict[str, str | int | float] = {"table": table, "address": address, "type": type_name}
    if type_name in TEXT_BYTES:
        keys["registers"] = _string_registers(cells, characters, 2 if type_name == "string" else 1)
    if bit is not None and table in ("holding", "input"):
        keys["bit"] = bit
    if "order" in cells:
        keys["order"] = _one_of("order", cells["order"], ORDERS)
    scale = _number(cells, "scale", 1.0) / _number(cells, "divisor", 1.0)
    if scale != 1:
        keys["scale"] = scale
    if offset := _number(cells, "offset", 0.0):
        keys["offset"] = offset
    for key in ("minimum", "maximum"):
        if key in cells:
            keys[key] = _number(cells, key, 0.0)
    if "unit" in cells:
        keys["unit"] = UNITS.get(cells["unit"].lower(), cells["unit"])
    if "description" in cells:
        keys["description"] = cells["description"]
    return _name(cells["name"]), keys


def _name(text: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()
    for letter, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("°c", "c"), ("%", "percent")):
        words = words.replace(letter, plain)
    name = re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:60]
    return name if re.match(r"[a-z]", name) else f"signal_{name}".rstrip("_")


def _place(cells: Mapping[str, str]) -> tuple[str, int, int | None]:
    """Table, zero-based address and bit. `100.3` is bit 3 of 100; `0x64` and `64h` are hexadecimal."""
    column = next((each for each in ("address", "reference", "number") if each in cells), None)
    if column is None:
        raise _Unclear("address", "is empty")
    digits, _, bit_text = cells[column].partition(".")
    bit = _whole("bit", bit_text or cells["bit"]) if bit_text or "bit" in cells else None
    table = _one_of("table", cells["table"], TABLES) if "table" in cells else None
    if column == "reference":
        if not re.fullmatch(r"[0134]\d{4,5}", digits):
            raise _Unclear(column, f"{cells[column]!r} is no reference number like 40011 or 400011")
        meant, number = references.TABLES[digits[0]], int(digits[1:])
        if table not in (None, meant):
            raise _Unclear(column, f"{digits} is in the {meant} table, but the row says {table}")
        return _zero_based(meant, number, column, bit)
    number = _whole(column, digits)
    table = table or ("coil" if _plain(cells.get("type", "")) == "coil" else "holding")
    if column == "number":
        return _zero_based(table, number, column, bit)
    if not 0 <= number <= 0xFFFF:
        raise _Unclear(column, f"{number} is no address: 0 to 65535")
    if (meant_number := references.meant_address(table, number)) is not None:
        raise _Unclear(column, f"{number} looks like a reference number: name the column reference, or write {meant_number}")
    return table, number, bit


def _zero_based(table: str, number: int, column: str, bit: int | None) -> tuple[str, int, int | None]:
    if not 1 <= number <= 0x10000:
        raise _Unclear(column, f"{number} counts from 1: 1 to 65536")
    return table, number - 1, bit


def _type(cells: Mapping[str, str], table: str, bit: int | None) -> tuple[str, int | None]:
    """Our type, and the characters that a type like STRING(16) names."""
    if "type" not in cells:
        raise _Unclear("type", "is empty")
    match = re.fullmatch(r"\s*([A-Za-z][\w -]*?)\s*[\[(](\d+)[\])]\s*", cells["type"])
    word = match[1] if match else cells["type"]
    plain = word.lower() if word.lower() in TYPES else _plain(word)
    if plain in ("sint", "usint", "byte", "int8", "uint8", "u8", "s8"):
        raise _Unclear("type", f"{word} is one byte of a register: write int8_high, int8_low, uint8_high or uint8_low")
    type_name = _one_of("type", plain, TYPES)
    if type_name == "bit" and table in ("holding", "input"):
        if bit is None:
            raise _Unclear("bit", f"which bit of the {table} register? write the address as 100.3, or a column bit")
        type_name = "uint16"
    return type_name, int(match[2]) if match and type_name in TEXT_BYTES else None


def _string_registers(cells: Mapping[str, str], characters: int | None, characters_each: int) -> int:
    if "registers" in cells:
        return _whole("registers", cells["registers"])
    if characters is None and "length" not in cells:
        raise _Unclear("registers", "a string needs its length: a column registers, or length in characters, or STRING(16)")
    return -(-(characters or _whole("length", cells["length"])) // characters_each)


def _one_of(column: str, text: str, known: Mapping[str, str]) -> str:
    found = known.get(text.lower()) or known.get(_plain(text))
    if found is None:
        raise _Unclear(column, f"{text!r} is not known; write one of {', '.join(sorted(set(known.values())))}")
    return found


def _whole(column: str, text: str) -> int:
    cleaned = text.strip().lower().replace("_", "").replace("'", "")
    if re.fullmatch(r"0x[0-9a-f]+|[0-9a-f]+h", cleaned):
        return int(cleaned.removeprefix("0x").removesuffix("h"), 16)
    if not re.fullmatch(r"\d+", cleaned):
        raise _Unclear(column, f"{text!r} is no whole number")
    return int(cleaned)


def _number(cells: Mapping[str, str], column: str, default: float) -> float:
    """`0.1`, `0,1`, `1/10`, `x10`."""
    if column not in cells:
        return default
    text = cells[column].replace(",", ".").lower().lstrip("x*\u00d7 ")
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise _Unclear(column, f"{cells[column]!r} is no number") from None
    if column == "divisor" and value == 0:
        raise _Unclear(column, "0 divides nothing")
    return value


def _check(name: str, keys: Mapping[str, str | int | float]) -> str | None:
    """Why the profile would refuse this signal, or None."""
    if problem := signal_problem(name):
        return problem
    try:
        Signal.model_validate({"name": name, **keys})
    except ValidationError as error:
        return "; ".join(str(finding.get("ctx", {}).get("error", finding["msg"])) for finding in error.errors())
    return None


def _scalar(value: str | int | float) -> str:
    """As YAML: numbers, and text without anything that YAML reads, as they are; all else in quotes."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.12g}" if value != int(value) else str(int(value))
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./]*", value) and value.lower() not in (
        "true",
        "false",
        "null",
        "yes",
        "no",
        "on",
        "off",
    )
    return value if plain else json.dumps(value, ensure_ascii=False)
