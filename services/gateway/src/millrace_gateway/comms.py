"""Can a device be reached? What its reads say about that, as the retained `comms` document (contracts.md 2.1). Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from millrace_contract.language.messages import Comms
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import CommsState
from millrace_contract.plant.holds import UNREACHABLE_EVERY_S

from .faults import ReadFault
from .schedule import PollTurns

_SMOOTHING: Final = 0.1


class DarkWatch:
    """When to say of a device that does not answer that it still does not: OEE tells watched silence from none (oee.md A9)."""

    def __init__(self) -> None:
        self._said_s = 0.0

    def begin(self, now_s: float) -> None:
        """It has just been said that it does not answer."""
        self._said_s = now_s

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to say so again; asked only when it was just looked for in vain."""
        if now_s - self._said_s < UNREACHABLE_EVERY_S:
            return False
        self._said_s = now_s
        return True


class CommsTracker:
    """The state of one device, since when and why; None before the first read."""

    def __init__(self, device_id: str, gateway: str) -> None:
        self.device_id = device_id
        self.state: CommsState | None = None
        self.reason: str | None = None
        self.turns = PollTurns()
        self.repeats = 0
        self.refused: int | None = None
        self._kind: str | None = None
        self._gateway = gateway
        self._since_ms = 0
        self._round_trip_ms: float | None = None

    def observe(self, state: CommsState, fault: ReadFault | None, now_ms: int) -> bool:
        """Take note of a read; return whether that is news: another state, or another kind of fault behind it."""
        kind, self.reason = (fault.kind, fault.reason) if fault else (None, None)
        if state == self.state and kind == self._kind:
            return False
        if state != self.state:
            self._since_ms = now_ms
        self.state, self._kind = state, kind
        return True

    def observe_round_trip(self, round_trip_ms: float) -> None:
        """Time from a request to its answer, averaged so that one slow answer does not look like a slow device."""
        last = self._round_trip_ms
        self._round_trip_ms = round_trip_ms if last is None else last + _SMOOTHING * (round_trip_ms - last)

    def document(self, now_ms: int) -> Comms | None:
        """What to publish, or None before the first read."""
        if self.state is None:
            return None
        is_offline = self.state is CommsState.OFFLINE
        turns = self.turns
        document = Comms(
            device_id=self.device_id,
            state=self.state,
            since=format_timestamp(self._since_ms),
            reason=self.reason,
            round_trip_ms=None if is_offline or self._round_trip_ms is None else round(self._round_trip_ms, 2),
            gateway=self._gateway,
            timestamp=format_timestamp(now_ms),
            refused=self.refused,
        )
        if self.refused is not None:  # It sends messages by itself, and has no turns.
            return document
        return msgspec.structs.replace(
            document,
            cycles=turns.cycles,
            late_cycles=turns.late,
            missed_cycles=turns.missed,
            lateness_ms=round(turns.lateness_s * 1000, 2),
            repeats=self.repeats,
        )
