"""Everything that a worker's thread waits for, in one bounded place: messages, items of its own kind, news of the connection.

Messages of QoS 1 are bounded by the broker, which sends no more than the receive maximum before it is told that they are
done. Messages of QoS 0 have no such brake: beyond four times as many they are dropped and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .mqtt.session import Received

BATCH = 500

T = TypeVar("T")


@dataclass
class Batch(Generic[T]):
    """What came since the last take, at most BATCH messages. `connected` is the newest news, None without news."""

    messages: list[Received] = field(default_factory=list)
    items: list[T] = field(default_factory=list)
    published: list[tuple[int, bool]] = field(default_factory=list)
    connected: bool | None = None
    reconnected: bool = False


class Intake(Generic[T]):
    """Safe to use from any thread; `take` from one. Items (commands of people, answers of the database) pass the messages.

    `item_capacity` bounds the items that wait; None where who hands them over waits for each. `items_a_batch` keeps one turn
    short where an item is much work; None: all that are there.
    """

    def __init__(self, *, receive_maximum: int, item_capacity: int | None = None, items_a_batch: int | None = None) -> None:
        self.capacity = 4 * receive_maximum
        self.dropped = 0
        self._item_capacity = item_capacity
        self._items_a_batch = items_a_batch
        self._messages: deque[Received] = deque()
        self._items: deque[T] = deque()
        self._published: list[tuple[int, bool]] = []
        self._connected: bool | None = None
        self._reconnected = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, received: Received) -> None:
        with self._changed:
            if len(self._messages) >= self.capacity and not received.qos:
                self.dropped += 1
                return
            self._messages.append(received)
            self._changed.notify()

    def put_all(self, messages: Iterable[Received]) -> None:
        """All that came with one read."""
        with self._changed:
            for received in messages:
                if len(self._messages) >= self.capacity and not received.qos:
                    self.dropped += 1
                else:
                    self._messages.append(received)
            self._changed.notify()

    def put_back(self, batch: Batch[T]) -> None:
        """Messages and items that were taken and could not be committed go to the front again."""
        with self._changed:
            self._messages.extendleft(reversed(batch.messages))
            self._items.extendleft(reversed(batch.items))

    def waiting(self) -> list[Received]:
        """The messages that wait, without taking them."""
        with self._changed:
            return list(self._messages)

    def hand_over(self, item: T) -> bool:
        """False when too many are waiting already."""
        with self._changed:
            if self._item_capacity is not None and len(self._items) >= self._item_capacity:
                return False
            self._items.append(item)
            self._changed.notify()
        return True

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

    def take_items(self) -> list[T]:
        """Only the items, at once: for when messages have to wait and people must not."""
        with self._changed:
            return self._some_items()

    def take(self, timeout_s: float, limit: int = BATCH) -> Batch[T]:
        """Wait until there is something, at most `timeout_s`; so many messages at most."""
        with self._changed:
            if not (self._messages or self._items or self._published or self._connected is not None):
                self._changed.wait(timeout_s)
            batch = self._news()
            batch.messages = [self._messages.popleft() for _ in range(min(BATCH, limit, len(self._messages)))]
            batch.items = self._some_items()
        return batch

    def take_news(self) -> Batch[T]:
        """Only news of the connection and answers to publishes, at once: for when everything else has to wait."""
        with self._changed:
            return self._news()

    def _news(self) -> Batch[T]:
        batch: Batch[T] = Batch(published=self._published, connected=self._connected, reconnected=self._reconnected)
        self._published = []
        self._connected = None
        self._reconnected = False
        return batch

    def _some_items(self) -> list[T]:
        count = len(self._items) if self._items_a_batch is None else min(self._items_a_batch, len(self._items))
        return [self._items.popleft() for _ in range(count)]
