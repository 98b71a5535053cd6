"""What one read of a plan brought: readings, bad qualities, and what it cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .answers import Answer
from .decoder import Snapshot
from .faults import NotConnected, ReadFault, RequestRefused
from .poll_plan import PlannedRequest

_ANOTHER_MASTER: Final = "another master reads on this line; the answer may be its own"


@dataclass(slots=True)
class ReadResult:
    """`arrived_ms`: when the last answer came; None when the device gave no usable answer at all. `fault`: the last one met."""

    snapshot: Snapshot
    arrived_ms: int | None = None
    fault: ReadFault | None = None
    round_trip_ms: float | None = None
    timings: list[tuple[int, float]] = field(default_factory=list)
    """(registers, ms) of each request that was answered with data"""

    unanswered: set[str] = field(default_factory=set)
    """Signals that may be read yet: what kept them is not that the device has no such address"""

    was_asked: bool = True
    """Whether any request went out: one that rests, or that an owed answer holds back, says nothing of the device."""

    repeats: int = 0
    """Requests that were asked again in this turn"""

    def keep(self, requests: Sequence[PlannedRequest], answers: Sequence[Answer], arrived_ms: int) -> None:
        """The readings of these requests, of which so many as there are answers brought their data."""
        snapshot = self.snapshot
        for request, answer in zip(requests, answers, strict=False):
            self.timings.append((request.cost_registers, answer.took_ms))
            request.decoder.decode(answer.data, snapshot)
            if not answer.is_certain:
                snapshot.doubt(request.names, f"{request.block}: {_ANOTHER_MASTER}")
        self.arrived_ms = arrived_ms
        self.round_trip_ms = answers[-1].took_ms

    def spoil(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request brought no data: its signals are bad for this reason."""
        where = f"{request.block}: {fault.reason}"
        self.fault = fault if isinstance(fault, NotConnected) else ReadFault(fault.kind, where)
        self.snapshot.spoil(request.names, where)
        if not (isinstance(fault, RequestRefused) and fault.is_about_addresses):
            self.unanswered.update(request.names)

    def leave(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request was not sent, because one before it met this fault."""
        self.snapshot.spoil(request.names, f"not read: {fault.reason}")
        self.unanswered.update(request.names)
