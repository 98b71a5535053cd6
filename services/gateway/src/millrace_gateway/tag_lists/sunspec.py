"""A SunSpec information model (JSON: a group of points). After the SunSpec Alliance's Device Information Model Specification.

A model does not say where it stands in a device: that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .profile_text import signal_name
from .tags import DeviceTags, QuotedNames, Tag, Unclear, entries_of
from .units import read_unit

TYPES: Final = {
    "int16": "int16", "uint16": "uint16", "count": "uint16", "acc16": "uint16", "enum16": "uint16", "bitfield16": "uint16",
    "int32": "int32", "uint32": "uint32", "acc32": "uint32", "enum32": "uint32", "bitfield32": "uint32", "float32": "float32",
    "int64": "int64", "uint64": "uint64", "acc64": "uint64", "float64": "float64", "string": "string",
}  # fmt: skip
NOT_IMPLEMENTED: Final = {
    "int16": 0x8000, "uint16": 0xFFFF, "enum16": 0xFFFF, "int32": 0x80000000, "uint32": 0xFFFFFFFF, "enum32": 0xFFFFFFFF,
    "int64": 0x8000000000000000, "uint64": 0xFFFFFFFFFFFFFFFF,
}  # fmt: skip
"""What a point reads where the device does not have it. Of counters (acc) that is 0, which is a number of theirs too."""
NO_VALUES: Final = frozenset({"pad", "sunssf"})
WIDEST: Final = 125
MOST_REPEATS: Final = 1000
"""Of one group; a count beyond it is a mistake, for there are not that many registers."""
USED: Final = ("name", "label", "desc", "type", "size", "sf", "units", "symbols", "value", "detail", "notes", "comments")
HARMLESS: Final = ("mandatory", "static", "access", "standards")


@dataclass(frozen=True, slots=True)
class _Point:
    point: Mapping[str, Any]
    address: int
    factors: Mapping[str, int]
    """Where each scale factor that the point may name stands."""
    group: str


def looks_like_sunspec(document: Any) -> bool:
    """A model has a number, and a group of points."""
    return (
        isinstance(document, dict) and isinstance(document.get("group"), dict) and isinstance(document["group"].get("points"), list)
    )


def read_sunspec(document: Mapping[str, Any], text: str, model_at: int | None) -> list[DeviceTags]:
    """The model as one device. Raises Unclear without the address at which the model begins."""
    if model_at is None:
        number = document.get("id", "")
        raise Unclear(
            "--model-at",
            "a SunSpec model does not say where it stands: give the address of its number. 40000 reads SunS, model 1 is at 40002, "
            f"and each model follows on the one before; `probe --address 40070 --expect {number}` finds it on many inverters",
        )
    device = DeviceTags()
    places = QuotedNames(text)
    points, _ = _points(document["group"], model_at, {}, "", device)
    for each in points:
        name = str(each.point.get("label") or each.point.get("name", ""))
        line = places.line_of(str(each.point.get("name", "")))
        if str(each.point.get("type")) in NO_VALUES or str(each.point.get("name")) in ("ID", "L"):
            continue
        try:
            keys = _keys(each, device, f"{each.group} {name}".strip(), line)
            device.pass_over(each.point, USED, HARMLESS)
            device.tags.append(Tag(line, f"{each.group} {name}".strip(), keys))
        except Unclear as unclear:
            device.refuse(line, name, unclear)
    return [device]


def _points(
    group: Mapping[str, Any], address: int, factors: Mapping[str, int], name: str, device: DeviceTags
) -> tuple[list[_Point], int | None]:
    """The points of a group and those in it, and the address behind it; None where only the device knows how long it is."""
    own = dict(factors)
    at = address
    for point in entries_of(group, "points"):
        if point.get("type") == "sunssf":
            own[str(point.get("name"))] = at
        at += _size(point)
    result = list(_in_a_row(group, address, own, name))
    for inner in entries_of(group, "groups"):
        count = inner.get("count", 1)
        title = str(inner.get("label") or inner.get("name", ""))
        if not isinstance(count, int) or not 1 <= count <= MOST_REPEATS:
            device.note("left out", 0, title, "and what follows it: only the device says how often it comes")
            return result, None
        for index in range(count):
            points, behind = _points(inner, at, own, f"{name} {title} {index + 1 if count > 1 else ''}".strip(), device)
            result += points
            if behind is None:
                return result, None
            at = behind
    return result, at


def _in_a_row(group: Mapping[str, Any], address: int, factors: Mapping[str, int], name: str) -> Iterator[_Point]:
    for point in entries_of(group, "points"):
        yield _Point(point, address, factors, name)
        address += _size(point)


def _keys(each: _Point, device: DeviceTags, name: str, line: int) -> dict[str, Any]:
    point = each.point
    kind = str(point.get("type"))
    if kind not in TYPES:
        raise Unclear("type", f"{kind} is no type that a profile has")
    keys: dict[str, Any] = {"table": "holding", "address": each.address, "type": TYPES[kind], "order": "ABCD"}
    if kind == "string":
        keys["registers"] = _size(point)
    symbols = {
        int(symbol["value"]): str(symbol["name"])
        for symbol in entries_of(point, "symbols")
        if isinstance(symbol.get("value"), int) and "name" in symbol
    }
    if kind.startswith("bitfield"):
        width = int(kind.removeprefix("bitfield"))
        if symbols:
            keys["bits"] = {bit: signal_name(f"{name} {word}") for bit, word in symbols.items() if bit < width}
    elif symbols and kind.startswith("enum"):
        keys["values"] = symbols
    elif "sf" in point:
        keys.update(_factor(point["sf"], each))
    if kind in NOT_IMPLEMENTED:
        keys["invalid"] = [NOT_IMPLEMENTED[kind]]
    unit = read_unit(str(point.get("units") or ""))
    if unit.scale != 1:
        raise Unclear("units", f"{point['units']!r} begins with a scale, and the model has scale factors of its own")
    if not unit.is_known:
        device.note("changed", line, name, f"unit {point['units']!r} is none of UCUM: kept as {unit.text}")
    if unit.text:
        keys["unit"] = unit.text
    if point.get("desc"):
        keys["description"] = str(point["desc"])
    return keys


def _size(point: Mapping[str, Any]) -> int:
    """Registers. Raises Unclear: behind a point of unknown size nothing has an address."""
    size = point.get("size", 1)
    if not isinstance(size, int) or not 1 <= size <= 0xFFFF:
        raise Unclear("size", f"{size!r} of point {point.get('name')} is no number of registers")
    return size


def _factor(factor: Any, each: _Point) -> dict[str, Any]:
    """A power of ten: a number of the model, or a register of the device."""
    if isinstance(factor, int):
        return {"scale": 10.0**factor} if factor else {}
    place = each.factors.get(str(factor))
    if place is None:
        raise Unclear("sf", f"its scale factor {factor} is not in the model")
    if abs(place - each.address) + 4 > WIDEST:
        raise Unclear(
            "sf", f"its scale factor {factor} stands {abs(place - each.address)} registers away: one request has {WIDEST}"
        )
    return {"scale_register": place}
