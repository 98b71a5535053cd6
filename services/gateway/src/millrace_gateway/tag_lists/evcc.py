"""The registers in evcc's templates of meters and chargers (YAML whose `render` is a Go template). After evcc's documentation,
"Plugins", and for encodings after its `util/modbus`. The template is not run: what stands in all of its branches is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from .numbers import read_number, read_whole
from .tags import DeviceTags, Tag, Unclear

DIRECTIVE: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
KEY: Final = re.compile(r"(?P<indent>\s*)(?P<items>(?:-\s+)*)(?P<key>[A-Za-z_][\w-]*):(?:\s+(?P<value>.*?))?\s*")
ENCODING: Final = re.compile(r"(bool|int|uint|float)(8|16|32|64)(s|nan)?")
NOT_A_NUMBER: Final = {
    "int16": [0x8000, 0x7FFF], "uint16": [0xFFFF], "int32": [0x80000000, 0x7FFFFFFF], "uint32": [0xFFFFFFFF],
    "uint64": [0xFFFFFFFFFFFFFFFF],
}  # fmt: skip
"""What an encoding that ends in `nan` takes for no value."""
TABLES: Final = frozenset({"holding", "input", "coil"})
STRUCTURE: Final = frozenset({"add", "mul", "div", "sub", "in", "config", "get", "all", "abs", "sign", "range"})
"""Keys on the way to a register that name no value."""
UNITS: Final = {
    "power": "W", "powers": "W", "currents": "A", "voltages": "V", "energy": "kW.h", "returnenergy": "kW.h", "soc": "%",
    "maxcurrent": "A", "capacity": "kW.h", "frequency": "Hz", "chargedenergy": "kW.h", "totalenergy": "kW.h",
}  # fmt: skip
"""What evcc has its values in. They hold for a register of its own; not for one that a script makes a value of."""
EACH_OF_A_LIST: Final = frozenset({"currents", "voltages", "powers"})


@dataclass(slots=True)
class _Node:
    """A key of the rendered text, with its line; `branch` is the usage for which the template writes it."""

    key: str
    value: str
    indent: int
    line: int
    branch: str
    parent: _Node | None = None
    children: list[_Node] = field(default_factory=list)

    def child(self, key: str) -> _Node | None:
        return next((each for each in self.children if each.key == key), None)

    @property
    def way(self) -> list[_Node]:
        """From the top down to this one."""
        above = self.parent.way if self.parent is not None else []
        return [*above, self] if self.key else above


def looks_like_evcc(data: dict[str, Any]) -> bool:
    """A template has its name, and what it renders."""
    return isinstance(data.get("render"), str) and "template" in data


def read_evcc(text: str) -> list[DeviceTags]:
    """The one device of the template."""
    device = DeviceTags()
    device.unused["the template's parameters"] = None
    names: dict[str, int] = {}
    for node in _all(_tree(text)):
        way = [each.key for each in node.way]
        if node.key not in ("register", "source", "type") or ("set" in way and node.key != "register"):
            continue
        name = _name(node)
        if node.key == "register" and node.value:
            continue  # That of a block: how many registers are read at once.
        if node.key == "register":
            _take(node, name, device, names)
        elif node.value == "sunspec":
            device.note("left out", node.line, name, "is found by SunSpec's models: a profile sunspec-... has it")
        elif node.value == "mbmd":
            device.note("left out", node.line, "", "mbmd reads by a list of its own; its registers are not in the template")
    return [device]


def _take(node: _Node, name: str, device: DeviceTags, names: dict[str, int]) -> None:
    kind = node.child("type")
    if (kind is not None and kind.value.lower().startswith("write")) or any(each.key == "set" for each in node.way):
        device.note("left out", node.line, name, "is written; a profile only reads")
        return
    made_by = _made_by(node)
    if made_by:
        device.note("changed", node.line, name, f"evcc makes it of what is read, by {made_by}; the profile has what is read")
    try:
        keys = _keys(node)
    except Unclear as unclear:
        device.refuse(node.line, name, unclear)
        return
    unit = next((UNITS[each.key] for each in node.way if each.key in UNITS), "")
    if unit and made_by in ("", "calc"):
        keys["unit"] = unit
    names[name] = names.get(name, 0) + 1
    if any(each.key in EACH_OF_A_LIST for each in node.way):
        name = f"{name} {names[name]}"
    device.tags.append(Tag(node.line, name, keys))


def _keys(node: _Node) -> dict[str, Any]:
    found = {child.key: child.value for child in node.children}
    for key, value in found.items():
        if "{{" in value:
            raise Unclear(key, f"{key} is computed by the template: {value}")
    table = found.get("type", "").lower()
    if table not in TABLES:
        raise Unclear("type", f"{table!r} is none of {', '.join(sorted(TABLES))}")
    keys: dict[str, Any] = {"table": table, "address": read_whole("address", found.get("address", ""))}
    encoding = (found.get("encoding") or found.get("decode") or "").lower().replace("ieee754", "float32")
    match = ENCODING.fullmatch(encoding)
    if match is None or (match[1] == "float" and match[2] not in ("32", "64")):
        raise Unclear("encoding", f"{encoding!r} is no type that a profile has")
    if table == "coil":
        return {**keys, "type": "bit"}
    if match[1] == "bool":
        return {**keys, "type": "uint16", "bit": _bit(found.get("bitmask", ""))}
    keys["type"] = match[1] + match[2]
    keys["order"] = "CDAB" if match[3] == "s" else "ABCD"
    if match[3] == "nan" and keys["type"] in NOT_A_NUMBER:
        keys["invalid"] = NOT_A_NUMBER[keys["type"]]
    return {**keys, **_scale(node)}


def _scale(node: _Node) -> dict[str, float]:
    """The factor beside the register."""
    scale = node.parent.child("scale") if node.parent is not None else None
    if scale is None:
        return {}
    if "{{" in scale.value:
        raise Unclear("scale", f"is computed by the template: {scale.value}")
    factor = read_number("scale", scale.value)
    if factor == 0:
        raise Unclear("scale", "0 would make every value the same")
    return {} if factor == 1 else {"scale": factor}


def _bit(mask: str) -> int:
    number = int(mask, 0) if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", mask) else 0
    if number == 0 or number & (number - 1):
        raise Unclear("bitmask", f"{mask!r} is not one bit; a profile has a signal for each")
    return number.bit_length() - 1


def _made_by(node: _Node) -> str:
    """The plugin that stands between this register and the value: calc, go, map, ..."""
    sources = [source.value for each in node.way[:-1] for source in [each.child("source")] if source is not None]
    return next((source for source in sources if source and source != "modbus"), "")


def _name(node: _Node) -> str:
    keys = [each.key for each in node.way[:-1] if each.key not in STRUCTURE]
    return " ".join(part for part in (node.branch, *keys) if part) or "value"


def _tree(text: str) -> _Node:
    """What `render` writes, by indentation; a list's items are nodes without a key."""
    root = _Node("", "", -1, 0, "")
    stack = [root]
    for line, branch, content in _rendered(text):
        match = KEY.fullmatch(content)
        if match is None:
            continue
        indent = len(match["indent"])
        for dash in re.finditer(r"-", match["items"]):
            stack = _open(stack, _Node("", "", indent + dash.start(), line, branch))
        stack = _open(stack, _Node(match["key"], _bare(match["value"] or ""), indent + len(match["items"]), line, branch))
    return root


