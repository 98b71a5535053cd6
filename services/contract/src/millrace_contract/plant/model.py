"""plant.yaml: root, time zone, lines and devices; together with the profiles it is the plant model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from ..errors import ConfigurationProblems, Problem
from ..language.assets import SEGMENT_PATTERN, root_problem, segment_problem
from ..language.words import Leaf, NoOrder, UnknownPolicy
from .connection import Connection
from .document import Document, Path_, Strict, nearest, read_document
from .profile import Profile
from .profile_files import load_profiles
from .valid_from import DatedChange, check_changes
from .versions import version_of

DEFAULT_GATEWAY = "edge-1"
MOST_TAGS = 15
"""One less than a message may have: the gateway adds `stamped` to a sensor's."""
TAKEN_TAGS = ("time", "line", "device", "stamped")


class DeviceOee(Strict):
    """How a machine's figures are made. `unknown`: what counts where nobody knows what it did (oee.md A9). `startup_good_parts`:
    once so many good parts were made in a row an order has started up; 0 where start-up losses are not told apart (oee.md A4)."""

    unknown: UnknownPolicy = UnknownPolicy.EXCLUDE
    startup_good_parts: int = Field(default=0, ge=0, le=100_000)


class DeviceChange(DatedChange):
    """What figures need to know of a machine, from an instant on."""

    ideal_cycle_s: float | None = Field(default=None, gt=0, le=86_400)
    micro_stop_s: float = Field(default=120, ge=0, le=3_600)


class Device(Strict):
    """One installed machine: its profile, the way to it, and what figures need to know about it."""

    id: str
    line: str
    profile: str
    connection: Connection
    title: str = ""
    gateway: str = Field(default=DEFAULT_GATEWAY, pattern=f"^{SEGMENT_PATTERN}$")
    tags: dict[str, str] = {}
    ideal_cycle_s: float | None = Field(default=None, gt=0, le=86_400)
    micro_stop_s: float = Field(default=120, ge=0, le=3_600)
    oee: DeviceOee = DeviceOee()
    changes: tuple[DeviceChange, ...] = ()

    @field_validator("tags")
    @classmethod
    def _tags(cls, tags: dict[str, str]) -> dict[str, str]:
        if len(tags) > MOST_TAGS:
            raise ValueError(f"{len(tags)} tags; at most {MOST_TAGS} are allowed")
        for key, value in tags.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", key) or key in TAKEN_TAGS:
                raise ValueError(f"tag name {key!r} must be lower-case letters, digits and _, and not {', '.join(TAKEN_TAGS)}")
            if not value or not value.isprintable() or value.endswith("\\") or len(value) > 256:
                raise ValueError(f"tag {key!r} must have a value of 1 to 256 printable characters that does not end in a backslash")
        return tags


Flow = tuple[str | tuple[str, ...], ...]
"""Machines in the order of the flow; several in a list of their own do the same step side by side."""


def stations_of(flow: Flow) -> tuple[tuple[str, ...], ...]:
    """The steps of the flow, each with its machines."""
    return tuple((entry,) if isinstance(entry, str) else entry for entry in flow)


class LineOeeChange(DatedChange):
    """How a line's OEE is made, from an instant on."""

    method: Literal["constraint", "sum"] = "constraint"
    coverage_min: float = Field(default=0.9, ge=0, le=1)
    outside: tuple[Literal[Leaf.PLANNED_STOP, Leaf.SETUP], ...] = ()
    machines: Flow = ()
    no_order: NoOrder | None = None


class LineOee(Strict):
    """How a line's OEE is made of its machines' (oee.md A15), and how much observed time a headline needs.

    `outside`: planned stops, setup or both, where they are left out of planned production time. `no_order`: what time is in which
    no order is in force; None where the plant makes no choice, which is as `scheduled`. `instance`: which of several oee services
    computes the line.
    """

    method: Literal["constraint", "sum"] = "constraint"
    coverage_min: float = Field(default=0.9, ge=0, le=1)
    outside: tuple[Literal[Leaf.PLANNED_STOP, Leaf.SETUP], ...] = ()
    machines: Flow = ()
    no_order: NoOrder | None = None
    instance: str | None = Field(default=None, pattern=f"^{SEGMENT_PATTERN}$")
    changes: tuple[LineOeeChange, ...] = ()

    @property
    def stations(self) -> tuple[tuple[str, ...], ...]:
        return stations_of(self.machines)


class _LineFile(Strict):
    title: str = ""
    oee: LineOee = LineOee()
    devices: dict[str, Device] = {}


class _PlantFile(Strict):
    root: str
    time_zone: str
    undeclared: Literal["store", "park", "refuse"] = "store"
    lines: dict[str, _LineFile] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _name_devices(cls, data: Any) -> Any:
        lines = data.get("lines") if isinstance(data, dict) else None
        if not isinstance(lines, dict):
            return data
        return {**data, "lines": {name: _with_names(str(name), line) for name, line in lines.items()}}

    @field_validator("root")
    @classmethod
    def _root(cls, root: str) -> str:
        if problem := root_problem(root):
            raise ValueError(f"{root!r}: {problem}")
        return root

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is not a time zone; write one like Europe/Berlin or America/Chicago") from error
        return name


