"""What this service keeps on its own disk, each change in one transaction: dead letters, spool, losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from millrace_contract.store_forward.sqlite import DiskRefused
from millrace_contract.store_forward.store_file import SetAside

from .dead_letters import DeadLetter, DeadLetters
from .disk import Disk, open_disk
from .known_store import KnownStore
from .losses import STORE_SET_ASIDE, LossBook, OwnLoss, join_losses
from .spool import Spool, Spooled


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """Bytes on disk, roughly; at its limit each drops its oldest, and the ledger says so."""

    dead_letter_bytes: int
    spool_bytes: int


@dataclass(frozen=True, slots=True)
class Changes:
    """One transaction's worth. `unspool`, `unpark`, `told` are keys of what the database has now."""

    letters: Sequence[DeadLetter] = ()
    spooled: Sequence[Spooled] = ()
    unspool: Sequence[int] = ()
    unpark: Sequence[int] = ()
    put_back: Sequence[tuple[int, str, str]] = ()
    told: Sequence[int] = ()

    def __bool__(self) -> bool:
        return any((self.letters, self.spooled, self.unspool, self.unpark, self.put_back, self.told))


class LocalStore:
    """Owned by the writer thread. A disk that fails costs what was to be kept, never the service: the loss is remembered."""

    def __init__(self, disk: Disk, limits: DiskLimits) -> None:
        self._disk = disk
        self.dead_letters = DeadLetters(disk, limits.dead_letter_bytes)
        self.spool = Spool(disk, limits.spool_bytes)
        self.losses = LossBook(disk)
        self.problem: str | None = None
        self.lost = 0
        self._remembered: list[OwnLoss] = []

    def remember(self, losses: Sequence[OwnLoss]) -> None:
        """Losses to write down with the next change. Bounded: they are added up."""
        self._remembered = join_losses([*self._remembered, *losses])
        self.lost += sum(loss.count for loss in losses)

    def apply(self, changes: Changes, now_ms: int) -> bool:
        """Makes the changes, all or none; on disk when it returns True. False: the disk refused, `problem` says why."""
        if not changes and not self._remembered:
            return True
        try:
            with self._disk.transaction():
                evicted = self._change(changes)
                self.losses.record([*self._remembered, *evicted], now_ms)
        except DiskRefused as problem:
            self.problem = str(problem)
            self._measure()
            return False
        self.problem = None
        self._remembered = []
        self.lost += sum(loss.count for loss in evicted)
        return True

    def known_store(self) -> KnownStore | None:
        """What is known of the database. Raises DiskRefused."""
        rows = self._disk.execute(
            "SELECT identity, turn, began_ms, noted_ms, ownerless_ms, restored, found_ms, words FROM known_store"
        )
        return KnownStore(*rows[0]) if rows else None

    def know_store(self, known: KnownStore, losses: Sequence[OwnLoss], now_ms: int) -> None:
        """Keep what is known of the database, and tell what follows from it, both or nothing. Raises DiskRefused."""
        with self._disk.transaction():
            self._disk.execute(
                "INSERT OR REPLACE INTO known_store VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(known)
            )
            self.losses.record(losses, now_ms)

    def close(self) -> None:
        self._disk.close()

    def _change(self, changes: Changes) -> list[OwnLoss]:
        evicted: list[OwnLoss] = []
        if changes.letters:
            evicted += self.dead_letters.park(changes.letters)
        if changes.spooled:
            evicted += self.spool.append(changes.spooled)
        if changes.unspool:
            self.spool.remove(changes.unspool)
        if changes.unpark:
            self.dead_letters.remove(changes.unpark)
        if changes.put_back:
            self.dead_letters.put_back(changes.put_back)
        if changes.told:
            self.losses.remove(changes.told)
        return evicted

    def _measure(self) -> None:
        try:
            self.dead_letters.measure()
            self.spool.measure()
        except DiskRefused as problem:
            self.problem = str(problem)


def open_local_store(folder: Path, limits: DiskLimits, now_ms: int) -> tuple[LocalStore, SetAside | None]:
    """The service's store, and the damaged file that was set aside for it, which is noted as a loss.

    Raises as `open_disk`.
    """
    disk = open_disk(folder, now_ms)
    local = LocalStore(disk, limits)
    if disk.untold:
        with disk.transaction():
            local.losses.record([OwnLoss(STORE_SET_ASIDE, None, now_ms, now_ms, count=0)], now_ms)
            disk.told()
    return local, disk.set_aside
