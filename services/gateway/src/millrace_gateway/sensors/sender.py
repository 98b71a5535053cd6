"""What the gateway knows of a device that sends messages: what it takes of each, when, and whether it is still heard. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal
from zoneinfo import ZoneInfo

from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import CommsState
from millrace_contract.plant import Device, Profile
from millrace_contract.plant.holds import LEAST_HOLD_MS, REPORTS_HELD

from ..comms import CommsTracker, DarkWatch
from ..decoder import Snapshot
from ..faults import ReadFault
from ..on_change import ChangeFilter
from .availability import says_offline
from .payload import Unreadable
from .reader import MessageReader, SensorMessage

LATE_MS: Final = 300_000
"""A message whose own time is so long ago was held up, or its sensor's clock is wrong."""
REFUSALS_A_MINUTE: Final = 10
"""So many messages that cannot be read are kept as they came; of more it is said how many there were."""
REFUSAL_SAID_S: Final = 3_600.0
_REMEMBERED: Final = 64
_TIES_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What is to be kept of a message. own_ms: when it was measured by the sensor's clock; None: it counts as of its arrival."""

    snapshot: Snapshot
    own_ms: int | None
    is_kept: Literal[True] = True


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """A message that cannot be read, and why; `is_kept`: it becomes a dead letter."""

    reason: str
    is_kept: bool


def silent_after_s(profile: Profile) -> float:
    """After so long without a message the device counts as offline: as long as a reading of it holds."""
    return max(LEAST_HOLD_MS / 1000, REPORTS_HELD * min(group.interval_s for group in profile.groups.values()))


