"""Names in the plant: segments, and the path root / line / device (contracts.md 2.1)."""

from __future__ import annotations

import re

from .field_names import SUFFIXES

SEGMENT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
SIGNAL_PATTERN = r"[a-z][a-z0-9_]{0,62}"

RESERVED_NAMES = frozenset({"telemetry", "comms", "oee", "alert", "context"})
"""Words that have a meaning in topics, so that no line or device may be called that."""

LINE_ITSELF = "_line"
"""The value of the tag `device` on figures of a whole line: InfluxDB has no empty tag, and no device can have this name."""

_SEGMENT = re.compile(SEGMENT_PATTERN)
_SIGNAL = re.compile(SIGNAL_PATTERN)
_RESERVED_SIGNALS = frozenset({"time", "line", "device"})


def segment_problem(name: str) -> str | None:
    """What is wrong with `name` as a line or device, in words that end in what is allowed; None when it is fine."""
    if not _SEGMENT.fullmatch(name):
        return "must be 1 to 63 letters, digits, _ or -, and start with a letter or digit"
    if name in RESERVED_NAMES:
        return f"is a word that topics use ({', '.join(sorted(RESERVED_NAMES))}); choose another name"
    return None


def root_problem(root: str) -> str | None:
    """What is wrong with `root`: one or more segments joined by `/`."""
    if not root:
        return "is missing"
    for segment in root.split("/"):
        if problem := segment_problem(segment):
            return f"segment {segment!r} {problem}"
    return None


def signal_problem(name: str) -> str | None:
    """What is wrong with `name` as a signal; a signal is a field in the database, so some names are taken there."""
    if not _SIGNAL.fullmatch(name):
        return "must be lower-case letters, digits and _, start with a letter and have at most 63 characters"
    if name in _RESERVED_SIGNALS:
        return "is a word that the database uses; choose another name"
    if name.endswith(SUFFIXES):
        return f"must not end in {' or '.join(SUFFIXES)}: those are fields that go with a signal"
    return None
