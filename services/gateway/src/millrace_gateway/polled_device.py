"""What the gateway knows of a device between reads: its turns, whether it answers, what its next message must hold. No I/O."""

from __future__ import annotations

import random
from typing import Final

from millrace_contract.plant import Device, Profile

from .comms import CommsState, CommsTracker
from .decoder import Snapshot
from .faults import ReadFault
from .fleet import plans_of
from .on_change import ChangeFilter
from .poll_plan import PollPlan, full_plan
from .reader import ReadResult
from .schedule import Breaker, Slot

EVERY_SIGNAL: Final = "*"


class PolledDevice:
    """One device of the plant as its connection's poller sees it."""

    def __init__(self, device: Device, profile: Profile, *, start_s: float, fraction: float) -> None:
        """`start_s` and `fraction` place its turns, see Slot. Raises UnreadableSignals."""
        self.device = device
        self.comms = CommsTracker(device.id, device.gateway)
        self.breaker = Breaker()
        self.slots = {name: Slot(start_s, group.interval_s, fraction) for name, group in profile.groups.items()}
        self._plans = plans_of(profile)
        self._full = full_plan(profile)
        self._faults: dict[str, ReadFault] = {}
        self._needs_every_signal = True
        self._changes = ChangeFilter(profile.signals.values())

    def report_everything(self) -> None:
        """The next message carries every signal: a new session with the broker may have listeners that know nothing yet."""
        self._needs_every_signal = True

    @property
    def next_group(self) -> str:
        """The group whose turn comes first."""
        return min(self.slots, key=lambda name: self.slots[name].due_s)

    def plan_for(self, group: str) -> tuple[str, PollPlan]:
        """What to read on this group's turn: everything, for the first message after a start or an outage."""
        return (EVERY_SIGNAL, self._full) if self._needs_every_signal else (group, self._plans[group])

    def take(self, group: str, result: ReadResult, now_ms: int, now_s: float) -> tuple[Snapshot | None, bool]:
        """Judge a read of `group`: the snapshot to send, if any, and whether `comms` has news.

        An unreachable device gets one message with every signal bad, then none until it answers, and then one with every signal.
        """
        if result.arrived_ms is None:
            was_offline = self.comms.state is CommsState.OFFLINE
            self.breaker.failed(now_s, random.random())  # noqa: S311 - spreads probes, guards nothing
            self._needs_every_signal = True
            self._faults.clear()
            news = self.comms.observe(CommsState.OFFLINE, result.fault, now_ms)
            return (None if was_offline else self._every_signal_bad(result.fault)), news
        self.breaker.succeeded()
        groups = [group]
        if group == EVERY_SIGNAL:
            self._changes.forget()
            self._needs_every_signal = False
            groups = list(self.slots)
            for slot in self.slots.values():
                slot.advance(now_s)
        for each in groups:
            if result.fault is not None:
                self._faults[each] = result.fault
            else:
                self._faults.pop(each, None)
        if result.round_trip_ms is not None:
            self.comms.observe_round_trip(result.round_trip_ms)
        fault = next(iter(self._faults.values()), None)
        state = CommsState.DEGRADED if fault else CommsState.ONLINE
        return self._changes.news(result.snapshot, now_s), self.comms.observe(state, fault, now_ms)

    def _every_signal_bad(self, fault: ReadFault | None) -> Snapshot:
        for plan in (self._full, *self._plans.values()):
            plan.reset()
        snapshot = Snapshot()
        snapshot.spoil(self._full.names, fault.reason if fault else "not reachable")
        return snapshot
