"""What a condition is to be told of, so that a reading meets only the rules that it concerns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listening:
    """Of one device: every reading of these signals; that something good came, of these signals or (None) of any; whether the
    device can be reached; that its being offline explains what is missing. Everybody is told that time passes.
    """

    readings: tuple[str, ...] = ()
    data: tuple[str | None, ...] = ()
    link: bool = False
    is_inhibited_by_offline: bool = False
