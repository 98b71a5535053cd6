"""The way up: outbox and broker session, wired together, and the retained `comms` topics. Callbacks only hand over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import Comms, Stored, decode, encode
from millrace_contract.language.topics import Kind, Topic, Topics
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.mqtt.trust import LEARNED
from millrace_contract.runtime.status import last_will
from millrace_contract.store_forward.from_ingest import FromIngest
from millrace_contract.store_forward.limits import limits_of
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.outbox_thread import OutboxThread

from .comms import CommsTracker
from .decoder import Snapshot
from .fleet import Fleet
from .messages import telemetry_draft
from .metrics import COUNTS
from .polled_device import PolledDevice
from .sensors.sender import SendingDevice
from .settings import GatewaySettings

SERVICE = "gateway"
SENSORS_WAITING = 4_000

_log = get_logger(__name__)


class Uplink:
    """Takes snapshots and comms news from the event loop; gives telemetry to the outbox and comms to the broker.

    The outbox is started first, and raises WrongSender and InUse. Neither broker nor disk need be there.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        fleet: Fleet,
        clock: Clock,
        heartbeat: Callable[[], None],
        *,
        on_session: Callable[[], None],
        on_sensor: Callable[[Received], None],
    ) -> None:
        """`on_session` is called on the event loop after each connect to the broker, `on_sensor` for each message of a sensor; who
        takes it acknowledges it.
        """
        self._on_session = on_session
        self._on_sensor = on_sensor
        self.topics = Topics(fleet.plant.root)
        self._instance = settings.instance
        self._clock = clock
        self._telemetry_topics = {device.id: self.topics.telemetry(device.line, device.id) for device in fleet.devices}
        self._comms_topics = {device.id: self.topics.comms(device.line, device.id) for device in fleet.devices}
        self._sensor_topics = frozenset(topic for device in fleet.senders for topic in fleet.plant.heard_topics_of(device.id))
        self.dropped = 0
        """Messages of sensors with QoS 0 that came faster than they could be taken"""
        self._handed_over = self._taken_over = 0
        self._trackers: dict[str, CommsTracker] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        # The sender is what plant.yaml names for a device: ingest believes a stream only from that gateway (contracts.md 2.2).
        sender = settings.instance
        self._from_ingest = FromIngest(self.topics, sender)
        kept = sorted(self._sensor_topics)
        fleeting = [*self.topics.filters(Kind.COMMS)]
        if settings.confirm == "stored":
            kept += [each for each in self._from_ingest.filters if each == self._from_ingest.confirmations]
            fleeting += [each for each in self._from_ingest.filters if each != self._from_ingest.confirmations]
        self.session = LeanSession(
            settings,
            f"{SERVICE}-{settings.instance}",
            Callbacks(
                message=self._on_message,
                connected=self._on_connected,
                disconnected=self._on_disconnected,
                published=self._on_published,
            ),
            filters=kept if self._sensor_topics else [*kept, *fleeting],
            # States, said again and again: in a day's absence they would fill the queue that holds what sensors sent.
            fleeting=fleeting if self._sensor_topics else (),
            will=last_will(self.topics, SERVICE, settings.instance),
            # What sensors send waits at the broker while we are away, and until it is committed.
            persistent=bool(self._sensor_topics),
            manual_ack=bool(self._sensor_topics),
            learned_ca=settings.data / LEARNED,
        )
        self.account = self.session.account
        self.outbox = OutboxThread(
            settings.data / "outbox.sqlite",
            sender,
            self.session.publish,
            ledger_topic=self.topics.ledger(SERVICE, settings.instance),
            encode_loss=ledger_encoder(SERVICE, settings.instance),
            clock=clock,
            limits=limits_of(settings.outbox_max_mb, settings.outbox_max_days),
            confirm=settings.confirm,
            heartbeat=heartbeat,
        )

    def start_outbox(self) -> None:
        """Begin to take messages. Raises CannotStart."""
        self.outbox.start()

    def start_session(self) -> None:
        """Begin to look for the broker. Call on the event loop."""
        self._loop = asyncio.get_running_loop()
        self.session.start()

    def stop(self, timeout_s: float) -> bool:
        """Commit what waits and leave the broker; return whether everything was committed."""
        is_complete = self.outbox.stop(timeout_s)
        self.session.stop()
        return is_complete

    def take_snapshot(self, device: PolledDevice, snapshot: Snapshot, arrived_ms: int) -> None:
        """One message of a device. Never blocks."""
        COUNTS.messages += 1
        COUNTS.bad_signals += len(snapshot.quality)
        self.outbox.append([telemetry_draft(self._telemetry_topics[device.device.id], device.device, snapshot, arrived_ms)])

    @property
    def is_connected(self) -> bool:
        return self.session.is_connected

    @property
    def refused_topics(self) -> frozenset[str]:
        return self.session.refused_filters

    def append(self, drafts: Iterable[Draft]) -> None:
        """Messages of sensors. Never blocks."""
        self.outbox.append(drafts)

    def acknowledge(self, received: Received) -> None:
        """What a sensor sent is safe. Any thread."""
        self.session.acknowledge(received)

    def take_comms(self, device: PolledDevice | SendingDevice) -> None:
        """Publish what is new about a device; without a broker that happens when it is back."""
        self._trackers[device.device.id] = device.comms
        self._publish_comms(device.comms)

    def publish_all_comms(self) -> None:
        """Every device's state anew: after a reconnect, and now and then for its round-trip time. On the event loop."""
        for tracker in self._trackers.values():
            self._publish_comms(tracker)

    def _publish_comms(self, tracker: CommsTracker) -> None:
        document = tracker.document(self._clock.now_ms())
        if document is not None:
            self.session.publish(self._comms_topics[tracker.device_id], encode(document), retain=True)

    def _on_connected(self) -> None:
        self.outbox.connected()
        self._on_loop(self.publish_all_comms)
        self._on_loop(self._on_session)

    def _on_disconnected(self) -> None:
        self.outbox.disconnected()

    def _on_published(self, token: int, is_taken: bool) -> None:
        self.outbox.published(token, is_taken)

    def _on_message(self, received: Received) -> None:
        if received.topic in self._sensor_topics:
            self._hand_over(received)
            return
        if self._sensor_topics:  # Without sensors the session does so itself.
            self.session.acknowledge(received)
            if self.topics.parse(received.topic) is None:
                self.session.unsubscribe(received.topic)  # of a device that the plant no longer has; the session still knew it
                return
        try:
            heard = self._from_ingest.read(received.topic, received.payload)
            if isinstance(heard, Stored):
                self.outbox.confirmed(heard.stream, heard.seqs, heard.held)
            elif heard is not None:
                self.outbox.taking(heard)
            else:
                self._take_comms_of_broker(received)
        except Malformed as error:
            _log.warning("message_malformed", topic=received.topic, reason=error.reason)

    def _hand_over(self, received: Received) -> None:
        """To the event loop. The broker waits with what has QoS 1; of QoS 0 so much may wait for us, and no more."""
        if self._handed_over - self._taken_over >= SENSORS_WAITING and not received.qos:
            self.dropped += 1
            return
        self._handed_over += 1
        self._on_loop(partial(self._take_over, received))

    def _take_over(self, received: Received) -> None:
        self._taken_over += 1
        self._on_sensor(received)

    def _take_comms_of_broker(self, received: Received) -> None:
        topic = self.topics.parse(received.topic)
        if topic is not None and topic.kind is Kind.COMMS and received.retained and received.payload:
            self._clear_if_gone(topic, received.topic, decode(Comms, received.payload))

    def _clear_if_gone(self, topic: Topic, name: str, comms: Comms) -> None:
        """A comms topic that this gateway once published for a device that it reads no more."""
        if comms.gateway == self._instance and self._comms_topics.get(topic.device or "") != name:
            _log.info("comms_cleared", topic=name)
            self._on_loop(partial(self.session.publish, name, b"", retain=True))

    def _on_loop(self, call: Callable[[], object]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)
