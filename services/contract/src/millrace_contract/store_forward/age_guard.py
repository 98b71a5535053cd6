"""When ages can be believed: a clock that is wrong at a start, or that leaps, must not make everything old at once."""

from ..runtime.clock import Now
from ..runtime.logs import get_logger

HOLD_S = 3600.0
"""After a start, or a clock that leapt ahead, nothing goes for its age for this long: time for the clock to be set right.

Nothing of it is kept over a restart, because nothing has to be: a start waits as long as a leap does.
"""
_LEAP_MS = 60_000

_log = get_logger(__name__)


class AgeGuard:
    """Compares the clock that is set with the one that only grows, from one look to the next."""

    def __init__(self) -> None:
        self._seen: Now | None = None
        self._known_s = 0.0

    def are_ages_known(self, now: Now) -> bool:
        """Whether what is old by the clock is old. Ask often: a leap shows from one question to the next."""
        if self._seen is None:
            self._known_s = now.monotonic_s + HOLD_S
        else:
            leap_ms = now.epoch_ms - self._seen.epoch_ms - (now.monotonic_s - self._seen.monotonic_s) * 1000
            if leap_ms > _LEAP_MS:
                _log.warning("clock_leapt_ahead", seconds=round(leap_ms / 1000), age_limit_waits_s=HOLD_S)
                self._known_s = now.monotonic_s + HOLD_S
        self._seen = now
        return now.monotonic_s >= self._known_s