class SendingDevice:
    """One device of the plant as its messages show it."""

    def __init__(self, device: Device, profile: Profile, plant_zone: ZoneInfo, now_s: float) -> None:
        self.device = device
        self.comms = CommsTracker(device.id, device.gateway)
        self.reader = MessageReader(device, profile, plant_zone)
        self.comms.refused = 0
        self._last_refusal: tuple[str, float] | None = None
        self.silent_after_s = silent_after_s(profile)
        self._names = tuple(profile.signals)
        self._heard_s = now_s
        self._faults: dict[str, ReadFault] = {}
        self._changes = ChangeFilter(profile.signals.values())
        self._seen: OrderedDict[tuple[str, int, int], None] = OrderedDict()
        self._last_own_ms = self._last_event_ms = 0
        self._refusals: list[float] = []
        self._has_brought_values = self._has_news = False
        self._dark = DarkWatch()
        self._is_said_offline = False

    @property
    def availability(self) -> str | None:
        """The topic on which it is said whether the device is there."""
        return self.device.connection.availability

    @property
    def has_no_times(self) -> bool:
        return self.reader.form.time is None

    @property
    def topics(self) -> tuple[str, ...]:
        return self.reader.topics

    def report_everything(self) -> None:
        """The next message is news as a whole."""
        self._changes.forget()

    def refusal(self, now_s: float) -> str | None:
        """Why its last message that could not be read could not, for some time."""
        if self._last_refusal is None or now_s - self._last_refusal[1] > REFUSAL_SAID_S:
            return None
        return self._last_refusal[0]

    def take_news(self) -> bool:
        """Whether comms has news since this was last asked."""
        has_news, self._has_news = self._has_news, False
        return has_news

    def hear(
        self, topic: str, payload: bytes, now_ms: int, now_s: float, *, retained: bool, may_have_waited: bool
    ) -> Taken | RefusedMessage | None:
        """Judge a message: what to keep of it; None: nothing, because it is known already, no news, or old and without a time.

        retained: the broker kept it, nobody knows for how long. may_have_waited: it may have stood in the broker's queue.
        """
        try:
            heard = self.reader.read(topic, payload, now_ms)
        except Unreadable as error:
            return None if retained else self._refuse(topic, str(error), now_ms, now_s)
        if heard.own_ms is None and retained:
            return None
        if heard.own_ms is not None and self._is_repeated(topic, heard.own_ms, payload):
            return None
        if not retained:
            self._heard_s = now_s
            self._is_said_offline &= may_have_waited  # What it sent before it went says nothing of now.
            if not self._is_said_offline:
                self._note(topic, heard, now_ms, may_have_waited=may_have_waited)
        if heard.time_problem is not None:
            heard.snapshot.doubt(tuple(heard.snapshot.readings), heard.time_problem)
        elif heard.own_ms is None and may_have_waited:
            heard.snapshot.doubt(tuple(heard.snapshot.readings), "it may have waited at the broker, and has no time of its own")
        news = self._changes.news(heard.snapshot, now_s)
        return None if news is None else Taken(news, self._event_ms(heard.own_ms))

    def judge_silence(
        self, now_ms: int, now_s: float, refused_topics: frozenset[str], account: str, *, listening_s: float
    ) -> Snapshot | None:
        """Whether it is still heard, and not said to be offline: every signal bad where it has just fallen silent, a word a minute
        that it still is; else None.

        listening_s: for how long we have been at the broker. What was silent before may have been ours.
        """
        silent_s = now_s - self._heard_s
        is_watched = self._has_brought_values and (self._is_said_offline or listening_s >= self.silent_after_s)
        if refused := [topic for topic in self.topics if topic in refused_topics]:
            reason = f"the broker does not let account {account} read {', '.join(refused)}"
            return self._fall_silent(ReadFault("refused_topic", reason), now_ms, now_s, is_watched=False)
        if silent_s < self.silent_after_s and not self._is_said_offline:
            return None
        if self.comms.state is CommsState.OFFLINE:
            return Snapshot(is_unreachable=True) if is_watched and self._dark.is_due(now_s) else None
        where = ", ".join(self.topics)
        if self._has_brought_values:
            reason = f"nothing has come on {where} for {silent_s:.0f} s"
        else:
            reason = f"nothing has come on {where}: does it send there, and may account {account} read it?"
        return self._fall_silent(ReadFault("silent", reason), now_ms, now_s, is_watched=is_watched)

    def hear_availability(self, payload: bytes, now_ms: int, now_s: float) -> Snapshot | None:
        """What is said of the device on its availability topic, mostly by its last will: every signal bad where it is said offline.

        Said online it is back with its next message: that brings a value.
        """
        is_offline = says_offline(payload)
        if is_offline is None or is_offline == self._is_said_offline:
            return None
        self._is_said_offline = is_offline
        if is_offline:
            reason = f"{self.availability} says that it is offline"
            return self._fall_silent(ReadFault("said_offline", reason), now_ms, now_s, is_watched=self._has_brought_values)
        if self.comms.state is CommsState.OFFLINE:
            reason = f"{self.availability} says that it is back; nothing has come from it since"
            self._has_news |= self.comms.observe(CommsState.OFFLINE, ReadFault("silent", reason), now_ms)
        return None

    def _fall_silent(self, fault: ReadFault, now_ms: int, now_s: float, *, is_watched: bool) -> Snapshot | None:
        was_heard = self.comms.state in (CommsState.ONLINE, CommsState.DEGRADED)
        self._has_news |= self.comms.observe(CommsState.OFFLINE, fault, now_ms)
        if not was_heard:
            return None
        self._faults.clear()
        self._changes.forget()
        self._dark.begin(now_s)
        snapshot = Snapshot(is_unreachable=is_watched)
        snapshot.spoil(self._names, fault.reason)
        return snapshot

    def _note(self, topic: str, heard: SensorMessage, now_ms: int, *, may_have_waited: bool) -> None:
        """What the message says of the device's state."""
        self._has_brought_values = True
        fault = _fault_of(heard, now_ms, may_have_waited=may_have_waited)
        if fault is None:
            self._faults.pop(topic, None)
        else:
            self._faults[topic] = fault
        self._show(now_ms)

    def _show(self, now_ms: int) -> None:
        fault = next(iter(self._faults.values()), None)
        state = CommsState.DEGRADED if fault else CommsState.ONLINE
        self._has_news |= self.comms.observe(state, fault, now_ms)

    def _refuse(self, topic: str, reason: str, now_ms: int, now_s: float) -> RefusedMessage:
        self._heard_s = now_s
        self._is_said_offline = False
        self.comms.refused = (self.comms.refused or 0) + 1
        self._last_refusal = reason, now_s
        self._faults[topic] = ReadFault("unreadable", f"{topic}: {reason}")
        self._show(now_ms)
        self._refusals = [each for each in self._refusals if now_s - each < 60][-REFUSALS_A_MINUTE:]
        is_kept = len(self._refusals) < REFUSALS_A_MINUTE
        if is_kept:
            self._refusals.append(now_s)
        return RefusedMessage(f"{topic}: {reason}", is_kept)

    def _is_repeated(self, topic: str, own_ms: int, payload: bytes) -> bool:
        """The same message again: the broker's retained copy, or one that was not acknowledged in time."""
        key = (topic, own_ms, hash(payload))
        is_known = key in self._seen
        self._seen[key] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return is_known

    def _event_ms(self, own_ms: int | None) -> int | None:
        """Several messages of one instant are apart by a millisecond: each is a point of its own."""
        if own_ms is None:
            return None
        is_tie = own_ms == self._last_own_ms and self._last_event_ms < own_ms + _TIES_MS
        self._last_event_ms = self._last_event_ms + 1 if is_tie else own_ms
        self._last_own_ms = own_ms
        return self._last_event_ms


def _fault_of(heard: SensorMessage, now_ms: int, *, may_have_waited: bool) -> ReadFault | None:
    if heard.time_problem is not None:
        return ReadFault("no_time", f"{heard.time_problem}; its readings are stamped when they arrive, and uncertain")
    if heard.own_ms is not None and heard.own_ms < now_ms - LATE_MS and not may_have_waited:
        behind_s = (now_ms - heard.own_ms) // 1000
        return ReadFault(
            "late",
            f"its last message is of {format_timestamp(heard.own_ms)}, {behind_s} s ago: it was held up, or its clock or time_zone "
            "is wrong",
        )
    return None
