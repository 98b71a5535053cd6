"""Samples of a state become runs: stretches of one state, with unknown time where nothing valid was heard (oee.md A9).

A state holds until the next sample, but no longer than `stale_ms` after the last one that said so (or than its sender promised):
silence is no evidence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from millrace_contract.language.words import MachineState


@dataclass(frozen=True, slots=True)
class Run:
    """One state over [start, end). `open`: it is the last known one and may go on beyond `end_ms`."""

    start_ms: int
    end_ms: int
    state: MachineState
    open: bool = False


class Timeline:
    """A fold over one machine's state samples in order of event time. Samples must not go back in time."""

    def __init__(self, stale_ms: int) -> None:
        self.changes = 0
        """Grows with each change of state."""
        self._stale_ms = stale_ms
        self._starts: list[int] = []
        self._closed: list[Run] = []
        self._state: MachineState | None = None
        self._since_ms = 0
        self._known_until_ms = 0
        self._seed: Run | None = None

    def seed(self, runs: Sequence[Run]) -> None:
        """Tell the runs that lead up to the first sample, so that a state or a stop keeps its true start.

        The last of them is the one in force; its end may be cut by the first sample.
        """
        for run in runs[:-1]:
            self._starts.append(run.start_ms)
            self._closed.append(run)
        self._seed = runs[-1] if runs else None

    def add(self, ts_ms: int, state: MachineState, hold_ms: int | None = None) -> None:
        """A sample; `unknown` for a bad one, which ends the state before it. `hold_ms`: in force so long, None for `stale_ms`."""
        known_until_ms, self._known_until_ms = self._known_until_ms, ts_ms + (self._stale_ms if hold_ms is None else hold_ms)
        if self._state is None:
            self._start(ts_ms, state)
            return
        if self._state != MachineState.UNKNOWN and ts_ms > known_until_ms:
            self._close(known_until_ms)
            self._state, self._since_ms = MachineState.UNKNOWN, known_until_ms
        if state != self._state:
            self._close(ts_ms)
            self._state, self._since_ms = state, ts_ms

    def runs(self, from_ms: int, to_ms: int, as_of_ms: int) -> list[Run]:
        """Runs with time in [from, to), whole (not cut at from or to), as far as is known at `as_of_ms`."""
        first = max(0, bisect_right(self._starts, from_ms) - 1)
        found: list[Run] = []
        for run in self._closed[first:]:
            if run.start_ms >= to_ms:
                return found
            if run.end_ms > from_ms:
                found.append(run)
        found += [run for run in self._tail(as_of_ms) if run.end_ms > from_ms and run.start_ms < to_ms]
        return found

    def state_throughout(self, from_ms: int, to_ms: int) -> MachineState | None:
        """The state in force over all of [from, to), where it is the one that is still in force; else None."""
        is_one = self._since_ms <= from_ms and to_ms <= self._known_until_ms
        return self._state if is_one and self._state != MachineState.UNKNOWN else None

    def forget(self, before_ms: int, is_stop: Callable[[MachineState], bool]) -> None:
        """Drop runs that ended before, except those of a stop that still lasted then: it keeps its true start."""
        keep = next((i for i, run in enumerate(self._closed) if run.end_ms > before_ms), len(self._closed))
        while keep and is_stop(self._closed[keep - 1].state) and self._goes_on(keep, is_stop):
            keep -= 1
        del self._closed[:keep]
        del self._starts[:keep]

    def _goes_on(self, index: int, is_stop: Callable[[MachineState], bool]) -> bool:
        """Does the stop of run `index - 1` go on in run `index`?"""
        end_ms = self._closed[index - 1].end_ms
        if index < len(self._closed):
            return self._closed[index].start_ms == end_ms and is_stop(self._closed[index].state)
        return self._state is not None and self._since_ms == end_ms and is_stop(self._state)

    def _start(self, ts_ms: int, state: MachineState) -> None:
        seed = self._seed
        self._state, self._since_ms = state, ts_ms
        if seed is None or not seed.start_ms <= ts_ms <= seed.end_ms:
            return
        if seed.state == state:
            self._since_ms = seed.start_ms
        elif seed.start_ms < ts_ms:
            self._starts.append(seed.start_ms)
            self._closed.append(Run(seed.start_ms, ts_ms, seed.state))

    def _close(self, end_ms: int) -> None:
        self.changes += 1
        if self._state is not None and end_ms > self._since_ms:
            self._starts.append(self._since_ms)
            self._closed.append(Run(self._since_ms, end_ms, self._state))

    def _tail(self, as_of_ms: int) -> list[Run]:
        """The run that was open at the last sample, and the unknown time that follows it."""
        if self._state is None or as_of_ms <= self._since_ms:
            return []
        if self._state == MachineState.UNKNOWN:
            return [Run(self._since_ms, as_of_ms, MachineState.UNKNOWN, open=True)]
        known_until_ms = self._known_until_ms
        if as_of_ms <= known_until_ms:
            return [Run(self._since_ms, as_of_ms, self._state, open=True)]
        return [Run(self._since_ms, known_until_ms, self._state), Run(known_until_ms, as_of_ms, MachineState.UNKNOWN, open=True)]
