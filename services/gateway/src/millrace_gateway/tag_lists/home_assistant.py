"""Home Assistant's integration `modbus` (YAML: hubs with sensors and binary_sensors). After its documentation page "Modbus"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from millrace_contract.plant.document import Document, Path_
from millrace_contract.plant.register_types import REGISTERS

from .numbers import StraightLine, number_of, read_whole, whole_of
from .tags import DeviceTags, Tag, Unclear
from .units import read_unit

MOST_REPEATS: Final = 1000
READ: Final = ("sensors", "binary_sensors")
WRITTEN: Final = ("switches", "lights", "fans", "covers", "climates")
TABLES: Final = {"holding": "holding", "input": "input", "coil": "coil", "discrete_input": "discrete"}
SWAPS: Final = {"none": "ABCD", "byte": "BADC", "word": "CDAB", "word_byte": "DCBA"}
SIZED: Final = {
    "int": {1: "int16", 2: "int32", 4: "int64"}, "uint": {1: "uint16", 2: "uint32", 4: "uint64"},
    "float": {1: "float16", 2: "float32", 4: "float64"},
}  # fmt: skip
"""Types of older versions, which had a count beside them."""
STRUCTURES: Final = {
    "h": "int16", "H": "uint16", "i": "int32", "l": "int32", "I": "uint32", "L": "uint32", "q": "int64", "Q": "uint64",
    "e": "float16", "f": "float32", "d": "float64",
}  # fmt: skip
USED: Final = (
    "name", "address", "input_type", "register_type", "data_type", "count", "structure", "swap", "reverse_order", "scale", "offset",
    "unit_of_measurement", "nan_value", "min_value", "max_value", "zero_suppress", "slave_count", "virtual_count", "slave",
    "device_address",
)  # fmt: skip


def hubs(root: Any, path: Path_ = ()) -> Iterator[tuple[Mapping[str, Any], Path_, Mapping[str, Path_]]]:
    """Every mapping of the document that lists sensors with addresses, where it stands, and where its lists do."""
    if isinstance(root, dict):
        if any(_has_addresses(root.get(key)) for key in READ):
            yield root, path, {key: (*path, key) for key in READ if isinstance(root.get(key), list)}
            return
        for key, value in root.items():
            yield from hubs(value, (*path, key))
    elif isinstance(root, list):
        if _has_addresses(root):
            yield {"sensors": root}, path, {"sensors": path}
            return
        for index, value in enumerate(root):
            yield from hubs(value, (*path, index))


def _has_addresses(sensors: Any) -> bool:
    return isinstance(sensors, list) and any(isinstance(each, dict) and {"name", "address"} <= each.keys() for each in sensors)


def read_home_assistant(document: Document) -> list[DeviceTags]:
    """A device for each hub and unit id."""
    devices: dict[str, DeviceTags] = {}
    for hub, path, lists in hubs(document.root):
        for key, place in lists.items():
            for index, sensor in enumerate(hub[key]):
                if isinstance(sensor, dict):
                    _take(sensor, key, _device_of(sensor, hub, devices), document.line_of((*place, index)))
        for key in WRITTEN:
            for device in devices.values():
                if isinstance(hub.get(key), list):
                    device.note("left out", document.line_of((*path, key)), key, f"{len(hub[key])} of them: a profile only reads")
    return list(devices.values())


def _device_of(sensor: Mapping[str, Any], hub: Mapping[str, Any], devices: dict[str, DeviceTags]) -> DeviceTags:
    unit = sensor.get("slave", sensor.get("device_address", ""))
    name = f"{hub.get('name', 'modbus')}/{unit}" if unit != "" else str(hub.get("name", "modbus"))
    device = devices.setdefault(name, DeviceTags(name))
    if "host" in hub or "port" in hub:
        device.unused["the hub's settings"] = None
    return device


def _take(sensor: Mapping[str, Any], section: str, device: DeviceTags, line: int) -> None:
    name = str(sensor.get("name", ""))
    try:
        device.pass_over(sensor, USED)
        keys = _bit_keys(sensor) if section == "binary_sensors" else _keys(sensor, device, line)
        more = whole_of(sensor, "slave_count", 0) or whole_of(sensor, "virtual_count", 0)
        _refuse_repeats(keys, more)
        step = keys.get("registers", REGISTERS.get(keys["type"], 1))
        for index in range(more + 1):
            each = {**keys, "address": keys["address"] + index * step}
            device.tags.append(Tag(line, f"{name} {index}" if index else name, each))
    except Unclear as unclear:
        device.refuse(line, name, unclear)


def _refuse_repeats(keys: Mapping[str, Any], more: int) -> None:
    if more > MOST_REPEATS:
        raise Unclear("slave_count", f"{more} are more than a device has registers for")
    if more and "bit" in keys:
        raise Unclear("slave_count", "several bits of a register from one entry; write an entry for each bit")


def _place(sensor: Mapping[str, Any], default: str) -> dict[str, Any]:
    word = str(sensor.get("input_type", sensor.get("register_type", default)))
    if word not in TABLES:
        raise Unclear("input_type", f"{word!r} is none that Home Assistant has")
    if not isinstance(sensor.get("address"), int):
        raise Unclear("address", f"{sensor.get('address')!r} is no whole number")
    return {"table": TABLES[word], "address": sensor["address"]}


def _bit_keys(sensor: Mapping[str, Any]) -> dict[str, Any]:
    place = _place(sensor, "coil")
    return {**place, "type": "bit"} if place["table"] in ("coil", "discrete") else {**place, "type": "uint16", "bit": 0}


def _keys(sensor: Mapping[str, Any], device: DeviceTags, line: int) -> dict[str, Any]:
    place = _place(sensor, "holding")
    if place["table"] in ("coil", "discrete"):
        return {**place, "type": "bit"}
    type_name, order = _type_and_order(sensor)
    keys: dict[str, Any] = {**place, "type": type_name, "order": order}
    if type_name == "string":
        if order not in ("ABCD", "BADC"):
            raise Unclear("swap", "words of a text are swapped, which a profile cannot do")
        return {**keys, "registers": whole_of(sensor, "count", 1)}
    scale = number_of(sensor, "scale", 1.0)
    if scale == 0:
        raise Unclear("scale", "0 would make every value the same")
    keys.update(StraightLine(scale, number_of(sensor, "offset", 0.0)).keys())
    if "nan_value" in sensor:
        keys["invalid"] = [
            sensor["nan_value"] if isinstance(sensor["nan_value"], int) else read_whole("nan_value", str(sensor["nan_value"]))
        ]
    for key, words in (("min_value", "lower values"), ("max_value", "higher values"), ("zero_suppress", "values near 0")):
        if key in sensor:
            device.note("changed", line, str(sensor.get("name")), f"{key} {sensor[key]}: {words} stay as they are")
    unit = read_unit(str(sensor.get("unit_of_measurement") or ""))
    if unit.scale != 1:
        raise Unclear(
            "unit_of_measurement", f"{sensor['unit_of_measurement']!r} begins with a scale, which Home Assistant does not apply"
        )
    if not unit.is_known:
        device.note(
            "changed", line, str(sensor.get("name")), f"unit {sensor['unit_of_measurement']!r} is none of UCUM: kept as {unit.text}"
        )
    return {**keys, "unit": unit.text} if unit.text else keys


def _type_and_order(sensor: Mapping[str, Any]) -> tuple[str, str]:
    word = str(sensor.get("data_type", "int16")).lower()
    count = sensor.get("count")
    swap = str(sensor.get("swap", "word" if sensor.get("reverse_order") else "none")).lower()
    if swap not in SWAPS:
        raise Unclear("swap", f"{swap!r} is none of {', '.join(SWAPS)}")
    order = SWAPS[swap]
    if word == "custom":
        structure = str(sensor.get("structure", ""))
        letter = structure.lstrip("<>!=@")
        if letter not in STRUCTURES or structure[:1] not in (">", "!") or swap != "none":
            raise Unclear("structure", f"{structure!r} with swap {swap} is more than one number in the order of the wire")
        return STRUCTURES[letter], "ABCD"
    if word in SIZED:
        found = SIZED[word].get(whole_of(sensor, "count", 1))
        if found is None:
            raise Unclear("count", f"{word} of {count} registers is no type that a profile has")
        return found, order
    if word != "string" and word not in REGISTERS:
        raise Unclear("data_type", f"{word!r} is no type that a profile has")
    if word != "string" and count is not None and count != REGISTERS[word]:
        raise Unclear("count", f"{word} takes {REGISTERS[word]} registers, and count is {count}")
    return word, order
