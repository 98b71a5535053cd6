"""What everybody does who owns an outbox: commit, forward, prune, and make room where the disk is full.

The gateway's outbox thread and the workers of oee and alerts (`turns`) drive it; how each waits for its messages is their own.
Every call comes from the one thread that owns the outbox.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..language.messages import Held
from ..runtime.clock import Now
from ..runtime.logs import get_logger
from .disk_trouble import DiskTrouble
from .forwarder import Forwarder, Publish
from .limits import Limits
from .losses import Loss
from .numbering import Row
from .outbox import Outbox
from .outbox_figures import OutboxFigures, Tally
from .ranges import Range
from .reserve import Reserve
from .sqlite import checkpoint, shrink, transaction, translated

_SETTLE_ROWS = 2_000
_SHRINK_PAGES = 512
_TAKE_BACK_ROWS = 20_000  # Their sizes are read: at most so many in one transaction.
_PRUNES = 10  # At most so many calls a second, each of a bounded number of rows.
_ROOM_BYTES = 4 * 1024**2  # So much of what is kept goes at once where the disk is full.
_RESERVE_BYTES = 16 * 1024**2  # More than the write-ahead log and the deletions of one moment take.

_log = get_logger(__name__)


def _nothing(_losses: list[Loss]) -> None:
    pass


class OutboxKeeper:
    """One open outbox with its forwarder, its limits and its reserve.

    path: of the file that the outbox lies in. trouble, tally: of the thread; they outlive a file that is opened anew.
    """

    def __init__(
        self,
        outbox: Outbox,
        publish: Publish,
        *,
        path: Path,
        limits: Limits,
        trouble: DiskTrouble,
        tally: Tally,
        window: int,
        live_limit: int,
        confirm: Literal["stored", "broker"] = "stored",
        refilled: Callable[[int], list[Row]] = lambda _since_ms: [],
    ) -> None:
        """`refilled` is called inside the transaction of a commit (Worker.refilled)."""
        self.outbox = outbox
        self.forwarder = Forwarder(outbox, publish, window=window, live_limit=live_limit, confirm=confirm)
        self._keeps = confirm == "stored"  # Nobody but our ingest ever asks for what was confirmed.
        self._refilled = refilled
        self._path = path
        self._limits = limits
        self._trouble = trouble
        self._tally = tally
        self._reserve = Reserve(path.with_name(path.name + ".reserve"), min(_RESERVE_BYTES, limits.max_bytes))

    def begin(self, now: Now) -> None:
        """Start: look at the clock, and take the room for the day the disk is full. Raises DiskRefused where it is full already."""
        self.outbox.are_ages_known(now)
        self._reserve.hold()

    def commit(self, apply: Callable[[], list[Row]], now: Now) -> list[Row]:
        """One transaction for what `apply` writes, and for what was confirmed; return the rows of `apply`.

        After a refusal room is made first, and the caller's memory must go back to what is stored.
        Raises DiskRefused and Damaged: nothing was written.
        """
        if self._trouble.needs_room:
            self._make_room(now)
        ids = self.forwarder.safe_ids(_SETTLE_ROWS)
        with transaction(self.outbox.connection):
            rows = apply()
            count = self._settle(ids, now)
            if (since_ms := self.outbox.refilled()) is not None:
                _log.info("store_has_again_what_it_lacked")
                rows = [*rows, *self._refilled(since_ms)]
            first_again = self.outbox.take_back(_TAKE_BACK_ROWS) if self.outbox.is_taking_back else None
        self.forwarder.settled(ids, count)
        if first_again is not None:
            self.forwarder.waits_again(first_again)
        self._tally.commit(rows)
        return rows

    def hear(self, held: Held, now: Now) -> None:
        """What the store says that it holds. Raises DiskRefused and Damaged: it will be said again."""
        with transaction(self.outbox.connection):
            is_lacking = self.outbox.hear(held, now.epoch_ms)
        self.forwarder.look_again()
        if is_lacking:
            _log.warning("store_lacks_what_it_confirmed", store=held.store, holds=held.mark, noted=held.noted)
            self.forwarder.forget_confirmations()

    def prune(self, now: Now, dropped: Callable[[list[Loss]], None] = _nothing) -> None:
        """Drop what is beyond the limits, in transactions of a bounded size; `dropped` is called inside each of them.

        What is kept although it is confirmed goes first, and takes no more of the disk than is free besides.
        Raises DiskRefused and Damaged.
        """
        scarce = self.outbox.kept_bytes - free_bytes(self._path)
        for _ in range(_PRUNES):
            with transaction(self.outbox.connection):
                excess = self.outbox.kept_bytes - free_bytes(self._path)
                if not self.outbox.drop_kept(self._limits, now, excess=excess):
                    break
        if scarce > 0:
            shrink(self.outbox.connection, _SHRINK_PAGES)
        for _ in range(_PRUNES):
            with transaction(self.outbox.connection):
                losses = self.outbox.prune(self._limits, now)
                if losses:
                    dropped(losses)
            self._tally.drop(losses, now)
            if not losses:
                break
            self.forwarder.look_again()

    def pump(self, now: Now) -> bool:
        """Publish some of the backlog; return whether there was any. Raises DiskRefused and Damaged."""
        with translated():
            return self.forwarder.pump(now) > 0

    def figures(self, now: Now) -> OutboxFigures:
        """The figures of this moment; the rates move on. Raises DiskRefused and Damaged."""
        with translated():
            return self._tally.figures(
                self.outbox,
                self.forwarder,
                self._limits,
                now,
                free_bytes=free_bytes(self._path),
                disk_problem=self._trouble.problem,
            )

    def _settle(self, ids: list[Range], now: Now) -> int:
        return self.outbox.keep(ids, now.epoch_ms) if self._keeps else self.outbox.delete(ids)

    def _make_room(self, now: Now) -> None:
        """Delete what is safe, in the room of the reserve; nothing is added before that is ours again.

        Raises DiskRefused and Damaged.
        """
        self._reserve.release()
        checkpoint(self.outbox.connection)
        while ids := self.forwarder.safe_ids(_SETTLE_ROWS):
            with transaction(self.outbox.connection):
                count = self._settle(ids, now)
            self.forwarder.settled(ids, count)
            checkpoint(self.outbox.connection)
        excess = min(self.outbox.kept_bytes, _ROOM_BYTES)
        while excess > 0:
            before = self.outbox.kept_bytes
            with transaction(self.outbox.connection):
                if not self.outbox.drop_kept(self._limits, now, excess=excess):
                    break
            excess -= before - self.outbox.kept_bytes
            checkpoint(self.outbox.connection)
        shrink(self.outbox.connection, _SHRINK_PAGES)
        self._reserve.hold()


def free_bytes(path: Path) -> int:
    """What the disk of a file has left; 0 where the disk is not there."""
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 0
