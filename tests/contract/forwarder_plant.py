"""A forwarder on a real outbox, with a wire and a clock that the test moves."""

import json
from pathlib import Path
from typing import Literal

from millrace_contract.runtime.clock import Now
from millrace_contract.store_forward.forwarder import Forwarder
from millrace_contract.store_forward.numbering import Row
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_file import OutboxFile
from millrace_contract.store_forward.ranges import merge_ranges
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing.outboxes import EPOCH_MS, open_at, telemetry

WINDOW = 3
LIVE_LIMIT = 4


class Plant:
    """An outbox, its forwarder and a wire that remembers what was published, in order."""

    def __init__(
        self, path: Path, confirm: Literal["stored", "broker"] = "stored", window: int = WINDOW, live_limit: int = LIVE_LIMIT
    ) -> None:
        self.path = path
        self.window = window
        self.live_limit = live_limit
        self.now = Now(1_000.0, EPOCH_MS)
        self.confirm = confirm
        self.wire: list[tuple[int, int, bytes]] = []  # token, seq, payload
        self.room = 10**9
        self.refused: set[int] = set()
        self._tokens = 0
        self.file: OutboxFile
        self.forwarder: Forwarder
        self.open()

    @property
    def outbox(self) -> Outbox:
        return self.file.outbox

    def open(self) -> None:
        self.file = open_at(self.path)
        self.forwarder = Forwarder(
            self.file.outbox, self._publish, window=self.window, live_limit=self.live_limit, confirm=self.confirm
        )

    def _publish(self, _topic: str, payload: bytes) -> int | None:
        if len(self.wire) >= self.room:
            return None
        self._tokens += 1
        self.wire.append((self._tokens, json.loads(payload)["seq"], payload))
        return self._tokens

    def append(self, count: int = 1, *, age_s: float = 0.0, device: str = "A") -> list[Row]:
        created_ms = self.now.epoch_ms - int(age_s * 1000)
        with transaction(self.outbox.connection):
            rows = self.outbox.append([telemetry(device, created_ms) for _ in range(count)])
        self.forwarder.committed(rows, self.now)
        return rows

    def pass_time(self, seconds: float) -> None:
        self.now = Now(self.now.monotonic_s + seconds, self.now.epoch_ms + int(seconds * 1000))

    def pump(self) -> list[int]:
        """Pump, and return the seqs that this published."""
        before = len(self.wire)
        self.forwarder.pump(self.now)
        return [seq for _, seq, _ in self.wire[before:]]

    def acknowledge(self, *seqs: int, ok: bool = True) -> None:
        for token, seq, _ in list(self.wire):
            if seq in seqs:
                self.forwarder.published(token, ok, self.now)

    def store(self, *seqs: int) -> None:
        """ingest confirms these, and the rows go."""
        self.forwarder.confirmed(self.outbox.stream, merge_ranges((seq, seq) for seq in seqs), self.now)
        self.delete_safe()

    def delete_safe(self) -> None:
        """What the thread of an outbox does with its next commit."""
        ids = self.forwarder.safe_ids(10**6)
        with transaction(self.outbox.connection):
            count = self.outbox.keep(ids, self.now.epoch_ms)
        self.forwarder.settled(ids, count)

    def sent(self) -> list[int]:
        return [seq for _, seq, _ in self.wire]
