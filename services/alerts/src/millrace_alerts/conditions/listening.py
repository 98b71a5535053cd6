"""What a condition is to be told of, so that a reading meets only the rules that it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class SourceSignal(NamedTuple):
    """A signal of a device of the plant."""

    device_id: str
    signal: str

    @property
    def key(self) -> str:
        return f"{self.device_id}/{self.signal}"


@dataclass(frozen=True, slots=True)
class Listening:
    """`parts`: every reading of these signals, of whatever device, a message at a time.

    Of the rule's device: every reading of these signals; that something good came, of these signals or (None) of any; whether it
    can be reached; that its being offline explains what is missing; what is in force of `table` (in_force.py), by which a limit is
    chosen; what oee says of it, with its stops. Everybody is told that time passes.
    """

    readings: tuple[str, ...] = ()
    parts: tuple[SourceSignal, ...] = ()
    data: tuple[str | None, ...] = ()
    table: str | None = None
    figures: bool = False
    link: bool = False
    is_inhibited_by_offline: bool = False
