"""How much room the disks have that a service depends on, and for how long: said before they are full."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

LOW_SHARE = 0.1
LOW_MOST_BYTES = 2_000_000_000
"""Low is what has less than a tenth left, but a large disk only below this."""
SOON_H = 24.0
TREND_MOST_S = 6 * 3600.0
TREND_LEAST_S = 1800.0
"""How long a disk must have been getting fuller before anybody says when it will be full."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a disk has left. `name`: whose it is, empty for the service's own; `left_h`: until it is full, None while unknown.

    `refusal`: why nobody can look.
    """

    name: str
    folder: Path
    free_bytes: int = 0
    total_bytes: int = 0
    left_h: float | None = None
    refusal: str | None = None

    @property
    def is_low(self) -> bool:
        """Whether somebody must act."""
        if self.refusal is not None:
            return False
        return self.free_bytes < low_bytes(self.total_bytes) or (self.left_h is not None and self.left_h < SOON_H)

    @property
    def figures(self) -> dict[str, float]:
        """For the status, by name; what is not known is left out."""
        if self.refusal is not None:
            return {}
        prefix = f"{self.name}_" if self.name else ""
        left = {} if self.left_h is None else {f"{prefix}disk_left_h": round(self.left_h, 2)}
        return {f"{prefix}disk_free_bytes": float(self.free_bytes), **left}

    @property
    def problem(self) -> str | None:
        """In words, with the way out."""
        whose = f"the disk of {self.name}" if self.name else f"the disk of {self.folder}"
        if self.refusal is not None:
            return f"{whose} cannot be looked at: {self.refusal}; see MILLRACE_WATCHED_DISKS" if self.name else None
        if not self.is_low:
            return None
        soon = "" if self.left_h is None else f", which last {self.left_h:.2g} h as it goes"
        left = f"{_size(self.free_bytes)} of {_size(self.total_bytes)} are left{soon}"
        return f"{whose} is nearly full: {left}; make room on it, or give it a larger one"


def low_bytes(total_bytes: int) -> float:
    """Below this a disk of that size is nearly full."""
    return min(LOW_SHARE * total_bytes, LOW_MOST_BYTES)


class Trend:
    """How fast something gets less, from its highest point within the last hours on. Pure."""

    def __init__(self) -> None:
        self._falling: deque[tuple[float, int]] = deque()

    def left_h(self, free_bytes: int, now_s: float) -> float | None:
        """Hours until nothing is left; None where it does not get less, or not for long enough to know."""
        falling = self._falling
        while falling and falling[0][0] < now_s - TREND_MOST_S:
            falling.popleft()
        while falling and falling[-1][1] <= free_bytes:
            falling.pop()
        if not falling or now_s - falling[-1][0] >= 60.0:
            falling.append((now_s, free_bytes))
        since_s, highest = falling[0]
        if now_s - since_s < TREND_LEAST_S or highest <= free_bytes:
            return None
        return free_bytes / (highest - free_bytes) * (now_s - since_s) / 3600


class Disks:
    """The disk of a service's own data, and those of others that it watches for them. Used by one thread.

    `spare`: bytes of the own data that give way before the disk is full; until then they grow and mean nothing.
    """

    def __init__(self, data: Path, watched: Mapping[str, Path] | None = None, spare: Callable[[], int] = lambda: 0) -> None:
        self._spare = spare
        self._folders = {"": data, **(watched or {})}
        self._trends = {name: Trend() for name in self._folders}

    def look(self, now_s: float) -> list[Room]:
        """How they are now. Never raises."""
        return [self._room(name, folder, now_s) for name, folder in self._folders.items()]

    def _room(self, name: str, folder: Path, now_s: float) -> Room:
        room = room_of(name, folder)
        if room.refusal is not None:
            return room
        spare = 0 if name else self._spare()
        return replace(room, left_h=self._trends[name].left_h(room.free_bytes + spare, now_s))


def room_of(name: str, folder: Path) -> Room:
    """As it is at this moment, without a trend. Never raises."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return Room(name, folder, refusal=error.strerror or str(error))
    return Room(name, folder, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def status_figures(rooms: list[Room]) -> dict[str, float]:
    """What a status says of its service's disks; `disks_low` is how many somebody must look after."""
    figures = {name: value for room in rooms for name, value in room.figures.items()}
    return {**figures, "disks_low": float(sum(room.is_low for room in rooms))}


def _size(count: int) -> str:
    for unit, length in (("GB", 1_000_000_000), ("MB", 1_000_000)):
        if count >= length:
            return f"{count / length:.3g} {unit}"
    return f"{count // 1000} kB"
