"""The Modbus connector of ThingsBoard's IoT Gateway (JSON: master, slaves, timeseries). After ThingsBoard's page "Modbus
Connector Configuration", and for the defaults of orders after the gateway's BytesModbusUplinkConverter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millrace_contract.plant.register_types import REGISTERS

from .numbers import StraightLine, number_of, whole_of
from .tags import DeviceTags, QuotedNames, Tag, Unclear, entries_of

TABLES: Final = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
TYPES: Final = {
    "8int": "int8_high", "8uint": "uint8_high", "16int": "int16", "16uint": "uint16", "16float": "float16", "32int": "int32",
    "32uint": "uint32", "32float": "float32", "64int": "int64", "64uint": "uint64", "64float": "float64",
}  # fmt: skip
BY_COUNT: Final = {"int": "int", "integer": "int", "long": "int", "uint": "uint", "float": "float", "double": "float"}
ORDERS: Final = {("BIG", "BIG"): "ABCD", ("BIG", "LITTLE"): "CDAB", ("LITTLE", "BIG"): "BADC", ("LITTLE", "LITTLE"): "DCBA"}
"""By byteOrder and wordOrder; both are LITTLE where nothing is said."""
ENTRY_KEYS: Final = (
    "tag", "type", "functionCode", "objectsCount", "registersCount", "registerCount", "address", "divider", "multiplier", "bit",
    "byteOrder", "wordOrder",
)  # fmt: skip
HARMLESS: Final = ("bitTargetType",)
COMMANDS: Final = ("attributeUpdates", "rpc")


def slaves_of(document: Any) -> list[Any]:
    """The devices of a connector's configuration, whatever it is wrapped in; none for another document."""
    if not isinstance(document, dict):
        return []
    inner = document.get("configurationJson", document)
    for outer, key in (("master", "slaves"), ("server", "devices")):
        if isinstance(inner, dict) and (slaves := entries_of(inner.get(outer), key)):
            shared = {each: inner[outer][each] for each in ("byteOrder", "wordOrder") if each in inner[outer]}
            return [{**shared, **slave} for slave in slaves]
    return list(entries_of(inner, "slaves"))


def read_thingsboard(document: Any, text: str) -> list[DeviceTags]:
    """A device a slave."""
    places = QuotedNames(text)
    devices = []
    for slave in slaves_of(document):
        device = DeviceTags(str(slave.get("deviceName", f"unit {slave.get('unitId', '')}")))
        device.unused["the connection's settings"] = None
        for section in ("attributes", "timeseries"):
            for entry in entries_of(slave, section):
                _take(entry, slave, device, places)
        for section in COMMANDS:
            if isinstance(slave.get(section), (list, dict)) and slave[section]:
                device.note("left out", 0, section, f"{len(slave[section])} of them: a profile only reads")
        devices.append(device)
    return devices


def _take(entry: Mapping[str, Any], slave: Mapping[str, Any], device: DeviceTags, places: QuotedNames) -> None:
    name = str(entry.get("tag", ""))
    line = places.line_of(name)
    try:
        keys = _keys(entry, slave, device, line)
        device.pass_over(entry, ENTRY_KEYS, HARMLESS)
        device.tags.append(Tag(line, name, keys))
    except Unclear as unclear:
        device.refuse(line, name, unclear)


def _keys(entry: Mapping[str, Any], slave: Mapping[str, Any], device: DeviceTags, line: int) -> dict[str, Any]:
    function, address = entry.get("functionCode"), entry.get("address")
    if not isinstance(function, int) or function not in TABLES:
        raise Unclear("functionCode", f"{function!r} does not read; 1, 2, 3 and 4 do")
    if not isinstance(address, int):
        raise Unclear("address", f"{address!r} is no whole number")
    count = next((whole_of(entry, key, 1) for key in ("objectsCount", "registersCount", "registerCount") if key in entry), 1)
    kind = str(entry.get("type", "")).lower()
    place = {"table": TABLES[function], "address": address}
    if function in (1, 2):
        if count != 1 or "bit" in entry:
            raise Unclear("objectsCount", f"{count} bits make one list; a profile has a signal for each")
        return {**place, "type": "bit"}
    if kind in ("bits", "bit"):
        if not isinstance(entry.get("bit"), int) or count != 1:
            raise Unclear("type", "bits make one list; a profile has a signal for each bit: name it (bit)")
        return {**place, "type": "uint16", "bit": entry["bit"]}
    if kind == "string":
        return {**place, "type": "string", "registers": count, "order": "ABCD"}
    type_name = TYPES.get(kind) or TYPES.get(f"{16 * count}{BY_COUNT.get(kind, '?')}")
    if type_name is None or REGISTERS[type_name] != count:
        raise Unclear("type", f"{entry.get('type')!r} of {count} registers is no type that a profile has")
    if type_name.endswith("_high"):
        device.note("changed", line, str(entry.get("tag")), "8 bits are the byte that is sent first")
    return {
        **place,
        "type": type_name,
        "order": _order(entry, slave, device),
        **StraightLine((number_of(entry, "multiplier", 1) or 1) / (number_of(entry, "divider", 1) or 1)).keys(),
    }


def _order(entry: Mapping[str, Any], slave: Mapping[str, Any], device: DeviceTags) -> str:
    found = tuple(str(entry.get(key) or slave.get(key) or "").upper() for key in ("byteOrder", "wordOrder"))
    if "" in found:
        device.note("assumed", 0, "", "where byteOrder or wordOrder is missing it is LITTLE, as the connector takes it")
    byte_order, word_order = ("LITTLE" if each in ("", "LITTLE") else "BIG" for each in found)
    return ORDERS[byte_order, word_order]
