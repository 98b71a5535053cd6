"""Does the database take data? Decided by writing to it, never by its health page (contracts.md 2.4.5). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from .backoff import Backoff


@dataclass
class DatabaseState:
    """Starts as not taking: only a write that succeeded makes it true, only one that failed for good makes it false."""

    backoff: Backoff
    taking: bool = False
    reason: str | None = "nothing written yet"
    _probe_at_s: float = field(default=0.0, repr=False)

    def failed(self, reason: str, now_s: float, retry_after_s: float | None = None) -> bool:
        """A write, or a probe, failed. True when this is news: the database took data until now, or the reason is another."""
        news = self.taking or reason != self.reason
        self.taking, self.reason = False, reason
        self._probe_at_s = now_s + self.backoff.next_s(retry_after_s)
        return news

    def wrote(self, *, is_probe: bool = False) -> bool:
        """A write succeeded. True when the database did not take data until now.

        After a probe alone the pauses go on growing: a database that takes a line but no batch must not be asked, and
        believed, four times a second.
        """
        news = not self.taking
        self.taking, self.reason = True, None
        if not is_probe:
            self.backoff.reset()
        return news

    def probe_due(self, now_s: float) -> bool:
        """While not taking: is it time for a small real write?"""
        return not self.taking and now_s >= self._probe_at_s
