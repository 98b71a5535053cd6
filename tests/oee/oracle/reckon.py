"""A folder and its event file in, every document out."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from .calendar import LineCalendar
from .figures import document
from .machine import Machine
from .plant import Plant, read
from .states import hold_of

Key = tuple[str, str, str]
"""Line or device, kind of window, its id."""


def reckon(folder: Path) -> dict[Key, dict[str, Any]]:
    plant = read(folder)
    said: dict[Key, dict[str, Any]] = {}
    for line in plant.lines:
        said |= _line(plant, line)
    return said


def _line(plant: Plant, line: str) -> dict[Key, dict[str, Any]]:
    oee = plant.lines[line]
    devices = [device for device in plant.devices.values() if device.line == line and device.readings]
    if not devices:
        return {}
    earliest = min(r.at for device in devices for readings in device.readings.values() for r in readings)
    first = datetime.fromtimestamp(earliest / 1000, plant.zone).date() - timedelta(days=2)
    last = datetime.fromtimestamp(plant.now / 1000, plant.zone).date() + timedelta(days=1)
    calendar = LineCalendar(plant, line, first, last)
    outside = list(oee.get("outside", ()))
    said: dict[Key, dict[str, Any]] = {}
    for device in devices:
        soon = plant.now + hold_of(device, device.profile["oee"]["state"])
        """A window that ends so soon after the last message is told as ended."""
        ends = {w.end for w in calendar.windows if plant.now < w.end <= soon}
        machines = {until: Machine(plant, device, calendar, outside, until) for until in {plant.now, *ends}}
        policy = device.settings.get("oee", {}).get("unknown", "exclude")
        for window in calendar.windows:
            final = window.end <= soon
            machine = machines[max(plant.now, window.end) if final else plant.now]
            if machine.first_heard < window.end and window.start < plant.now and (final or window.kind in ("shift", "hour")):
                said[device.name, window.kind, window.id] = document(
                    window,
                    machine.sums(
                        window,
                        [
                            p
                            for p in calendar.windows
                            if window.kind == "day" and p.id.startswith(f"{window.id}/") and p.kind != "hour"
                        ],
                    ),
                    plant.now,
                    final=final,
                    line=line,
                    device=device.name,
                    outside=outside,
                    coverage_min=plant.dated(oee, "coverage_min", window.end, 0.9),
                    policy=policy,
                    method="machine",
                )
    return said
