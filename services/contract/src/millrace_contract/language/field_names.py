"""How the fields of a telemetry point are called in the database. `points.py` writes them, `stored_points.py` reads them.

A reading that is a number stands under its signal's name; a text, and a quality that is not good, under that name with a suffix.
What belongs to the message as a whole begins with an underscore, as no signal does.
"""

from __future__ import annotations

from typing import Final

TEXT_SUFFIX: Final = "_text"
QUALITY_SUFFIX: Final = "_quality"
SUFFIXES: Final = (TEXT_SUFFIX, QUALITY_SUFFIX)
"""No signal's name ends so."""

STREAM_FIELD: Final = "_stream"
SEQ_FIELD: Final = "_seq"
PREV_FIELD: Final = "_prev"
"""The seq of the device's message before this one: who reads a gap from the database sees that it is whole."""
HOLD_FIELD: Final = "_hold_ms"
"""How long the readings are in force if nothing follows, where the sender said so."""
UNREACHABLE_FIELD: Final = "_unreachable"
"""1 where the gateway says that it is alive and the device does not answer."""
EMPTY_FIELD: Final = "_empty"
"""A message that says nothing but that it was sent: a point needs a field."""


def text_field(name: str) -> str:
    """The field that holds a reading that is text."""
    return name + TEXT_SUFFIX


def quality_field(name: str) -> str:
    return name + QUALITY_SUFFIX
