"""What the simulator must remember over a restart: counters of served reads, and the lives that faults have changed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from millrace_contract.errors import CannotStart
from millrace_contract.runtime.files import replace_file

from .faults import Fault
from .machine import Life

BLOCK = 100_000
"""Counter values that are reserved at a time: a restart skips what is left of a block."""
COUNTER_MODULUS = 1 << 32


def lock(folder: Path) -> int:
    """Keep others out of the folder until the descriptor is closed or the process ends.

    Raises CannotStart where another has it (two would use the same counter values), or OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        reason = f"{folder} is in use by another millrace-sim; give this one a folder of its own"
        raise CannotStart("MILLRACE_DATA", reason) from error
    return descriptor


class ServedCounters:
    """Counts the served reads of each device. A value is used once, over restarts and kills, because the file is ahead of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserved: dict[str, int] = msgspec.json.decode(path.read_bytes(), type=dict[str, int]) if path.exists() else {}
        self._value: dict[str, int] = {}

    def begin(self, devices: list[str]) -> None:
        """Reserve the first block of every device; one write for all."""
        for device in devices:
            self._value[device] = self._reserved.get(device, 0)
            self._reserved[device] = self._value[device] + BLOCK
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, msgspec.json.encode(self._reserved))

    def value(self, device: str) -> int:
        return self._value[device] % COUNTER_MODULUS

    def following(self, device: str) -> int:
        """The value that the next step gives."""
        return (self._value[device] + 1) % COUNTER_MODULUS

    def step(self, device: str) -> None:
        """A read has been served. Raises OSError where the next block can't be reserved."""
        value = self._value[device] + 1
        if value >= self._reserved[device]:
            self._reserved[device] = value + BLOCK
            replace_file(self._path, msgspec.json.encode(self._reserved))
        self._value[device] = value


class SavedLives(msgspec.Struct):
    """Lives that differ from what the seed gives, because a fault was commanded; and the faults of machines that last."""

    seed: int
    speed: float
    lives: dict[str, Life] = {}
    faults: list[tuple[Fault, int]] = []


def load_lives(path: Path, seed: int, speed: float) -> SavedLives:
    """What was saved; nothing where the file is missing or of another seed or speed."""
    if path.exists():
        saved = msgspec.json.decode(path.read_bytes(), type=SavedLives)
        if (saved.seed, saved.speed) == (seed, speed):
            return saved
    return SavedLives(seed, speed)


def save_lives(path: Path, saved: SavedLives) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, msgspec.json.encode(saved), durable=False)
