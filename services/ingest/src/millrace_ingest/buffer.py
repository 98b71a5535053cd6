"""A bounded queue between two threads that is emptied a batch at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

LULLS = 5
SHORT_LULLS = 25
"""A batch is closed when nothing came for this part of the time that it may linger; the short one is for a large batch."""


class Buffer(Generic[T]):
    """Holds about `max_items` and `max_bytes`. Full: `put` waits, which is the back-pressure; nothing is dropped.

    One producer and one consumer. The consumer is woken twice a batch, not once an item.
    """

    def __init__(self, max_items: int, max_bytes: int, size_of: Callable[[T], int]) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._items: deque[T] = deque()
        self._bytes = 0
        self._wanted = 1
        self._closed = False
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)

    def put(self, items: Sequence[T], wait_s: float) -> bool:
        """Queues all items, as soon as it is not full. False when it was for `wait_s`, or when the buffer is closed."""
        size = sum(map(self._size_of, items))
        with self._lock:
            if self._full() and not self._emptied.wait_for(lambda: self._closed or not self._full(), wait_s):
                return False
            if self._closed:
                return False
            self._items.extend(items)
            self._bytes += size
            if len(self._items) >= self._wanted or self._full():
                self._filled.notify()
            return True

    def take(self, max_items: int, wait_s: float, linger_s: float, worth_it: int | None = None) -> list[T]:
        """The next items in order, at most `max_items`: none when nothing came within `wait_s`.

        After the first item it waits up to `linger_s` for the batch to fill, but no longer than items keep coming: a sender that
        has only so many on their way would else wait for us while we wait for it. Where `worth_it` are there, a short lull will do.
        """
        with self._lock:
            self._await_items(1, wait_s)
            left_s = linger_s
            while left_s > 0 and (before := len(self._items)):
                is_worth_it = worth_it is not None and before >= worth_it
                lull_s = linger_s / (SHORT_LULLS if is_worth_it else LULLS)
                if self._await_items(max_items, lull_s) or len(self._items) == before:
                    break
                left_s -= lull_s
            taken = [self._items.popleft() for _ in range(min(max_items, len(self._items)))]
            self._bytes -= sum(map(self._size_of, taken))
            self._emptied.notify()
            return taken

    def close(self) -> None:
        """Wakes both sides. What is queued can still be taken; nothing more is accepted."""
        with self._lock:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def depth(self) -> int:
        """Items now queued."""
        return len(self._items)

    @property
    def bytes(self) -> int:
        return self._bytes

    def _full(self) -> bool:
        return len(self._items) >= self._max_items or self._bytes >= self._max_bytes

    def _await_items(self, count: int, wait_s: float) -> bool:
        self._wanted = count
        return self._filled.wait_for(lambda: self._closed or self._full() or len(self._items) >= count, wait_s)
