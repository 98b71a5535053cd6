"""A thread that owns an outbox, and what it publishes to."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from millrace_contract.language.messages import Ledger, decode
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.testing.outboxes import EPOCH_MS, LEDGER, telemetry


class Wire:
    """Takes what is published; by default a broker and an ingest that confirm it at once."""

    def __init__(self) -> None:
        self.outbox: OutboxThread | None = None
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.payloads: list[bytes] = []
        self.is_confirming = True
        self._token = 0

    def publish(self, topic: str, payload: bytes) -> int:
        self._token += 1
        message = json.loads(payload)
        self.messages.append((topic, message))
        self.payloads.append(payload)
        if self.outbox is not None and self.is_confirming:
            self.outbox.published(self._token, True)
            self.outbox.confirmed(message["stream"], [(message["seq"], message["seq"])])
        return self._token

    def seqs(self) -> list[int]:
        return [message["seq"] for topic, message in self.messages if topic != LEDGER]

    def ledger(self) -> list[Ledger]:
        return [
            decode(Ledger, payload) for (topic, _), payload in zip(self.messages, self.payloads, strict=True) if topic == LEDGER
        ]


Start = Callable[..., OutboxThread]


def drafts(count: int, first: int = 0, device: str = "A", filler: str = "") -> list[Draft]:
    return [telemetry(device, EPOCH_MS + first + n, filler) for n in range(count)]


def has_published(outbox: OutboxThread, count: int) -> bool:
    return outbox.stats().published > count


def disk(outbox: OutboxThread) -> sqlite3.Connection:
    """The sender's own connection, to make its disk refuse."""
    assert outbox._file is not None
    return outbox._file.outbox.connection
