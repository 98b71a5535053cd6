"""The profile that the tags of one device make, as YAML, with the notes as comments on top. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from pydantic import ValidationError

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.assets import signal_problem
from millrace_contract.plant import RegisterSignal, references
from millrace_contract.plant.register_types import HALVES, REGISTERS

from .tags import DeviceTags, Note, Tag, Unclear

LONGEST_NAME: Final = 60
SHOWN_NAMES: Final = 4
SHOWN_NOTES: Final = 5
WORDS_OF_YAML: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off"})


@dataclass(frozen=True, slots=True)
class ImportedProfile:
    """A profile as YAML, how many signals it has, and what of the list is not in it as it was."""

    text: str
    signals: int
    notes: tuple[Note, ...]


class _Profile:
    """The signals so far, and the registers that they take."""

    def __init__(self, device: DeviceTags, file: str) -> None:
        self.device = device
        self.file = file
        self.signals: dict[str, dict[str, Any]] = {}
        self.problems = [Problem(file, line, column, message) for line, column, message in device.refused]
        self.assumed: list[str] = []
        self._first_line: dict[str, int] = {}
        self._taken: dict[tuple[str, int, str], str] = {}

    def add(self, tag: Tag, order: str | None) -> None:
        try:
            keys = dict(tag.keys)
            is_assumed = "order" not in keys and REGISTERS.get(keys["type"], 1) > 1
            if is_assumed:
                keys["order"] = order or self.device.default_order
            signal = _checked(signal_name(tag.name), keys)
            if not self.device.is_strict:
                self._refuse_taken_registers(signal)
            name = self._free_name(tag)
            self._taken.update(dict.fromkeys(_registers(signal), name))
            if is_assumed and order is None:
                self.assumed.append(name)
        except Unclear as unclear:
            self.device.refuse(tag.line, tag.name, unclear)
            if self.device.is_strict:
                self.problems.append(Problem(self.file, tag.line, unclear.column, str(unclear)))
            return
        if keys.get("order") in _orders_without_effect(keys["type"]):
            del keys["order"]
        self.signals[name] = keys

    def _free_name(self, tag: Tag) -> str:
        name = signal_name(tag.name)
        if name not in self._first_line:
            self._first_line[name] = tag.line
            return name
        if self.device.is_strict:
            message = f"{tag.name!r} becomes {name}, as line {self._first_line[name]} did; give one another name"
            raise Unclear("name", message)
        number = next(number for number in range(2, 10_000) if f"{name}_{number}" not in self._first_line)
        self._first_line[f"{name}_{number}"] = tag.line
        self.device.note("changed", tag.line, tag.name, f"is called {name}_{number}: {name} is taken")
        return f"{name}_{number}"

    def _refuse_taken_registers(self, signal: RegisterSignal) -> None:
        """Raises Unclear where another signal stands there already."""
        if other := next((self._taken[place] for place in _registers(signal) if place in self._taken), None):
            raise Unclear("address", f"reads what {other} reads already; a profile reads a register once")


def _registers(signal: RegisterSignal) -> list[tuple[str, int, str]]:
    """Table, address and half of each register that nobody else may read; a single bit shares its register."""
    if signal.bit is not None:
        return []
    halves = (HALVES[signal.type],) if signal.type in HALVES else ("high", "low")
    return [(signal.table, *place) for place in product(range(signal.address, signal.address + signal.registers), halves)]


def compose_profile(device: DeviceTags, file: str, *, title: str, order: str | None = None) -> ImportedProfile:
    """`order`: of the values for which the list gives none. Raises ConfigurationProblems that name every tag to be mended."""
    profile = _Profile(device, file)
    for tag in device.tags:
        profile.add(tag, order)
    if not profile.signals and not profile.problems:
        left_out = [f"\n  {note}" for note in device.notes if note.kind == "left out"][:SHOWN_NOTES]
        words = "none of its tags can be taken:" + "".join(left_out) if left_out else "has a header but no rows"
        profile.problems.append(Problem(file, 0, "", words))
    if profile.problems:
        raise ConfigurationProblems(profile.problems)
    if profile.assumed:
        device.notes.insert(0, Note("assumed", 0, "", _assumption(profile.assumed, device)))
    if device.unused:
        device.note("unused", 0, "", ", ".join(device.unused))
    as_written = any(
        references.meant_address(keys["table"], keys[key]) is not None
        for keys in profile.signals.values()
        for key in ("address", "scale_register")
        if key in keys
    )
    lines = [
        *(f"# note: {line}" for note in device.notes for line in str(note).splitlines()),
        f"title: {_scalar(title)}",
        "asset_class: other",
        f"source: {_scalar(f'tag list {file}')}",
        'verified: "no"',
        *(["addresses: as_written"] if as_written else []),
        "groups: {fast: {interval_s: 1.0}, slow: {interval_s: 10.0}}",
        "signals:",
        *(f"  {name}: {_flow(keys)}" for name, keys in profile.signals.items()),
    ]
    return ImportedProfile("\n".join(lines) + "\n", len(profile.signals), tuple(device.notes))


def _assumption(names: list[str], device: DeviceTags) -> str:
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    count = f"{len(names)} value{'s' if len(names) != 1 else ''} of several registers"
    whose = f"{device.default_order_is}: " if device.default_order_is else ""
    return (
        f"{whose}{device.default_order} assumed for {count} ({shown}); try one with probe, and import with --order if it is another"
    )


def _orders_without_effect(type_name: str) -> tuple[str, ...]:
    """ABCD is what a profile takes without a word; of one register, and of text, there are no words to swap."""
    if type_name in HALVES:
        return ("ABCD", "CDAB", "BADC", "DCBA")
    return ("ABCD", "CDAB") if REGISTERS.get(type_name, 1) == 1 else ("ABCD",)


def signal_name(text: str) -> str:
    """As profiles call signals: small letters, digits and _."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()
    for letter, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("°c", "c"), ("%", "percent")):
        words = words.replace(letter, letters)
    name = re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:LONGEST_NAME].rstrip("_")
    return name if re.match(r"[a-z]", name) else f"signal_{name}".rstrip("_")


def _checked(name: str, keys: Mapping[str, Any]) -> RegisterSignal:
    """Raises Unclear with what the profile would say against this signal."""
    if problem := signal_problem(name):
        raise Unclear(name, problem)
    try:
        return RegisterSignal.model_validate({"name": name, **keys})
    except ValidationError as error:
        words = "; ".join(str(finding.get("ctx", {}).get("error", finding["msg"])) for finding in error.errors())
        raise Unclear(name, words) from error


def _flow(keys: Mapping[Any, Any]) -> str:
    return "{" + ", ".join(f"{_scalar(key)}: {_value(value)}" for key, value in keys.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _flow(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return _scalar(value)


def _scalar(value: str | int | float) -> str:
    """As YAML: numbers, and text without anything that YAML reads, as they are; all else in quotes."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.12g}" if value != int(value) else str(int(value))
    is_plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./]*", value) and value.lower() not in WORDS_OF_YAML
    return value if is_plain else json.dumps(value, ensure_ascii=False)
