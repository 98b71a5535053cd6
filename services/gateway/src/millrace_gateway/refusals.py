"""What a device refuses, found out in the course of one read: by an exception, and by silence. No I/O.

A request that never passed while the unit answers others is refused, whatever the device says instead: nothing, half an answer, or
an exception that means something else. It is cut smaller, and what is refused alone rests.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from millrace_contract.runtime.clock import Clock

from .faults import DEVICE_FAILED, UNKNOWN_FUNCTION, NotConnected, ReadFault, RequestRefused
from .poll_plan import PlannedRequest, PollPlan
from .read_result import ReadResult

_SILENT: Final = frozenset({"timeout", "garbled", "short"})
"""Kinds of faults that may be a device's way to refuse a request: no answer, or none that is whole."""
_LONGEST_SILENCE: Final = 4
"""So many requests that a unit is silent for, one after the other, may be what it refuses; then it is the unit that is silent."""


class Refusals:
    """What is suspected and what is cut while one read is under way. `waiting` and `result` are that read's."""

    def __init__(self, plan: PollPlan, waiting: deque[PlannedRequest], result: ReadResult, clock: Clock, *, is_probe: bool) -> None:
        self.known_to_fail: set[PlannedRequest] = set()
        """Requests whose failure is no accident of the line: it is not worth asking them once more."""

        self._plan = plan
        self._waiting = waiting
        self._result = result
        self._clock = clock
        self._is_probe = is_probe
        self._silent_in_row = 0
        self._suspect: tuple[PlannedRequest, ReadFault] | None = None
        self._second_half: PlannedRequest | None = None
        self._has_odd_cuts = False

    def answered(self) -> None:
        """The unit answers: what it was silent for it refuses."""
        self._silent_in_row = 0
        if self._suspect is None:
            return
        (request, fault), self._suspect = self._suspect, None
        if self._second_half is not None:
            self._waiting.append(self._second_half)
            self._second_half = None
        else:
            self._cut(request, fault)

    def refused(self, request: PlannedRequest, fault: RequestRefused) -> None:
        """The device says that it refuses: ask smaller requests instead, or mark the signals bad."""
        if fault.is_about_addresses or self._is_odd(request, fault):
            self._cut(request, fault)
        else:
            self._result.spoil(request, fault)

    def may_be(self, request: PlannedRequest, fault: ReadFault) -> bool:
        """Whether a silence may be a refusal."""
        is_silence = fault.kind in _SILENT and not isinstance(fault, (NotConnected, RequestRefused))
        if not is_silence or self._silent_in_row >= _LONGEST_SILENCE or self._plan.passed.has(request.block):
            return False
        return self._result.arrived_ms is not None or (not self._is_probe and self._suspect is None)

    def explore(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request never passed. Where the unit answers others it is refused; else one other decides, or half of this one."""
        self._silent_in_row += 1
        self.known_to_fail.update(self._waiting)
        if self._result.arrived_ms is not None:
            self._cut(request, fault)
            return
        self._suspect = request, fault
        if self._waiting:
            return
        halves = self._plan.split(request)
        if halves:
            self._has_odd_cuts = True
            self.known_to_fail.update(halves)
            self._waiting.append(halves[0])
            self._second_half = halves[1]

    def acquit(self, request: PlannedRequest, fault: ReadFault) -> tuple[PlannedRequest, ReadFault]:
        """The unit answers nothing at all: what was set aside waits again, or failed itself in the place of its half."""
        suspect, self._suspect = self._suspect, None
        if suspect is None:
            return request, fault
        if self._second_half is None:
            self._waiting.append(suspect[0])
            return request, fault
        self._second_half = None
        self._waiting.clear()
        return suspect

    def finish(self) -> None:
        """The read is over: keep what the cuts showed, or forget them."""
        if self._suspect is not None:  # Nothing else could be asked.
            self._result.spoil(*self._suspect)
        if self._has_odd_cuts and not self._result.timings:
            self._plan.reset()  # Everything failed, so the cuts show nothing.
        elif not self._waiting:
            self._plan.learn()

    def _cut(self, request: PlannedRequest, fault: ReadFault) -> None:
        """Ask smaller requests instead; where there are none, the request's signals are bad, and it rests."""
        smaller = self._plan.split(request)
        if smaller:
            self._has_odd_cuts |= not (isinstance(fault, RequestRefused) and fault.is_about_addresses)
            self.known_to_fail.update(smaller)
            self._waiting.extendleft(reversed(smaller))
        else:
            self._result.spoil(request, fault)
            request.refused(fault, self._clock.monotonic_s())

    def _is_odd(self, request: PlannedRequest, fault: RequestRefused) -> bool:
        """Some devices say that they failed, or know no such function, where there is no such register."""
        passed = self._plan.passed
        if passed.has(request.block):
            return False
        if fault.code == UNKNOWN_FUNCTION:
            table = request.block.table
            return passed.has_table(table) or self._plan.may_doubt(table)
        return fault.code == DEVICE_FAILED
