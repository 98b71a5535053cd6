"""Evaluation zones of vibration velocity, mm/s RMS, 10 to 1000 Hz, on non-rotating parts (alerts.md B11): one table for everybody.

Group 1 and 2: ISO 20816-3:2022, which has the values of ISO 10816-3:2009. Class I to IV: ISO 10816-1:1995, annex B. They are
different tables for different machines, and are mixed up in many places.
"""

from __future__ import annotations

from typing import Literal

Machine = Literal["group_1", "group_2", "class_1", "class_2", "class_3", "class_4"]
Mounting = Literal["rigid", "flexible"]
Zone = Literal["A", "B", "C", "D"]
Borders = tuple[float, float, float]
"""Where B, C and D begin."""

GROUPS: dict[tuple[Machine, Mounting], Borders] = {
    ("group_1", "rigid"): (2.3, 4.5, 7.1),
    ("group_1", "flexible"): (3.5, 7.1, 11.0),
    ("group_2", "rigid"): (1.4, 2.8, 4.5),
    ("group_2", "flexible"): (2.3, 4.5, 7.1),
}
CLASSES: dict[Machine, Borders] = {
    "class_1": (0.71, 1.8, 4.5),
    "class_2": (1.12, 2.8, 7.1),
    "class_3": (1.8, 4.5, 11.2),
    "class_4": (2.8, 7.1, 18.0),
}


def borders_of(machine: Machine, mounting: Mounting | None) -> Borders:
    """A group needs its mounting, a class has one; KeyError otherwise."""
    return CLASSES[machine] if mounting is None else GROUPS[machine, mounting]


def zone_of(velocity_mm_s: float, borders: Borders) -> Zone:
    """The worse zone begins at its border."""
    zones: tuple[Zone, ...] = ("A", "B", "C", "D")
    return zones[sum(velocity_mm_s >= border for border in borders)]
