"""Telegraf's `inputs.modbus` (TOML), in its styles `register`, `request` and `metric`. After the plugin's README."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant.register_types import REGISTERS, TEXTS

from .numbers import StraightLine, read_factor, whole_of
from .tags import DeviceTags, QuotedNames, Tag, Unclear, entries_of

TYPES: Final = {
    "INT8L": "int8_low", "INT8H": "int8_high", "UINT8L": "uint8_low", "UINT8H": "uint8_high", "INT16": "int16",
    "UINT16": "uint16", "INT32": "int32", "UINT32": "uint32", "INT64": "int64", "UINT64": "uint64", "FLOAT16": "float16",
    "FLOAT32": "float32", "FLOAT64": "float64", "STRING": "string", "BIT": "bit",
}  # fmt: skip
FIXED_POINT: Final = {
    "FIXED": {1: "int16", 2: "int32", 4: "int64"}, "UFIXED": {1: "uint16", 2: "uint32", 4: "uint64"},
    "FLOAT32": {1: "uint16", 2: "uint32", 4: "uint64"},
}  # fmt: skip
"""Types of the style `register` that are whole numbers, of as many registers as they have addresses. FLOAT32 is one there."""
ORDERS: Final = {
    **dict.fromkeys(("AB", "ABCD", "ABCDEFGH", "MSW-BE", "MSW"), "ABCD"),
    **dict.fromkeys(("BA", "DCBA", "HGFEDCBA", "LSW-LE", "LSW"), "DCBA"),
    **dict.fromkeys(("BADC", "BADCFEHG", "MSW-LE"), "BADC"),
    **dict.fromkeys(("CDAB", "GHEFCDAB", "LSW-BE"), "CDAB"),
}
TABLES: Final = {"coils": "coil", "discrete_inputs": "discrete", "input_registers": "input", "holding_registers": "holding"}
STRINGS: Final = {"lower": "string_low", "upper": "string_high"}
BITS: Final = ("coil", "discrete")
FIELD_KEYS: Final = ("name", "address", "type", "data_type", "scale", "byte_order", "bit", "length", "output", "register", "omit")


@dataclass(frozen=True, slots=True)
class _Field:
    """One value that the plugin reads; `order` holds where the field has none of its own."""

    entry: Mapping[str, Any]
    slave: Any
    table: str
    order: str
    plugin: Mapping[str, Any]


def read_telegraf(text: str, file: str) -> list[DeviceTags]:
    """A device for each plugin and slave id. Raises ConfigurationProblems for what is no TOML."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationProblems([Problem(file, 0, "", f"is Telegraf's configuration, but no valid TOML: {error}")]) from error
    places = QuotedNames(text)
    devices: dict[str, DeviceTags] = {}
    for plugin in entries_of(document.get("inputs"), "modbus"):
        for each in _fields(plugin):
            name = str(plugin.get("name", "modbus")) + (f"/{each.slave}" if _is_shared(plugin) else "")
            device = devices.setdefault(name, DeviceTags(name))
            device.unused["the connection's settings"] = None
            _take(each, device, places)
    return list(devices.values())


def _is_shared(plugin: Mapping[str, Any]) -> bool:
    parts = [*entries_of(plugin, "request"), *entries_of(plugin, "metric")]
    return len({str(part.get("slave_id", 0)) for part in parts}) > 1


def _fields(plugin: Mapping[str, Any]) -> Iterator[_Field]:
    """All that the plugin reads, in the one style that it is set to."""
    style = str(plugin.get("configuration_type", "register"))
    if style == "register":
        for key, table in TABLES.items():
            yield from (_Field(entry, plugin.get("slave_id"), table, "ABCD", plugin) for entry in entries_of(plugin, key))
        return
    for part in entries_of(plugin, style):
        for entry in entries_of(part, "fields"):
            table = str((entry if style == "metric" else part).get("register", "holding"))
            yield _Field(entry, part.get("slave_id"), table, str(part.get("byte_order", "ABCD")), plugin)


def _take(each: _Field, device: DeviceTags, places: QuotedNames) -> None:
    if each.entry.get("omit"):
        device.unused["fields with omit"] = None
        return
    name = str(each.entry.get("name", ""))
    line = places.line_of(name)
    try:
        keys = _keys(each, device, line)
        device.pass_over(each.entry, FIELD_KEYS)
        device.tags.append(Tag(line, name, keys))
    except Unclear as unclear:
        device.refuse(line, name, unclear)


def _keys(each: _Field, device: DeviceTags, line: int) -> dict[str, Any]:
    entry = each.entry
    if not entry.get("name"):
        raise Unclear("name", "is empty")
    addresses = entry.get("address")
    first = addresses[0] if isinstance(addresses, list) and addresses else addresses
    if not isinstance(first, int) or (isinstance(addresses, list) and addresses != list(range(first, first + len(addresses)))):
        raise Unclear("address", f"{addresses!r} is no address, nor a row of them")
    if each.table in BITS:
        return {"table": each.table, "address": first, "type": "bit"}
    keys: dict[str, Any] = {"table": each.table, "address": first, "type": _type(entry, addresses, each.plugin)}
    if keys["type"] == "bit":
        return {**keys, "type": "uint16", "bit": whole_of(entry, "bit", 0)}
    order = str(entry.get("byte_order", each.order)).upper()
    if order not in ORDERS:
        raise Unclear("byte_order", f"{order!r} is none that Telegraf has")
    keys["order"] = ORDERS[order]
    if keys["type"] in TEXTS:
        return {**keys, "registers": len(addresses) if isinstance(addresses, list) else whole_of(entry, "length", 0)}
    scale = read_factor("scale", str(entry.get("scale", 1.0)))
    is_cut = str(entry.get("data_type", entry.get("output", ""))).upper().startswith(("INT", "UINT")) and scale != int(scale)
    if is_cut:
        device.note("changed", line, str(entry["name"]), "Telegraf cuts the digits after the point; the profile keeps them")
    return {**keys, **StraightLine(scale).keys()}


def _workarounds(plugin: Mapping[str, Any]) -> Mapping[str, Any]:
    found = plugin.get("workarounds")
    return found if isinstance(found, Mapping) else {}


def _type(entry: Mapping[str, Any], addresses: object, plugin: Mapping[str, Any]) -> str:
    count = len(addresses) if isinstance(addresses, list) else None
    word = str(entry.get("data_type", entry.get("type", ""))).upper()
    if "data_type" in entry and word in FIXED_POINT and count is not None:
        if count not in FIXED_POINT[word]:
            raise Unclear("data_type", f"{word} of {count} registers: a profile has whole numbers of 1, 2 and 4")
        return FIXED_POINT[word][count]
    found = TYPES.get(word.removesuffix("-IEEE"))
    if found is None:
        raise Unclear("type", f"{word!r} is no type that a profile has")
    if found == "string":
        return STRINGS.get(str(_workarounds(plugin).get("string_register_location", "both")), "string")
    if count is not None and count != REGISTERS[found]:
        raise Unclear("address", f"{word} takes {REGISTERS[found]} registers, and {count} are given")
    return found
