"""When to try again. Pure but for chance."""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
LONGEST_RETRY_AFTER_S = 60.0
"""However long the other side asks us to wait, we look again after this."""


@dataclass
class Backoff:
    """Pauses that double, with jitter between a half and the whole, so that many clients don't return in step."""

    rng: random.Random
    first_s: float = FIRST_PAUSE_S
    longest_s: float = LONGEST_PAUSE_S
    attempts: int = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """The pause before the next attempt. A time that the other side named is kept to, within reason."""
        whole_s = min(self.longest_s, self.first_s * float(1 << min(self.attempts, 16)))
        self.attempts += 1
        if retry_after_s is not None:
            return min(max(retry_after_s, self.first_s), LONGEST_RETRY_AFTER_S)
        return whole_s * self.rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        self.attempts = 0
