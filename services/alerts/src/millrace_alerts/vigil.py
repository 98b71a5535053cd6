"""Whether the plant is being watched: since when not, and what the clocks do. Owned by the worker's thread, without I/O."""

from __future__ import annotations

from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.logs import get_logger

from .alert import Transition
from .builtin import CLOCK_SET
from .clocks import ClockWatch
from .watch import RETURN_GRACE_MS, Watch

RETAINED_S = 3.0
"""After a connect, time for what the broker kept for us."""
HEARSAY_S = RETURN_GRACE_MS / 1000
"""After a connect, what was remembered of links counts so long without being said again: gateways take their time to reconnect."""
RECONNECTED_S = 10.0
"""A connection that is back so soon is no alert."""
SAID_S = 600.0
"""So long a clock that was set is told as a problem."""

_log = get_logger(__name__)


class Vigil:
    """`blind_since_ms`: since when nothing is heard of the plant; None while it is watched. `step_problem`: the clock was set."""

    def __init__(self, since_ms: int) -> None:
        self.is_watching = False
        self.blind_since_ms: int | None = since_ms
        self.step_problem: str | None = None
        self._clocks = ClockWatch()
        self._watching_from_s: float | None = None
        self._hearsay_until_s: float | None = None
        self._said_until_s = 0.0
        self._blind_from_s: float | None = None

    def lost(self, now: Now) -> None:
        """The connection is gone."""
        self._blind(now)
        self._watching_from_s = self._hearsay_until_s = None

    def connected(self, now: Now) -> None:
        self._watching_from_s = now.monotonic_s + RETAINED_S
        self._hearsay_until_s = now.monotonic_s + HEARSAY_S

    def begin_again(self, now: Now) -> None:
        """What is in memory was thrown away: links and silences are to be judged anew."""
        if self.is_watching:
            self._blind(now)
            self._watching_from_s = now.monotonic_s + RETAINED_S

    def problem(self, now: Now) -> str | None:
        """In words, where nobody has watched the plant for longer than a new connection takes."""
        if self.blind_since_ms is None:
            self._blind_from_s = None
            return None
        if self._blind_from_s is None:
            self._blind_from_s = now.monotonic_s
        if now.monotonic_s - self._blind_from_s < RECONNECTED_S:
            return None
        return f"not watching the plant since {format_timestamp(self.blind_since_ms)}: no connection to the broker"

    def heed_clocks(self, watch: Watch, now: Now) -> tuple[int, list[Transition]]:
        """Call it each turn, first: by how much the clock was set since the last one, ms, and what came of it.

        What would lie in the future is void, and the step is told: each is an event of its own.
        """
        step_ms = self._clocks.step_ms(now)
        transitions: list[Transition] = []
        if step_ms:
            _log.warning("clock_was_set", seconds=step_ms / 1000)
            where = "ahead" if step_ms > 0 else "back"
            self.step_problem = (
                f"the clock of this computer was set {where} by {abs(step_ms) / 1000:.1f} s, to {format_timestamp(now.epoch_ms)}"
            )
            self._said_until_s = now.monotonic_s + SAID_S
            if self.blind_since_ms is not None:
                self.blind_since_ms += step_ms
            transitions += watch.clock_stepped(step_ms, now.epoch_ms)
            transitions += watch.report(CLOCK_SET, None, now.epoch_ms)
        elif self.step_problem is not None and now.monotonic_s >= self._said_until_s:
            self.step_problem = None
        return step_ms, transitions + watch.report(CLOCK_SET, self.step_problem, now.epoch_ms)

    def begins(self, now: Now) -> bool:
        """True once, when what the broker kept for us has been heard: from now on silence is silence."""
        if self._watching_from_s is None or now.monotonic_s < self._watching_from_s:
            return False
        self._watching_from_s = None
        self.is_watching = True
        self.blind_since_ms = None
        return True

    def ends_hearsay(self, now: Now) -> bool:
        """True once, when what was not said again on this connection counts no more."""
        if self._hearsay_until_s is None or now.monotonic_s < self._hearsay_until_s:
            return False
        self._hearsay_until_s = None
        return True

    def _blind(self, now: Now) -> None:
        if self.is_watching:
            self.blind_since_ms = now.epoch_ms
        self.is_watching = False
