"""The sensors that speak MQTT themselves: their messages go to the outbox, and are acknowledged once they are committed there."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from millrace_contract.language.topics import Topics
from millrace_contract.plant import Device, PlantModel
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.store_forward.numbering import Draft

from ..decoder import Snapshot
from ..messages import refusal_draft, sensor_draft
from ..metrics import COUNTS
from .sender import RefusedMessage, SendingDevice, Taken

SETTLE_S: Final = 10.0
"""So long after a connect what comes may have waited at the broker."""
PROBLEMS_SAID: Final = 5
UNSETTLED: Final = 400
"""Beyond so many messages that wait for the disk the oldest are acknowledged all the same: the broker would send nothing more, not
even the confirmations that make room. They wait in memory then, and a ledger tells of what is dropped there."""

_log = get_logger(__name__)


class SensorUplink(Protocol):
    """What a desk needs of the way up."""

    def append(self, drafts: Iterable[Draft]) -> None: ...
    def acknowledge(self, received: Received) -> None: ...
    def take_comms(self, device: SendingDevice) -> None: ...
    @property
    def refused_topics(self) -> frozenset[str]: ...
    @property
    def account(self) -> str: ...
    @property
    def is_connected(self) -> bool: ...


class _Unsettled:
    """A message that is not committed yet. `settle` is called on the outbox's thread, once for each of its drafts."""

    def __init__(self, received: Received, acknowledge: Callable[[Received], None]) -> None:
        self.received = received
        self.drafts = 0
        self.is_acknowledged = False
        self._acknowledge = acknowledge
        self._lock = threading.Lock()

    def settle(self) -> None:
        with self._lock:
            self.drafts -= 1
            is_last = self.drafts == 0
        if is_last:
            self.acknowledge()

    def acknowledge(self) -> None:
        with self._lock:
            was_acknowledged, self.is_acknowledged = self.is_acknowledged, True
        if not was_acknowledged:
            self._acknowledge(self.received)


class SensorDesk:
    """Everything happens on the event loop, but for what settles a message."""

    def __init__(self, plant: PlantModel, devices: Iterable[Device], uplink: SensorUplink, clock: Clock) -> None:
        self.devices = [SendingDevice(each, plant.profile_of(each.id), plant.zone, clock.monotonic_s()) for each in devices]
        self._uplink = uplink
        self._clock = clock
        self._topics = Topics(plant.root)
        self._by_topic: dict[str, list[SendingDevice]] = {}
        self._by_availability: dict[str, list[SendingDevice]] = {}
        for device in self.devices:
            for topic in device.topics:
                self._by_topic.setdefault(topic, []).append(device)
            if device.availability is not None:
                self._by_availability.setdefault(device.availability, []).append(device)
        self._waited_until_s = 0.0
        self._listening_since_s = math.inf
        self._unsettled: deque[_Unsettled] = deque()

    def connected(self, *, session_present: bool) -> None:
        """The broker lets us in. `session_present`: it may have kept messages for us."""
        self._listening_since_s = self._clock.monotonic_s()
        if session_present:
            self._waited_until_s = self._clock.monotonic_s() + SETTLE_S

    def take(self, received: Received) -> None:
        """A message on a topic of one sensor or several."""
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        drafts: list[Draft] = []
        waiting = _Unsettled(received, self._uplink.acknowledge)
        for device in self._by_availability.get(received.topic, ()):
            self._take_silence(device, device.hear_availability(received.payload, now_ms, now_s), now_ms)
        for device in self._by_topic.get(received.topic, ()):
            judged = device.hear(
                received.topic,
                received.payload,
                now_ms,
                now_s,
                retained=received.retained,
                may_have_waited=now_s < self._waited_until_s,
            )
            if judged is not None and judged.is_kept:
                drafts.append(self._draft(device, judged, waiting, now_ms))
            self._tell(device)
        if not drafts:
            self._uplink.acknowledge(received)
            return
        waiting.drafts = len(drafts)
        self._unsettled.append(waiting)
        self._uplink.append(drafts)
        while self._unsettled and (self._unsettled[0].is_acknowledged or len(self._unsettled) > UNSETTLED):
            self._unsettled.popleft().acknowledge()

    def look_for_silence(self) -> None:
        """Now and then: which of them are not heard any more."""
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        refused, account = self._uplink.refused_topics, self._uplink.account
        listening_s = now_s - self._listening_since_s if self._uplink.is_connected else 0.0
        for device in self.devices:
            self._take_silence(device, device.judge_silence(now_ms, now_s, refused, account, listening_s=listening_s), now_ms)

    def problems(self) -> list[str]:
        """Which of them sent what could not be read, and why the last could not."""
        now_s = self._clock.monotonic_s()
        refused = [(each.comms.refused or 0, each.device.id, why) for each in self.devices if (why := each.refusal(now_s))]
        return [
            f"{name}: {count} message{'s' * (count != 1)} could not be read, the last: {reason}"
            for count, name, reason in sorted(refused, reverse=True)[:PROBLEMS_SAID]
        ]

    def report_everything(self) -> None:
        for device in self.devices:
            device.report_everything()

    def _take_silence(self, device: SendingDevice, snapshot: Snapshot | None, now_ms: int) -> None:
        if snapshot is not None:
            self._uplink.append([self._telemetry(device, snapshot, now_ms, None, is_stamped_here=device.has_no_times)])
        self._tell(device)

    def _draft(self, device: SendingDevice, judged: Taken | RefusedMessage, waiting: _Unsettled, now_ms: int) -> Draft:
        received = waiting.received
        if isinstance(judged, RefusedMessage):
            _log.warning("sensor_message_refused", device=device.device.id, reason=judged.reason)
            topic = self._topics.telemetry(device.device.line, device.device.id)
            return refusal_draft(
                topic, device.device, now_ms, reason=judged.reason, payload=received.payload, settled=waiting.settle
            )
        return self._telemetry(
            device,
            judged.snapshot,
            now_ms,
            judged.own_ms,
            is_stamped_here=judged.own_ms is None,
            is_copy=received.retained,
            settled=waiting.settle,
        )

    def _telemetry(
        self,
        device: SendingDevice,
        snapshot: Snapshot,
        now_ms: int,
        event_ms: int | None,
        *,
        is_stamped_here: bool,
        is_copy: bool = False,
        settled: Callable[[], None] = lambda: None,
    ) -> Draft:
        COUNTS.messages += 1
        COUNTS.bad_signals += len(snapshot.quality)
        topic = self._topics.telemetry(device.device.line, device.device.id)
        return sensor_draft(
            topic,
            device.device,
            snapshot,
            now_ms,
            event_ms=event_ms,
            is_stamped_here=is_stamped_here,
            is_copy=is_copy,
            settled=settled,
        )

    def _tell(self, device: SendingDevice) -> None:
        if device.take_news():
            self._uplink.take_comms(device)