def _open(stack: list[_Node], node: _Node) -> list[_Node]:
    """The item of a list may stand as far left as the list's key; all else stands further right than what holds it."""
    while len(stack) > 1 and (
        stack[-1].indent > node.indent or (stack[-1].indent == node.indent and (node.key or not stack[-1].key))
    ):
        stack = stack[:-1]
    node.parent = stack[-1]
    stack[-1].children.append(node)
    return [*stack, node]


def _rendered(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, branch and text of each line of `render`, without the directives that stand alone."""
    branches: list[str] = []
    within = False
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"render:\s*[|>]", line):
            within = True
            continue
        if not within or not line.strip():
            continue
        if not line[0].isspace() and not line.startswith("{{"):
            return
        directive = DIRECTIVE.fullmatch(line.strip().removeprefix("- "))
        if directive is None:
            yield number, _branch(branches), line
        else:
            _follow(directive[1], branches)


def _follow(directive: str, branches: list[str]) -> None:
    word = directive.split(" ", 1)[0]
    if word in ("if", "range", "with", "define", "block"):
        branches.append(_usage(directive))
    elif word == "else" and branches:
        branches[-1] = _usage(directive)
    elif word == "end" and branches:
        branches.pop()


def _usage(condition: str) -> str:
    """`eq .usage "grid"` is for grid; other conditions name nothing."""
    return " ".join(re.findall(r'eq\s+\.usage\s+"(\w+)"', condition))


def _branch(branches: list[str]) -> str:
    return " ".join(each for each in branches if each)


def _bare(value: str) -> str:
    """Without a comment and quotes."""
    return re.sub(r"(^|\s)#.*$", "", value).strip().strip("\"'")


def _all(node: _Node) -> Iterator[_Node]:
    for child in node.children:
        yield child
        yield from _all(child)
