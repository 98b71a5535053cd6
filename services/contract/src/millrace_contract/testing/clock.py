"""A clock that only moves when told."""

from __future__ import annotations


class ManualClock:
    """Wall time and monotonic time advance together; `step` moves wall time alone, as when a machine's clock is set."""

    def __init__(self, now_ms: int = 1_760_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 1000.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds

    def step(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)
