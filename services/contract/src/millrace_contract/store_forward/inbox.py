"""Where other threads leave messages for the thread that owns the outbox: bounded, never blocking, exact about what it drops."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..runtime.clock import Now
from .numbering import Draft

Event = Callable[[Now], None]
"""Something that happened to the session, applied on the outbox's thread in the order of arrival."""


DroppedKey = tuple[str | None, str]
"""Device and cause."""


class Dropped(NamedTuple):
    """Messages of one device that were dropped before they had a number."""

    messages: int
    first_ms: int
    last_ms: int

    def plus(self, other: "Dropped") -> "Dropped":
        """Both together."""
        return Dropped(self.messages + other.messages, min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms))


class Inbox:
    """Drafts and events for one reader. At most `limit` drafts are held; beyond it the oldest is dropped and counted by device."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._drafts: deque[Draft] = deque()
        self._events: deque[Event] = deque()
        self._answers: deque[tuple[int, bool]] = deque()
        self._dropped: dict[DroppedKey, Dropped] = {}
        self._dropped_count = 0
        self._is_stopping = False
        self._is_waiting = False
        self._wanted = math.inf
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many drafts wait."""
        return len(self._drafts)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._is_stopping

    @property
    def dropped_count(self) -> int:
        """How many drafts were dropped so far."""
        return self._dropped_count

    def put(self, drafts: Iterable[Draft]) -> None:
        """Add drafts at the end."""
        # Without the lock, as long as nobody waits: the reader says that it waits before it looks for the last time.
        self._drafts.extend(drafts)
        if self._is_waiting or len(self._drafts) >= self._wanted or len(self._drafts) > self._limit:
            with self._changed:
                self._shed()
                self._wake()
                if len(self._drafts) >= self._wanted:
                    self._changed.notify()

    def put_back(self, drafts: list[Draft]) -> None:
        """Return what could not be committed to the front."""
        with self._changed:
            self._drafts.extendleft(reversed(drafts))
            self._shed()

    def put_event(self, event: Event) -> None:
        """Add an event at the end."""
        with self._changed:
            self._events.append(event)
            self._wake()

    def put_answer(self, token: int, ok: bool) -> None:
        """Add the broker's answer to a publish. Nobody is woken for it: there is one for each message, and none is urgent."""
        self._answers.append((token, ok))

    def stop(self) -> None:
        """Wake the reader for the last time."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    def wait(self, timeout_s: float, *, also_drafts: bool) -> None:
        """Wait until there is something to do: an event, the stop, or a draft if those matter now."""
        with self._changed:
            self._is_waiting = True
            if not (self._events or self._is_stopping or (also_drafts and self._drafts)):
                self._changed.wait(timeout_s)
            self._is_waiting = False

    def gather(self, drafts: float, timeout_s: float) -> None:
        """Wait until so many drafts are there, or the time is over, or the stop."""
        with self._changed:
            self._wanted = drafts
            self._changed.wait_for(lambda: len(self._drafts) >= drafts or self._is_stopping, timeout_s)
            self._wanted = math.inf

    def take(self, limit: int) -> list[Draft]:
        """Remove and return the oldest drafts, at most `limit`."""
        with self._changed:
            return [self._drafts.popleft() for _ in range(min(limit, len(self._drafts)))]

    def take_events(self) -> list[Event]:
        """Remove and return all events."""
        with self._changed:
            events = list(self._events)
            self._events.clear()
            return events

    def take_answers(self) -> list[tuple[int, bool]]:
        """Remove and return what the broker answered."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def drop(self, draft: Draft, cause: str) -> None:
        """Count a draft that was taken and cannot be kept."""
        with self._changed:
            self._count_dropped(draft, cause)

    def take_dropped(self) -> dict[DroppedKey, Dropped]:
        """Remove and return what was dropped, by device and cause."""
        with self._changed:
            dropped, self._dropped = self._dropped, {}
            return dropped

    def put_back_dropped(self, dropped: dict[DroppedKey, Dropped]) -> None:
        """Return what could not be told yet."""
        with self._changed:
            for key, past in dropped.items():
                self._add_dropped(key, past)

    def _shed(self) -> None:
        while len(self._drafts) > self._limit:
            self._count_dropped(self._drafts.popleft(), "memory_full")

    def _count_dropped(self, draft: Draft, cause: str) -> None:
        self._dropped_count += 1
        draft.settled()
        self._add_dropped((draft.device, cause), Dropped(1, draft.created_ms, draft.created_ms))

    def _add_dropped(self, key: DroppedKey, dropped: Dropped) -> None:
        known = self._dropped.get(key)
        self._dropped[key] = dropped if known is None else known.plus(dropped)

    def _wake(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._changed.notify()
