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

from ..language.messages import Held
from ..runtime.clock import Clock, Now, moment
from ..runtime.logs import get_logger
from .database_files import InUse
from .disk_trouble import DiskTrouble
from .forwarder import Publish
from .inbox import Dropped, DroppedKey, Inbox
from .limits import Limits
from .losses import EncodeLoss, Loss
from .numbering import Draft, EncodingFailed, Row
from .outbox import Outbox, WrongSender
from .outbox_figures import OutboxFigures, Tally
from .outbox_file import OutboxFile, open_outbox
from .outbox_keeper import OutboxKeeper, free_bytes
from .ranges import Range
from .sqlite import Damaged, DiskRefused
from .store_form import StoreRefused

_ROUND_S = 0.1  # At most one commit in this time: what comes meanwhile shares it.
_ROUND_ROWS = 50  # So many do not wait any longer: a larger group holds the interpreter so long that reads begin late.
_LINGER_S = 0.01  # Messages come in bursts, because the reads of many devices share a wake-up.
_DRAIN_ROUND_S = 0.03  # While there is a backlog to publish.
_SETTLE_S = 0.5  # Confirmations alone wait this long; with new messages they share the commit.
_IDLE_S = 0.5

_log = get_logger(__name__)


class OutboxThread:
    """Takes drafts from any thread, keeps them in the outbox at `path`, and forwards them through `publish`.

    `heartbeat` is called at least every second while the thread turns. `start` raises WrongSender, InUse and
    StoreRefused; a disk that takes nothing is no reason not to start.
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
        self._inbox = Inbox(self._limits.held_messages)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._file: OutboxFile | None = None
        self._keeper: OutboxKeeper | None = None
        self._is_connected = False
        self._is_taking = True
        self._distrust: str | None = None
        self._trouble = DiskTrouble(str(path))
        self._settled_s = -math.inf
        self._deadline_s = math.inf
        self._tally = Tally()
        self._stats = OutboxFigures()
        self._new_keeper = partial(
            OutboxKeeper,
            publish=publish,
            path=path,
            limits=self._limits,
            trouble=self._trouble,
            tally=self._tally,
            window=window,
            live_limit=live_limit,
            confirm=confirm,
        )

    def start(self) -> None:
        """Open the outbox and start the thread."""
        now = self._now()
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
        self._inbox.put_answer(token, ok)

    def confirmed(self, stream: str, seqs: Sequence[Range], held: Held | None = None) -> None:
        """Tell a confirmation of ingest, and what the store holds. Any thread."""
        self._inbox.put_event(partial(self._on_confirmed, stream, seqs, held))

    def stats(self) -> OutboxFigures:
        """Return the figures of at most a second ago. Any thread."""
        return self._stats

    def _now(self) -> Now:
        return moment(self._clock)

    def _run(self) -> None:
        while not self._inbox.is_stopping:
            self._heartbeat()
            began_s = time.monotonic()
            is_busy = self._round(self._now())
            is_waiting = self._trouble.is_waiting(self._clock.monotonic_s())
            if not is_busy:
                self._inbox.wait(_SETTLE_S if self._has_safe() else _IDLE_S, also_drafts=not is_waiting)
            if len(self._inbox) < self._trouble.commit_rows or is_waiting:
                round_s = _DRAIN_ROUND_S if is_busy or self._is_draining() else _ROUND_S
                left_s = max(_LINGER_S, began_s + round_s - time.monotonic())
                self._inbox.gather(math.inf if is_waiting else _ROUND_ROWS, left_s)
        self._finish()

    def _round(self, now: Now) -> bool:
        """Do what there is to do; return whether more waits already."""
        for event in self._inbox.take_events():
            event(now)
        for token, ok in self._inbox.take_answers():
            if self._keeper is not None:
                self._keeper.forwarder.published(token, ok, now)
        is_busy = self._pump(now) if self._trouble.is_waiting(now.monotonic_s) else self._commit_and_pump(now)
        if self._tally.is_due(now):
            self._tick(now)
        return is_busy

    def _commit_and_pump(self, now: Now) -> bool:
        keeper = self._keeper or self._try_to_open(now)
        if keeper is None:
            return False
        drafts = self._inbox.take(self._trouble.commit_rows)
        is_full_batch = len(drafts) == self._trouble.commit_rows
        dropped = self._inbox.take_dropped()
        try:
            rows = self._commit(keeper, drafts, dropped, now)
        except (DiskRefused, Damaged) as error:
            self._inbox.put_back(drafts)
            self._inbox.put_back_dropped(dropped)
            self._give_up(error, now)
            return False
        except EncodingFailed as error:  # One device's strange reading must not stop the others.
            _log.exception("outbox_message_not_encoded", topic=error.draft.topic)
            self._inbox.put_back([draft for draft in drafts if draft is not error.draft])
            self._inbox.put_back_dropped(dropped)
            self._inbox.drop(error.draft, "encoding_failed")
            return True
        for draft in drafts:
            draft.settled()
        self._trouble.accepted(len(rows), now.monotonic_s, len(self._inbox))
        keeper.forwarder.committed(rows, now)
        return self._pump(now) or is_full_batch

    def _commit(self, keeper: OutboxKeeper, drafts: list[Draft], dropped: dict[DroppedKey, Dropped], now: Now) -> list[Row]:
        """One transaction for new messages, the ledger of dropped ones, and confirmations. Raises DiskRefused and Damaged."""
        may_settle = keeper.forwarder.has_safe and now.monotonic_s >= self._settled_s + _SETTLE_S
        if not (drafts or dropped or may_settle or self._trouble.needs_room or keeper.outbox.is_taking_back):
            return []
        rows = keeper.commit(lambda: _appended(keeper.outbox, drafts, dropped, now), now)
        self._settled_s = now.monotonic_s
        return rows

    def _pump(self, now: Now) -> bool:
        if self._keeper is None:
            return False
        try:
            return self._keeper.pump(now)
        except (DiskRefused, Damaged) as error:
            self._give_up(error, now)
            return False

    def _is_draining(self) -> bool:
        return self._keeper is not None and self._keeper.forwarder.backlog_in_flight > 0

    def _has_safe(self) -> bool:
        return self._keeper is not None and self._keeper.forwarder.has_safe

    def _tick(self, now: Now) -> None:
        """Once a second: limits, rates, figures."""
        if self._file is not None and self._keeper is not None and not self._trouble.is_waiting(now.monotonic_s):
            try:
                if self._file.put_back():
                    _log.error("outbox_file_removed", path=str(self._path), written_anew=self._file.outbox.depth)
                    self._close()
                    return
                self._keeper.prune(now)
            except (DiskRefused, Damaged) as error:
                self._give_up(error, now)
        self._refresh_stats(now)

    def _try_to_open(self, now: Now) -> OutboxKeeper | None:
        """`start` passes on WrongSender, InUse and StoreRefused; met while the thread runs they are the disk's trouble."""
        try:
            self._file = self._open_file(now_ms=now.epoch_ms, distrust=self._distrust)
        except DiskRefused as error:
            self._give_up(error, now)
            return None
        except (WrongSender, InUse, StoreRefused) as error:
            if self._thread.ident is None:
                raise
            self._give_up(DiskRefused(str(error)), now)
            return None
        self._distrust = None
        self._keeper = keeper = self._new_keeper(self._file.outbox)
        self._begin(keeper, now)
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
        if self._is_connected:
            keeper.forwarder.connected()
        keeper.forwarder.taking(self._is_taking)
        return keeper

    def _begin(self, keeper: OutboxKeeper, now: Now) -> None:
        try:
            keeper.begin(now)
        except DiskRefused as error:
            self._give_up(error, now)

    def _give_up(self, error: DiskRefused | Damaged, now: Now) -> None:
        """Wait before the disk is asked again; a file that is damaged is closed, to be set aside."""
        if isinstance(error, Damaged):
            self._distrust = str(error)
            self._close()
        else:
            self._trouble.refused(str(error), now.monotonic_s, len(self._inbox))

    def _close(self) -> None:
        if self._keeper is not None:
            self._tally.keep(self._keeper.forwarder)
        if self._file is not None:
            self._file.close()
        self._file = None
        self._keeper = None

    def _finish(self) -> None:
        """Commit what waits, as far as the disk takes it in time."""
        while True:
            self._trouble.try_now()
            now = self._now()
            self._round(now)
            if not len(self._inbox) or now.monotonic_s >= self._deadline_s:
                break
            if self._trouble.needs_room:
                time.sleep(_ROUND_S)
        self._settled_s = -math.inf
        self._round(self._now())
        self._refresh_stats(self._now())
        self._close()

    def _on_connection(self, _now: Now, *, is_connected: bool) -> None:
        self._is_connected = is_connected
        if self._keeper is not None:
            if is_connected:
                self._keeper.forwarder.connected()
            else:
                self._keeper.forwarder.disconnected()

    def _on_taking(self, is_taking: bool, _now: Now) -> None:
        self._is_taking = is_taking
        if self._keeper is not None:
            self._keeper.forwarder.taking(is_taking)

    def _on_confirmed(self, stream: str, seqs: Sequence[Range], held: Held | None, now: Now) -> None:
        if self._keeper is None:
            return
        self._keeper.forwarder.confirmed(stream, seqs, now)
        if held is not None:
            try:
                self._keeper.hear(held, now)
            except (DiskRefused, Damaged) as error:
                self._give_up(error, now)

    def _refresh_stats(self, now: Now) -> None:
        self._stats = self._tally.figures(
            None if self._keeper is None else self._keeper.outbox,
            None if self._keeper is None else self._keeper.forwarder,
            self._limits,
            now,
            free_bytes=free_bytes(self._path),
            disk_problem=self._trouble.problem,
            held=len(self._inbox),
            dropped_in_memory=self._inbox.dropped_count,
        )


def _appended(outbox: Outbox, drafts: list[Draft], dropped: dict[DroppedKey, Dropped], now: Now) -> list[Row]:
    """New messages and the ledger of those that were dropped in memory, in the caller's transaction."""
    losses = [
        Loss(outbox.stream, device, [], past.first_ms, past.last_ms, past.messages, cause)
        for (device, cause), past in dropped.items()
    ]
    rows = outbox.append_losses(losses, now.epoch_ms) if losses else []
    return rows + outbox.append(drafts) if drafts else rows
