"""Why windows are told again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.language.words import RevisionCause

from .calendar import TimeWindow


@dataclass(frozen=True, slots=True)
class Causes:
    """Why windows that are told again changed. `news`: start, end and cause of what entries changed."""

    usual: RevisionCause
    news: tuple[tuple[int, int, RevisionCause], ...] = ()

    def of(self, window: TimeWindow) -> RevisionCause:
        if self.usual is not RevisionCause.LATE_DATA:
            return self.usual
        found = [cause for start_ms, end_ms, cause in self.news if start_ms < window.end_ms and end_ms >= window.start_ms]
        return min(found, key=list(RevisionCause).index, default=self.usual)