def _with_names(line_name: str, line: Any) -> Any:
    devices = line.get("devices") if isinstance(line, dict) else None
    if not isinstance(devices, dict):
        return line
    named = {
        key: {**device, "id": str(key), "line": line_name} if isinstance(device, dict) else device
        for key, device in devices.items()
    }
    return {**line, "devices": named}


@dataclass(frozen=True)
class Line:
    """A line and the ids of its devices, in the order of the file."""

    name: str
    title: str
    oee: LineOee
    devices: tuple[str, ...]


@dataclass(frozen=True)
class PlantModel:
    """The checked plant: every device's profile exists, every id is unique in the root."""

    root: str
    time_zone: str
    undeclared: Literal["store", "park", "refuse"]
    lines: dict[str, Line]
    devices: dict[str, Device]
    profiles: dict[str, Profile]
    version: str = ""
    """Of plant.yaml and the profiles (versions.py)."""
    shares: Mapping[str, str] = field(default_factory=dict)
    """Of each gateway, the version of what it reads: its devices and their profiles."""
    profile_versions: Mapping[str, str] = field(default_factory=dict)
    edited_ms: int = 0
    """When plant.yaml was written last, by the file system."""

    def profile_of(self, device_id: str) -> Profile:
        return self.profiles[self.devices[device_id].profile]

    def has_asset(self, line: str, device_id: str | None) -> bool:
        """Is there this line (device_id None), or this device in it?"""
        if device_id is None:
            return line in self.lines
        device = self.devices.get(device_id)
        return device is not None and device.line == line

    def topics_of(self, device_id: str) -> tuple[str, ...]:
        """The topics that a device sends its messages on; none for one that is asked."""
        topic = self.devices[device_id].connection.topic
        if topic is None:
            return ()
        signals = self.profile_of(device_id).message_signals.values()
        return tuple(dict.fromkeys(topic if each.topic is None else f"{topic}/{each.topic}" for each in signals))

    def heard_topics_of(self, device_id: str) -> tuple[str, ...]:
        """Those, and the one that says whether the device is there."""
        availability = self.devices[device_id].connection.availability
        return self.topics_of(device_id) if availability is None else (*self.topics_of(device_id), availability)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


def load_plant(folder: Path, environ: Mapping[str, str] | None = None) -> PlantModel:
    """plant.yaml with its profiles. Raises ConfigurationProblems with every problem of all these files."""
    profiles, documents = load_profiles(folder / "profiles")
    document = read_document(folder / "plant.yaml", "plant.yaml")
    documents.append(document)
    context = {"environ": os.environ if environ is None else environ}
    plant = document.validate(_PlantFile, context) if document.data else None
    broken = {Path(d.file).stem for d in documents if d.problems}
    if plant is not None:
        _check(plant, document, profiles, broken)
    problems: list[Problem] = [problem for each in documents for problem in each.problems]
    if problems or plant is None:
        raise ConfigurationProblems(problems or [Problem("plant.yaml", 0, "", "is empty")])
    devices = {device.id: device for line in plant.lines.values() for device in line.devices.values()}
    profile_versions = {Path(each.file).stem: version_of(each.data) for each in documents if each is not document}
    return PlantModel(
        root=plant.root,
        time_zone=plant.time_zone,
        undeclared=plant.undeclared,
        lines={name: Line(name, line.title or name, line.oee, tuple(line.devices)) for name, line in plant.lines.items()},
        devices=devices,
        profiles=profiles,
        version=version_of([document.data, profile_versions]),
        shares=_shares(document.data, devices, profile_versions),
        profile_versions=profile_versions,
        edited_ms=_edited_ms(folder / "plant.yaml"),
    )


