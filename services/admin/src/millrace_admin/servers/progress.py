"""How far, and how long yet, in words. Pure."""

from __future__ import annotations

FIRST_GUESS = 0.02
"""Of a smaller share than this nothing can be said about the time that is left."""


def in_words(share: float, elapsed_s: float, first_share: float = 0.0) -> str:
    """`43 %, ~3 min left`. `first_share` was there before the clock began to run."""
    percent = f"{min(int(share * 100), 99)} %"
    gained = share - first_share
    if gained < FIRST_GUESS:
        return percent
    return f"{percent}, {time_left(elapsed_s * (1 - share) / gained)} left"


def time_left(seconds: float) -> str:
    return f"~{max(1, round(seconds))} s" if seconds < 55 else f"~{round(seconds / 60)} min"
