"""What the gateway knows of a device between reads: its turns, whether it answers, what its next message must hold. No I/O."""

from __future__ import annotations

import random
from typing import Final

from millrace_contract.language.words import CommsState
from millrace_contract.plant import Device, Profile

from .comms import CommsTracker, DarkWatch
from .decoder import Snapshot
from .endpoint import Endpoint
from .faults import ReadFault
from .fleet import plans_of
from .learned import LearnedDevice, place_of
from .on_change import ChangeFilter
from .poll_plan import Passed, PollPlan, full_plan
from .read_result import ReadResult
from .request_cost import CostMeter, assumed_cost
from .schedule import Breaker, OnceSlot, PollSlot

EVERY_SIGNAL: Final = "*"
MUTE_S: Final = 10.0
"""A device that answers, and brings no value for so long, is as good as one that does not answer."""


class PolledDevice:
    """One device of the plant as its connection's poller sees it."""

    def __init__(
        self, device: Device, profile: Profile, *, start_s: float, fraction: float, known: LearnedDevice | None = None
    ) -> None:
        """`start_s` and `fraction` place its turns, see Slot. `known`: from earlier runs. Raises UnreadableSignals."""
        self.device = device
        self.comms = CommsTracker(device.id, device.gateway)
        self.breaker = Breaker()
        self.slots = {
            name: OnceSlot(start_s, fraction) if group.once else PollSlot(start_s, group.interval_s, fraction)
            for name, group in profile.groups.items()
        }
        self._once = frozenset(name for name, group in profile.groups.items() if group.once)
        self._known = known or LearnedDevice(place_of(device))
        self._assumed = assumed_cost(Endpoint.of(device.connection))
        self._meter = CostMeter()
        self._profile = profile
        self._cost = self._known.cost or self._assumed
        gaps = set(self._known.gaps)
        self._passed = Passed()
        self._plans = plans_of(profile, self._cost, gaps, self._passed)
        self._full = full_plan(profile, self._cost, gaps, self._passed)
        self._faults: dict[str, ReadFault] = {}
        self._needs_every_signal = True
        self._mute_since_s: float | None = None
        self._dark = DarkWatch()
        self._changes = ChangeFilter(profile.signals.values())

    @property
    def pause_after_connect_s(self) -> float:
        return self._profile.limits.pause_after_connect_ms / 1000

    @property
    def tolerates(self) -> frozenset[str]:
        return frozenset(self._profile.tolerate)

    def report_everything(self) -> None:
        """The next message carries every signal: a new session with the broker may have listeners that know nothing yet."""
        self._needs_every_signal = True

    @property
    def learned(self) -> LearnedDevice:
        """What is known of it now."""
        return LearnedDevice(
            place=self._known.place,
            cost=self._meter.cost(self._assumed) or self._known.cost,
            gaps=tuple(sorted(self._full.gaps)),
        )

    def plan_anew(self) -> bool:
        """Make new plans where requests turned out to cost something else than these were made for; return whether that is so."""
        cost = self._meter.cost(self._assumed)
        if cost is None or cost.is_near(self._cost):
            return False
        self._cost = cost
        gaps = self._full.gaps
        self._plans = plans_of(self._profile, cost, gaps, self._passed)
        self._full = full_plan(self._profile, cost, gaps, self._passed)
        return True

    def plan_for(self, group: str) -> tuple[str, PollPlan]:
        """What to read on this group's turn: everything, for the first message after a start or an outage."""
        return (EVERY_SIGNAL, self._full) if self._needs_every_signal else (group, self._plans[group])

    def take(self, group: str, result: ReadResult, now_ms: int, now_s: float) -> tuple[Snapshot | None, bool]:
        """Judge a read of `group`: the snapshot to send, if any, and whether `comms` has news.

        An unreachable device gets one message with every signal bad, then one a minute that says so again, and with every signal
        when it is back.
        What is back brings a value: exceptions alone end no outage, and when nothing else comes for MUTE_S they are one.
        """
        self.comms.repeats += result.repeats
        was_offline = self.comms.state is CommsState.OFFLINE
        if not result.was_asked and (was_offline or self.comms.state is None):
            return None, False
        if self._is_away(result, now_s):
            self.breaker.failed(now_s, random.random())  # noqa: S311 - spreads probes, guards nothing
            self._needs_every_signal = True
            self._faults.clear()
            self._full.reset()
            news = self.comms.observe(CommsState.OFFLINE, result.fault, now_ms)
            is_watched = result.was_asked and not (result.fault is not None and result.fault.is_ours)
            if not was_offline:
                self._dark.begin(now_s)
                return self._every_signal_bad(result.fault, is_watched=is_watched), news
            return Snapshot(is_unreachable=True) if is_watched and self._dark.is_due(now_s) else None, news
        self.breaker.succeeded()
        groups = [group]
        if group == EVERY_SIGNAL:
            self._changes.forget()
            self._needs_every_signal = False
            groups = list(self.slots)
            for slot in self.slots.values():
                slot.advance(now_s)
        for each in groups:
            if each in self._once:
                self._settle_once(each, result)
            if result.fault is not None:
                self._faults[each] = result.fault
            else:
                self._faults.pop(each, None)
        if result.round_trip_ms is not None:
            self.comms.observe_round_trip(result.round_trip_ms)
            for registers, took_ms in result.timings:
                self._meter.observe(registers, took_ms)
        fault = next(iter(self._faults.values()), None)
        state = CommsState.DEGRADED if fault else CommsState.ONLINE
        return self._changes.news(result.snapshot, now_s), self.comms.observe(state, fault, now_ms)

    def _is_away(self, result: ReadResult, now_s: float) -> bool:
        """Whether the device counts as offline after this read. A read that asked nothing, because all of it rests, is none."""
        if result.round_trip_ms is not None:
            self._mute_since_s = None
            return False
        if self._mute_since_s is None:
            self._mute_since_s = now_s
        is_silent = result.was_asked and result.arrived_ms is None
        return is_silent or self.comms.state is CommsState.OFFLINE or now_s - self._mute_since_s >= MUTE_S

    def _settle_once(self, group: str, result: ReadResult) -> None:
        """A group that is read once is done when every signal of it has been answered, be it with a value that is none."""
        slot = self.slots[group]
        if isinstance(slot, OnceSlot) and not result.unanswered.intersection(self._plans[group].names):
            slot.done()

    def _every_signal_bad(self, fault: ReadFault | None, *, is_watched: bool) -> Snapshot:
        self._passed.forget()
        for plan in (self._full, *self._plans.values()):
            plan.reset()
        snapshot = Snapshot(is_unreachable=is_watched)
        snapshot.spoil(self._full.names, fault.reason if fault else "not reachable")
        return snapshot
