"""The states of a machine that only counts: it runs as long as parts come, and stands where none comes for too long (oee.md A8).

A stop began one ideal cycle after the last part. That there is one shows only later; until then the machine runs.
"""

from __future__ import annotations

from millrace_contract.language.words import NOT_TOLD, MachineState

from .timeline import SILENCE, InForce, Run, Timeline

RUNNING, STANDING = InForce(MachineState.EXECUTE), InForce(MachineState.STOPPED)


class CycleTimeline(Timeline):
    """A fold over the good readings of one counter, in order of event time."""

    def __init__(self, stale_ms: int, cycle_ms: int, stop_after_ms: int) -> None:
        """`cycle_ms`: from part to part; `stop_after_ms`: so long without one is a stop. `stale_ms`: how long a reading counts."""
        super().__init__(stale_ms)
        self._cycle_ms = cycle_ms
        self._stop_after_ms = stop_after_ms
        self._pulse_ms: int | None = None
        """When the last part was seen; before the first one, since when none was."""
        self._has_made_parts = False
        self._watched_until_ms = 0

    def pace(self, cycle_ms: int, stop_after_ms: int) -> None:
        """The ideal cycle, and so long without a part is a stop, from the next reading on."""
        self._cycle_ms, self._stop_after_ms = cycle_ms, stop_after_ms

    def counted(self, ts_ms: int, parts: int, hold_ms: int | None = None) -> None:
        """A reading that shows so many parts more than the one before."""
        if self._told is None:
            self._begin(ts_ms, parts)
        else:
            is_silent = self._came_to(ts_ms, parts)
            if parts:
                start_ms = ts_ms if is_silent else max(self._since_ms, ts_ms - (parts - 1) * self._cycle_ms)
                self._switch(start_ms, RUNNING)
                self._pulse_ms, self._has_made_parts = ts_ms, True
            elif self._told.state in NOT_TOLD:
                self._go_on_without_parts(ts_ms)
        self._ahead = ()
        self._watched_until_ms = ts_ms + (self._stale_ms if hold_ms is None else hold_ms)

    def add(self, ts_ms: int, state: MachineState, hold_ms: int | None = None, code: str = "") -> None:
        """What is known of the machine without a reading: that it does not answer."""
        if self._told is not None:
            self._came_to(ts_ms, 0)
        super().add(ts_ms, state, hold_ms, code)
        self._watched_until_ms = ts_ms if not self._ahead else self._ahead[0][0]

    def state_throughout(self, from_ms: int, to_ms: int) -> MachineState | None:
        """The state in force over all of [from, to), where it is the one that is still in force; else None."""
        if self._told is None or self._told.state in NOT_TOLD:
            return None
        return self._told.state if self._since_ms <= from_ms and to_ms <= self._watched_until_ms else None

    def _begin(self, ts_ms: int, parts: int) -> None:
        seed = self._seed.told if self._seed is not None and self._seed.start_ms <= ts_ms <= self._seed.end_ms else SILENCE
        self._start(ts_ms, RUNNING if parts else seed)
        self._pulse_ms, self._has_made_parts = ts_ms, parts > 0

    def _came_to(self, ts_ms: int, parts: int) -> bool:
        """What became of the state before a reading; returns whether nobody watched up to it."""
        if self._ahead:  # it did not answer
            for at_ms, told in self._ahead:
                if at_ms < ts_ms:
                    self._switch(at_ms, told)
            self._ahead = ()
            return True
        is_silent = ts_ms > self._watched_until_ms
        end_ms = min(ts_ms, self._watched_until_ms)
        if self._stood(end_ms, 1 if is_silent else max(1, parts)):
            self._switch(self._stop_ms, STANDING)
        if is_silent:
            self._switch(end_ms, SILENCE)
        return is_silent

    def _stood(self, end_ms: int, parts: int) -> bool:
        """Whether too long no part came up to then, where `parts` came at its end."""
        runs = self._told == RUNNING and self._pulse_ms is not None
        return runs and end_ms - (self._pulse_ms or 0) > self._stop_after_ms * parts

    @property
    def _stop_ms(self) -> int:
        """Since when it stands, if it does: not before anything else was known of it."""
        return max(self._since_ms, (self._pulse_ms or 0) + self._cycle_ms)

    def _go_on_without_parts(self, ts_ms: int) -> None:
        """After time that nobody knows of, or at the beginning: nothing was made since the last part."""
        if self._pulse_ms is not None and ts_ms - self._pulse_ms > self._stop_after_ms:
            self._switch(ts_ms, STANDING)
        else:
            self._switch(ts_ms, RUNNING if self._has_made_parts else SILENCE)

    def _tail(self, as_of_ms: int) -> list[Run]:
        if self._ahead or self._told is None or as_of_ms <= self._since_ms:
            return super()._tail(as_of_ms)
        found: list[Run] = []
        since_ms, told = self._since_ms, self._told
        end_ms = min(as_of_ms, self._watched_until_ms)
        if self._stood(end_ms, 1):
            if since_ms < self._stop_ms:
                found.append(Run(since_ms, self._stop_ms, told.state))
            since_ms, told = self._stop_ms, STANDING
        if as_of_ms > self._watched_until_ms and told != SILENCE:
            if since_ms < end_ms:
                found.append(Run(since_ms, end_ms, told.state))
            since_ms, told = max(since_ms, end_ms), SILENCE
        return [*found, Run(since_ms, as_of_ms, told.state, open=True)]
