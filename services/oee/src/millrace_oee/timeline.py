"""Samples of a state become runs: stretches of one state, with unknown time where nothing valid was heard (oee.md A9).

A state holds until the next sample, but no longer than `stale_ms` after the last one that said so (or than its sender promised):
silence is no evidence. A machine whose policy is `hold` is taken to go on in it for `carry_ms` more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from millrace_contract.language.words import NOT_TOLD, MachineState


class InForce(NamedTuple):
    """What is in force. `assumed`: it was not heard, and is taken to go on. `code`: what the machine says, and its profile does not
    name."""

    state: MachineState
    assumed: bool = False
    code: str = ""


SILENCE = InForce(MachineState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Run:
    """One state over [start, end). `open`: it is the last known one and may go on beyond `end_ms`. The rest: see InForce."""

    start_ms: int
    end_ms: int
    state: MachineState
    open: bool = False
    assumed: bool = False
    code: str = ""

    @property
    def told(self) -> InForce:
        return InForce(self.state, self.assumed, self.code)


class Timeline:
    """A fold over one machine's state samples in order of event time. Samples must not go back in time."""

    def __init__(self, stale_ms: int, carry_ms: int = 0) -> None:
        self.changes = 0
        """Grows with each change of state."""
        self._stale_ms = stale_ms
        self._carry_ms = carry_ms
        self._starts: list[int] = []
        self._closed: list[Run] = []
        self._told: InForce | None = None
        self._since_ms = 0
        self._ahead: tuple[tuple[int, InForce], ...] = ()
        """What silence makes of it: from when on, and what is in force then."""
        self._last_state = MachineState.UNKNOWN
        self._carried_until_ms = 0
        self._seed: Run | None = None

    def hold_by(self, stale_ms: int, carry_ms: int) -> None:
        """For how long the next sample is in force, and what silence makes of it."""
        self._stale_ms, self._carry_ms = stale_ms, carry_ms

    def seed(self, runs: Sequence[Run]) -> None:
        """Tell the runs that lead up to the first sample, so that a state or a stop keeps its true start.

        The last of them is the one in force; its end may be cut by the first sample.
        """
        for run in runs[:-1]:
            self._starts.append(run.start_ms)
            self._closed.append(run)
        self._seed = runs[-1] if runs else None

    def add(self, ts_ms: int, state: MachineState, hold_ms: int | None = None, code: str = "") -> None:
        """A sample; `unknown` for a bad one, which ends the state before it, and for one whose `code` the profile does not name.
        `hold_ms`: in force so long, None for `stale_ms`."""
        until_ms, now = ts_ms + (self._stale_ms if hold_ms is None else hold_ms), self._told
        if now is not None and state is now.state and self._goes_on_watched(ts_ms, now, code):
            self._last_state, self._carried_until_ms = state, until_ms
            self._ahead = ((until_ms, SILENCE),)
            return
        told = InForce(state, code=code)
        ahead: tuple[tuple[int, InForce], ...] = ((until_ms, SILENCE),)
        if state not in NOT_TOLD:
            self._last_state, self._carried_until_ms = state, until_ms + self._carry_ms
            if self._carry_ms:
                ahead = ((until_ms, InForce(state, assumed=True)), (self._carried_until_ms, SILENCE))
        elif self._carry_ms and ts_ms < self._carried_until_ms and not code:
            told, ahead = InForce(self._last_state, assumed=True), ((self._carried_until_ms, SILENCE),)
        elif state is MachineState.UNKNOWN and not code:
            ahead = ()
        if self._told is None:
            self._start(ts_ms, told)
        else:
            for at_ms, next_told in self._ahead:
                if at_ms < ts_ms:
                    self._switch(at_ms, next_told)
            self._switch(ts_ms, told)
        self._ahead = ahead

    def _goes_on_watched(self, ts_ms: int, now: InForce, code: str) -> bool:
        """Nothing but the end of what is in force changes with a sample that says it again in time, as nearly all do."""
        in_time = bool(self._ahead) and ts_ms <= self._ahead[0][0]
        return in_time and now.state not in NOT_TOLD and not (code or now.code or now.assumed or self._carry_ms)

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
        if self._told is None or self._told.state in NOT_TOLD or not self._ahead:
            return None
        return self._told.state if self._since_ms <= from_ms and to_ms <= self._ahead[0][0] else None

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
        return self._told is not None and self._since_ms == end_ms and is_stop(self._told.state)

    def _start(self, ts_ms: int, told: InForce) -> None:
        seed = self._seed
        self._told, self._since_ms = told, ts_ms
        if seed is None or not seed.start_ms <= ts_ms <= seed.end_ms:
            return
        if seed.told == told:
            self._since_ms = seed.start_ms
        elif seed.start_ms < ts_ms:
            self._starts.append(seed.start_ms)
            self._closed.append(_closed(seed.start_ms, ts_ms, seed.told))

    def _switch(self, at_ms: int, told: InForce) -> None:
        """Something else is in force from then on."""
        if self._told is None or told == self._told:
            return
        self.changes += 1
        if at_ms > self._since_ms:
            self._starts.append(self._since_ms)
            self._closed.append(_closed(self._since_ms, at_ms, self._told))
        self._told, self._since_ms = told, at_ms

    def _tail(self, as_of_ms: int) -> list[Run]:
        """The run that was open at the last sample, and what follows it in silence."""
        if self._told is None or as_of_ms <= self._since_ms:
            return []
        found: list[Run] = []
        since_ms, told = self._since_ms, self._told
        for at_ms, next_told in self._ahead:
            if at_ms >= as_of_ms:
                break
            if next_told != told:
                found.append(_closed(since_ms, at_ms, told))
                since_ms, told = at_ms, next_told
        return [*found, Run(since_ms, as_of_ms, told.state, open=True, assumed=told.assumed, code=told.code)]


def _closed(start_ms: int, end_ms: int, told: InForce) -> Run:
    return Run(start_ms, end_ms, told.state, assumed=told.assumed, code=told.code)
