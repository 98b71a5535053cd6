"""Stops the parking of dead letters when so many of them suggest that the cause is ours. Pure.

A wrong schema after an upgrade would otherwise move a whole plant's data into a bounded store, and confirm it away. While
the fuse is blown nothing that an outbox holds is parked or confirmed; what is good is stored all the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Fuse:
    """Blows above `share` of bad messages over `window_s` when at least `least` were judged; mends itself below half of it."""

    share: float = 0.5
    least: int = 200
    window_s: float = 60.0
    blown: bool = False
    _seen: deque[tuple[float, int, int]] = field(default_factory=deque, repr=False)
    _judged: int = 0
    _bad: int = 0

    def observe(self, judged: int, bad: int, now_s: float) -> bool:
        """Counts a batch: `judged` messages that an outbox holds, `bad` of them not storable. True when the state changed."""
        if judged:
            self._seen.append((now_s, judged, bad))
            self._judged += judged
            self._bad += bad
        while self._seen and self._seen[0][0] <= now_s - self.window_s:
            _, old_judged, old_bad = self._seen.popleft()
            self._judged -= old_judged
            self._bad -= old_bad
        before = self.blown
        if self._judged >= self.least and self._bad > self.share * self._judged:
            self.blown = True
        elif self._bad <= self.share / 2 * self._judged:
            self.blown = False
        return self.blown != before

    @property
    def bad_share(self) -> float:
        """Share of bad messages in the window, 0..1."""
        return self._bad / self._judged if self._judged else 0.0
