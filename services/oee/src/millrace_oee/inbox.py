"""Everything that the engine's thread waits for, in one bounded place: messages, answers of the database, news of the connection.

Messages of QoS 1 are bounded by the broker, which sends no more than RECEIVE_MAXIMUM before it is told that they are
done. Messages of QoS 0 have no such brake: beyond CAPACITY they are dropped and counted. Answers are bounded by the requests.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from millrace_contract.runtime.mqtt import Received

from .gap_reader import Answer

RECEIVE_MAXIMUM = 2_000
CAPACITY = 4 * RECEIVE_MAXIMUM
BATCH = 500


@dataclass
class Batch:
    """What came since the last take, at most BATCH messages. `connected` is the newest news, None without news."""

    messages: list[Received] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    published: list[tuple[int, bool]] = field(default_factory=list)
    connected: bool | None = None
    reconnected: bool = False


class Inbox:
    """Safe to use from any thread; `take` from one."""

    def __init__(self) -> None:
        self.dropped = 0
        self._messages: deque[Received] = deque()
        self._answers: deque[Answer] = deque()
        self._published: list[tuple[int, bool]] = []
        self._connected: bool | None = None
        self._reconnected = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, received: Received) -> None:
        with self._changed:
            if len(self._messages) >= CAPACITY and not received.qos:
                self.dropped += 1
                return
            self._messages.append(received)
            self._changed.notify()

    def answer(self, answer: Answer) -> None:
        with self._changed:
            self._answers.append(answer)
            self._changed.notify()

    def published(self, token: int, taken: bool) -> None:
        with self._changed:
            self._published.append((token, taken))
            self._changed.notify()

    def connection(self, *, connected: bool) -> None:
        with self._changed:
            self._connected = connected
            self._reconnected = self._reconnected or connected
            self._changed.notify()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def take(self, timeout_s: float) -> Batch:
        """Wait until there is something, at most `timeout_s`. One answer at a time: it may hold thousands of messages."""
        with self._changed:
            if not self._has_something():
                self._changed.wait(timeout_s)
            batch = Batch(
                messages=[self._messages.popleft() for _ in range(min(BATCH, len(self._messages)))],
                answers=[self._answers.popleft()] if self._answers else [],
                published=self._published,
                connected=self._connected,
                reconnected=self._reconnected,
            )
            self._published = []
            self._connected = None
            self._reconnected = False
        return batch

    def _has_something(self) -> bool:
        return bool(self._messages or self._answers or self._published or self._connected is not None)
