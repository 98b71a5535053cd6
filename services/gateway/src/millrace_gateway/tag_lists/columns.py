"""What the columns of a tag list in CSV are called, and the words in them. What a header leaves open is asked, not guessed."""

from __future__ import annotations

import re
from typing import Final

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "name": (
        "name", "tag", "tag name", "tagname", "signal", "variable", "symbol", "parameter", "item name", "point name",
        "point",
    ),
    "address": ("address", "modbus address", "protocol address", "offset address", "addr", "zero based address"),
    "reference": ("reference", "reference number", "modbus reference", "modicon address", "modicon", "4x address", "plc address"),
    "number": ("register number", "one based address", "register 1 based"),
    "table": ("table", "area", "register type", "object type", "memory area", "function", "function code", "fc", "modbus function"),
    "type": ("type", "data type", "datatype", "format", "value type", "modbus datatype", "modbus data type"),
    "order": ("order", "byte order", "word order", "endian", "endianness", "swap"),
    "word_swap": ("word swap", "words swapped", "swap words", "word swapped", "swapped words", "low word first", "lsw first"),
    "byte_swap": ("byte swap", "bytes swapped", "swap bytes", "byte swapped", "swapped bytes", "low byte first"),
    "registers": ("registers", "register count", "number of registers", "words", "word count", "quantity"),
    "length": ("length", "len", "size", "characters", "string length"),
    "bit": ("bit", "bit number", "bit index", "bit no"),
    "unit": ("unit", "units", "uom", "engineering unit", "engineering units", "eng units", "eng unit", "eu"),
    "scale": (
        "scale", "factor", "multiplier", "gain", "scale factor", "scaling factor", "resolution", "multiply by", "multiply",
        "multiplied by", "slope", "lsb",
    ),
    "divisor": ("divisor", "divider", "divide by", "divided by", "divide"),
    "offset": ("offset", "value offset", "bias", "add", "intercept"),
    "raw_low": ("raw low", "raw min", "raw minimum", "raw value min", "in low", "in min", "input min", "inlo", "min raw"),
    "raw_high": ("raw high", "raw max", "raw maximum", "raw value max", "in high", "in max", "input max", "inhi", "max raw"),
    "scaled_low": (
        "scaled low", "scaled min", "eng low", "eng min", "engineering low", "engineering min", "eu low", "eu min", "out low",
        "out min", "output min", "outlo", "min eu", "min eng", "scaled minimum", "engineering minimum",
    ),
    "scaled_high": (
        "scaled high", "scaled max", "eng high", "eng max", "engineering high", "engineering max", "eu high", "eu max", "out high",
        "out max", "output max", "outhi", "max eu", "max eng", "scaled maximum", "engineering maximum",
    ),
    "scaling": ("scaling", "scaling type", "scaling method", "linearization", "linearisation", "conversion type"),
    "negate": ("negate", "negate value", "negated", "invert", "inverted", "invert sign", "negative"),
    "invalid": ("invalid", "invalid value", "invalid values", "not available", "na value", "no value", "null value", "error value"),
    "decimals": ("decimals", "decimal places", "decimal", "dec", "precision", "decimal point", "decimal digits", "dp"),
    "values": ("values", "enum", "enumeration", "value list", "states"),
    "minimum": ("minimum", "min", "low limit", "range low"),
    "maximum": ("maximum", "max", "high limit", "range high"),
    "device": ("device", "device name", "slave", "slave id", "unit id", "station", "node", "slave address", "unit identifier"),
    "description": (
        "description", "comment", "remark", "remarks", "text", "meaning", "notes", "description optional",
    ),
}  # fmt: skip
KNOWN: Final = {alias: column for column, aliases in COLUMNS.items() for alias in aliases}
AMBIGUOUS: Final = ("register", "reg", "modbus register", "register no", "no", "number")

CHANGES_VALUES: Final = re.compile(
    r"\b(scal|raw|gain|factor|mult|div|offset|swap|endian|sign|neg|invert|expo|mask|shift|decim|coeff|conver|formula|correct|calc|"
    r"slope|intercept|ratio|bias|bcd|complement|encod|clamp|transform|byte|word|bits|invalid|digits)|^[a-z]$"
)
"""In the header of a column that we do not know: it may say what the number means, so that it is never passed over. One letter
may be a coefficient."""
NEUTRAL: Final = frozenset({"", "0", "none", "no", "false", "n", "-", "off", "n/a"})
"""Cells that do nothing to a value, whatever their column means."""

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
    **dict.fromkeys(
        ("discrete", "discrete input", "discrete inputs", "2", "02", "fc2", "fc02", "1x", "input status", "discrete_input"),
        "discrete",
    ),
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


def plain(cell: str) -> str:
    """A header as it is looked up: small letters, one space between words."""
    return re.sub(r"[^a-z0-9]+", " ", cell.lower()).strip()