def _edited_ms(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:  # an editor that replaces a file takes it away for a moment
        return 0


def _shares(data: dict[str, Any], devices: Mapping[str, Device], profile_versions: Mapping[str, str]) -> dict[str, str]:
    """From the file as it was written: what a variable stands for differs from one process to the next."""
    lines = data["lines"].items()
    written = {(str(line), str(name)): entry for line, each in lines for name, entry in each.get("devices", {}).items()}
    found: dict[str, list[Any]] = {}
    for device in devices.values():
        share = found.setdefault(device.gateway, [data["root"]])
        share.append([device.line, device.id, written[(device.line, device.id)], profile_versions[device.profile]])
    return {gateway: version_of(share) for gateway, share in found.items()}


def _check(plant: _PlantFile, document: Document, profiles: Mapping[str, Profile], broken: set[str]) -> None:
    first_line: dict[str, str] = {}
    for line_name, line in plant.lines.items():
        if problem := segment_problem(line_name):
            document.problem(("lines", line_name), f"{line_name!r} {problem}")
        for device in line.devices.values():
            path = ("lines", line_name, "devices", device.id)
            if problem := segment_problem(device.id):
                document.problem(path, f"{device.id!r} {problem}")
            other = first_line.setdefault(device.id, line_name)
            if other != line_name:
                document.problem(path, f"device {device.id} is also in line {other}; an id is unique in the plant")
            if device.profile not in profiles and device.profile not in broken:
                known = ", ".join(sorted(profiles)) or "none"
                document.problem(
                    (*path, "profile"), f"no profile {device.profile!r}{nearest(device.profile, profiles)}; there are: {known}"
                )
            elif device.profile in profiles:
                _check_source(device, profiles[device.profile], plant.root, path, document)
                _check_pace(device, profiles[device.profile], path, document)
                _check_unknown(device, profiles[device.profile], path, document)
            check_changes(document, (*path, "changes"), device.changes)
        place: Path_ = ("lines", line_name, "oee")
        _check_flow(document, (*place, "machines"), line, line.oee.machines)
        check_changes(document, (*place, "changes"), line.oee.changes)
        for index, change in enumerate(line.oee.changes):
            _check_flow(document, (*place, "changes", index, "machines"), line, change.machines)


def _check_flow(document: Document, path: Path_, line: _LineFile, flow: Flow) -> None:
    stations = stations_of(flow)
    named = [machine for station in stations for machine in station]
    for machine in dict.fromkeys(named):
        if machine not in line.devices:
            document.problem(path, f"{machine!r} is not a device of this line")
        elif named.count(machine) > 1:
            document.problem(path, f"{machine} stands twice")
    if not all(stations):
        document.problem(path, "holds an empty list; a step of the flow has a machine")


def _check_source(device: Device, profile: Profile, root: str, path: tuple[str | int, ...], document: Document) -> None:
    """What a device sends, or is asked for, must be what its profile describes."""
    place = (*path, "connection")
    if device.connection.sends_messages and not profile.sends_messages:
        document.problem(place, f"transport mqtt needs a profile of messages; {profile.name} is one of registers")
    if profile.sends_messages and not device.connection.sends_messages:
        document.problem(place, f"profile {profile.name} is one of messages; write {{transport: mqtt, topic: ...}}")
    for key, topic in (("topic", device.connection.topic), ("availability", device.connection.availability)):
        if topic is not None and f"{topic}/".startswith(f"{root}/"):
            document.problem((*place, key), f"{topic} lies below the plant's own root, {root}; a sensor needs a topic beside it")


def _check_pace(device: Device, profile: Profile, path: tuple[str | int, ...], document: Document) -> None:
    """A machine at its ideal pace must not be too fast for its counters, which take what is faster for a jump."""
    if profile.oee is None:
        return
    cycles: list[tuple[Path_, float | None]] = [((*path, "ideal_cycle_s"), device.ideal_cycle_s)]
    cycles += [((*path, "changes", index, "ideal_cycle_s"), each.ideal_cycle_s) for index, each in enumerate(device.changes)]
    for role in ("total", "good", "reject"):
        name, parts = getattr(profile.oee, role), profile.oee.parts_a_count(role)
        counter = profile.signals[name].counter if name in profile.signals else None
        for place, ideal_cycle_s in cycles:
            if counter is not None and ideal_cycle_s is not None and ideal_cycle_s * parts * counter.max_rate_per_s < 1:
                document.problem(
                    place,
                    f"a part every {ideal_cycle_s:g} s is faster than {name} may count in profile {profile.name}, "
                    f"max_rate_per_s {counter.max_rate_per_s:g}; one of the two is wrong",
                )


def _check_unknown(device: Device, profile: Profile, path: tuple[str | int, ...], document: Document) -> None:
    """What unknown time counts as must be something that can be told of this machine."""
    if profile.oee is not None and profile.oee.cycles is not None:
        if device.ideal_cycle_s is None:
            document.problem(path, f"profile {profile.name} tells the state from cycles: this device needs ideal_cycle_s")
        if device.oee.unknown is UnknownPolicy.HOLD:
            document.problem((*path, "oee", "unknown"), "a machine that only counts tells no state that could be held; use infer")
    if device.oee == DeviceOee():
        return
    if profile.oee is None:
        document.problem((*path, "oee"), f"profile {profile.name} has no oee: this device has no figures")
    elif device.oee.startup_good_parts and not profile.oee.reject:
        document.problem(
            (*path, "oee", "startup_good_parts"),
            f"profile {profile.name} counts no rejects (oee.reject), so that nobody can tell when it runs well",
        )
    elif device.oee.unknown is UnknownPolicy.INFER and (
        device.ideal_cycle_s is None or not (profile.oee.total or profile.oee.good)
    ):
        document.problem(
            (*path, "oee", "unknown"), "infer tells run time from parts: it needs ideal_cycle_s, and total or good in the profile"
        )
