"""The thread that owns the gateway's outbox: commits in groups, then forwards. Other threads only leave messages in its inbox.

While the disk takes nothing (full, read-only, gone), messages wait in the inbox; beyond its limit the oldest are dropped,
and the ledger entry follows as soon as the disk takes it. Nothing is published that is not committed.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from .database import Damaged, DiskRefused, transaction, translated
from .forwarder import Forwarder, Now, Publish
from .inbox import Dropped, Inbox
from .losses import EncodeLoss, Loss
from .numbering import Draft, Row
from .outbox import Outbox
from .outbox_file import OutboxFile, open_outbox
from .outbox_stats import Limits, SenderStats, Tally
from .ranges import Range
from .runtime.clock import Clock
from .runtime.logs import get_logger

_ROUND_S = 0.02  # At most one commit in this time: what comes meanwhile shares it.
_COMMIT_ROWS = 2_000
_SETTLE_S = 0.2  # Deletions alone wait this long; with new messages they share the commit.
_IDLE_S = 0.5
_RETRY_S = 1.0

_log = get_logger(__name__)


class OutboxSender:
    """Takes drafts from any thread, keeps them in the outbox at `path`, and forwards them through `publish`.

    `heartbeat` is called at least every second while the thread turns. `start` raises WrongSender and InUse; a disk that takes
    nothing is no reason not to start.
    """

    def __init__(
        self,
        path: Path,
        sender: str,
        publish: Publish,
        *,
        ledger_topic: str,
        encode_loss: EncodeLoss,
        clock: Clock,
        limits: Limits | None = None,
        window: int = 1_000,
        live_limit: int = 20_000,
        confirm: Literal["stored", "broker"] = "stored",
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._limits = limits or Limits()
        self._heartbeat = heartbeat
        self._open_file = partial(open_outbox, path, sender, ledger_topic=ledger_topic, encode_loss=encode_loss)
        self._new_forwarder = partial(Forwarder, publish=publish, window=window, live_limit=live_limit, confirm=confirm)
        self._inbox = Inbox(self._limits.held_messages)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._file: OutboxFile | None = None
        self._forwarder: Forwarder | None = None
        self._is_connected = False
        self._is_taking = True
        self._distrust: str | None = None
        self._disk_problem: str | None = None
        self._retry_s = -math.inf
        self._settled_s = -math.inf
        self._deadline_s = math.inf
        self._tally = Tally()
        self._stats = SenderStats()

    def start(self) -> None:
        """Open the outbox and start the thread."""
        now = self._now()
        self._tally.hold_age(now)
        self._try_to_open(now)
        self._refresh_stats(now)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Commit what waits, and end; return whether everything was committed. Idempotent."""
        self._deadline_s = self._clock.monotonic_s() + timeout_s * 0.8
        self._inbox.stop()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._thread.is_alive() or len(self._inbox):
            _log.error("outbox_stop_incomplete", not_committed=len(self._inbox))
            return False
        return True

    def append(self, drafts: Iterable[Draft]) -> None:
        """Leave messages to be kept and sent, in order. Any thread; never blocks on the disk."""
        self._inbox.put(drafts)

    def connected(self) -> None:
        """Tell that the session is up. Any thread."""
        self._inbox.put_event(partial(self._on_connection, is_connected=True))

    def disconnected(self) -> None:
        """Tell that the session is down. Any thread."""
        self._inbox.put_event(partial(self._on_connection, is_connected=False))

    def taking(self, is_taking: bool) -> None:
        """Tell whether some ingest takes data. Any thread."""
        self._inbox.put_event(partial(self._on_taking, is_taking))

    def published(self, token: int, ok: bool) -> None:
        """Tell the broker's answer to a publish. Any thread."""
        self._inbox.put_event(partial(self._on_published, token, ok))

    def confirmed(self, stream: str, seqs: Sequence[Range]) -> None:
        """Tell a confirmation of ingest. Any thread."""
        self._inbox.put_event(partial(self._on_confirmed, stream, seqs))

    def stats(self) -> SenderStats:
        """Return the figures of at most a second ago. Any thread."""
        return self._stats

    def _now(self) -> Now:
        return Now(self._clock.monotonic_s(), self._clock.now_ms())

    def _run(self) -> None:
        while not self._inbox.is_stopping:
            self._heartbeat()
            began_s = time.monotonic()
            is_busy = self._round(self._now())
            is_writable = self._disk_problem is None
            if not is_busy:
                self._inbox.wait(_SETTLE_S if self._has_unsettled() else _IDLE_S, also_drafts=is_writable)
            if len(self._inbox) < _COMMIT_ROWS or not is_writable:
                time.sleep(max(0.0, began_s + _ROUND_S - time.monotonic()))
        self._finish()

    def _round(self, now: Now) -> bool:
        """Do what there is to do; return whether more waits already."""
        for event in self._inbox.take_events():
            event(now)
        if self._disk_problem is not None and now.monotonic_s < self._retry_s:
            is_busy = self._pump(now)
        else:
            is_busy = self._commit_and_pump(now)
        if self._tally.is_due(now):
            self._tick(now)
        return is_busy

    def _commit_and_pump(self, now: Now) -> bool:
        if self._file is None and not self._try_to_open(now):
            return False
        assert self._file is not None  # noqa: S101 - just opened
        assert self._forwarder is not None  # noqa: S101 - it comes with the file
        drafts = self._inbox.take(_COMMIT_ROWS)
        dropped = self._inbox.take_dropped()
        try:
            rows = self._commit(self._file.outbox, self._forwarder, drafts, dropped, now)
        except (DiskRefused, Damaged) as error:
            self._inbox.put_back(drafts)
            self._inbox.put_back_dropped(dropped)
            self._give_up(error, now)
            return False
        if self._disk_problem is not None and (drafts or dropped):
            self._accepts_again()
        self._tally.commit(rows)
        self._forwarder.committed(rows, now)
        return self._pump(now) or len(drafts) == _COMMIT_ROWS

    def _commit(
        self,
        outbox: Outbox,
        forwarder: Forwarder,
        drafts: list[Draft],
        dropped: dict[str | None, Dropped],
        now: Now,
    ) -> list[Row]:
        """One transaction for new messages, the ledger of dropped ones, and deletions. Raises DiskRefused and Damaged."""
        ids = forwarder.safe_ids()
        if not drafts and not dropped and (not ids or now.monotonic_s < self._settled_s + _SETTLE_S):
            return []
        with transaction(outbox.connection):
            losses = [
                Loss(outbox.stream, device, [], past.first_ms, past.last_ms, past.messages, "memory_full")
                for device, past in dropped.items()
            ]
            rows = outbox.append_losses(losses, now.epoch_ms) if losses else []
            if drafts:
                rows += outbox.append(drafts)
            count = outbox.delete(ids)
        forwarder.deleted(ids, count)
        self._settled_s = now.monotonic_s
        return rows

    def _pump(self, now: Now) -> bool:
        if self._forwarder is None:
            return False
        try:
            with translated():
                return self._forwarder.pump(now) > 0
        except (DiskRefused, Damaged) as error:
            self._give_up(error, now)
            return False

    def _has_unsettled(self) -> bool:
        return self._forwarder is not None and bool(self._forwarder.safe_ids())

    def _tick(self, now: Now) -> None:
        """Once a second: limits, rates, figures."""
        if self._file is not None and self._forwarder is not None and now.monotonic_s >= self._retry_s:
            outbox = self._file.outbox
            try:
                if self._file.put_back():
                    _log.error("outbox_file_removed", path=str(self._path), written_anew=outbox.depth)
                    self._close()
                    return
                with transaction(outbox.connection):
                    losses = outbox.prune(
                        max_bytes=self._limits.max_bytes,
                        max_age_ms=self._limits.max_age_ms if self._tally.is_age_known(now) else now.epoch_ms,
                        now_ms=now.epoch_ms,
                    )
            except (DiskRefused, Damaged) as error:
                self._give_up(error, now)
            else:
                self._tally.drop(losses, now)
                if losses:
                    self._forwarder.look_again()
        self._refresh_stats(now)

    def _try_to_open(self, now: Now) -> bool:
        """Raises WrongSender and InUse, which `start` passes on."""
        try:
            self._file = self._open_file(now_ms=now.epoch_ms, distrust=self._distrust)
        except DiskRefused as error:
            self._give_up(error, now)
            return False
        self._distrust = None
        aside = self._file.set_aside
        if aside is not None:
            self._tally.set_aside += 1
            _log.error(
                "outbox_set_aside",
                path=str(aside.path),
                reason=aside.reason,
                adopted=self._file.adopted,
                stream=self._file.outbox.stream,
            )
        self._forwarder = self._new_forwarder(self._file.outbox)
        if self._is_connected:
            self._forwarder.connected()
        self._forwarder.taking(self._is_taking)
        return True

    def _give_up(self, error: DiskRefused | Damaged, now: Now) -> None:
        """Wait before the disk is asked again; a file that is damaged is closed, to be set aside."""
        self._retry_s = now.monotonic_s + _RETRY_S
        if isinstance(error, Damaged):
            self._distrust = str(error)
            self._close()
        if isinstance(error, DiskRefused) and self._disk_problem != str(error):
            _log.error("outbox_disk_refuses", reason=str(error), held=len(self._inbox), path=str(self._path))
            self._disk_problem = str(error)

    def _accepts_again(self) -> None:
        _log.info("outbox_disk_accepts_again", after=self._disk_problem, dropped=self._inbox.dropped_count)
        self._disk_problem = None

    def _close(self) -> None:
        if self._forwarder is not None:
            self._tally.keep(self._forwarder)
        if self._file is not None:
            self._file.close()
        self._file = None
        self._forwarder = None

    def _finish(self) -> None:
        """Commit what waits, as far as the disk takes it in time."""
        self._retry_s = -math.inf
        while True:
            now = self._now()
            self._round(now)
            is_done = not len(self._inbox)
            if is_done or now.monotonic_s >= self._deadline_s:
                break
            if self._disk_problem is not None:
                time.sleep(_ROUND_S)
                self._retry_s = -math.inf
        self._settled_s = -math.inf
        self._round(self._now())
        self._refresh_stats(self._now())
        self._close()

    def _on_connection(self, _now: Now, *, is_connected: bool) -> None:
        self._is_connected = is_connected
        if self._forwarder is not None:
            if is_connected:
                self._forwarder.connected()
            else:
                self._forwarder.disconnected()

    def _on_taking(self, is_taking: bool, _now: Now) -> None:
        self._is_taking = is_taking
        if self._forwarder is not None:
            self._forwarder.taking(is_taking)

    def _on_published(self, token: int, ok: bool, now: Now) -> None:
        if self._forwarder is not None:
            self._forwarder.published(token, ok, now)

    def _on_confirmed(self, stream: str, seqs: Sequence[Range], now: Now) -> None:
        if self._forwarder is not None:
            self._forwarder.confirmed(stream, seqs, now)

    def _refresh_stats(self, now: Now) -> None:
        self._stats = self._tally.stats(
            self._file, self._forwarder, self._inbox, self._limits, now, disk_problem=self._disk_problem
        )
