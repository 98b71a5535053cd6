"""Routes a message from the broker: to the alerts, the store, or the forwarder. What breaks the contract is counted."""

from collections.abc import Callable

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import Comms, OeeDocument, Stored, decode
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.topics import Kind, Topic, Topics
from millrace_contract.plant import PlantModel
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.runtime.status import Platform
from millrace_contract.store_forward.forwarder import Forwarder, Now

from . import metrics
from .alert import Transition, alert_id
from .store import Store
from .watch import Watch

RetainedPublish = Callable[..., int | None]


def subscriptions(topics: Topics, sender: str) -> list[str]:
    """Everything that the service listens to."""
    kinds = (Kind.TELEMETRY, Kind.COMMS, Kind.STATUS, Kind.OEE, Kind.OEE_WINDOW, Kind.ALERT)
    return [topics.stored(sender), *(topic for kind in kinds for topic in topics.filters(kind))]


class Receiver:
    """Used by the engine's thread, inside its transaction."""

    def __init__(self, plant: PlantModel, topics: Topics, store: Store, forwarder: Forwarder, publish: RetainedPublish) -> None:
        self._plant = plant
        self._topics = topics
        self._store = store
        self._forwarder = forwarder
        self._publish = publish
        self._platform = Platform()

    def receive(self, received: Received, watch: Watch, now: Now) -> list[Transition]:
        topic = self._topics.parse(received.topic)
        if topic is None:
            return _ignore("unknown_topic")
        metrics.MESSAGES.labels(topic.kind).inc()
        try:
            return self._route(topic, received, watch, now)
        except Malformed as error:
            return _ignore(error.code)

    def _route(self, topic: Topic, received: Received, watch: Watch, now: Now) -> list[Transition]:
        match topic.kind:
            case Kind.TELEMETRY | Kind.COMMS:
                return self._of_device(topic, received.payload, watch, now)
            case Kind.STATUS:
                return self._status(topic, received.payload, watch, now)
            case Kind.STORED:
                stored = decode(Stored, received.payload)
                self._forwarder.confirmed(stored.stream, stored.seqs, now)
            case Kind.OEE | Kind.OEE_WINDOW:
                self._oee(topic, received.payload)
            case Kind.ALERT:
                self._own_state(topic, received, watch)
            case _:
                pass
        return []

    def _of_device(self, topic: Topic, payload: bytes, watch: Watch, now: Now) -> list[Transition]:
        device = self._plant.devices.get(topic.device or "")
        if device is None or device.line != topic.line:
            return _ignore("undeclared_device")
        if topic.kind is Kind.TELEMETRY:
            return watch.telemetry(device.id, decode_telemetry(payload, now.epoch_ms, device.id))
        if not payload:
            return _ignore("cleared")
        comms = decode(Comms, payload)
        if comms.device_id != device.id:
            raise Malformed("device", f"device_id is {comms.device_id!r}, but the topic is of device {device.id!r}")
        # A link is as it is until the gateway says otherwise, so its change can only lie in the past.
        return watch.comms(device.id, comms, min(_ms(comms.since), now.epoch_ms))

    def _status(self, topic: Topic, payload: bytes, watch: Watch, now: Now) -> list[Transition]:
        status = self._platform.apply(topic, payload)
        if topic.service == "ingest":
            self._forwarder.taking(self._platform.is_taking())
        if status is None or topic.service != "gateway" or topic.instance is None:
            return []
        return watch.gateway(topic.instance, status.alive, now.epoch_ms)

    def _oee(self, topic: Topic, payload: bytes) -> None:
        if topic.line not in self._plant.lines or not payload:
            _ignore("undeclared_line")
            return
        document = decode(OeeDocument, payload)
        _ms(document.window.start)
        if topic.kind is Kind.OEE:
            self._store.save_oee(document)
        else:
            self._store.save_oee_window(document)

    def _own_state(self, topic: Topic, received: Received, watch: Watch) -> None:
        """The broker shows what we retained earlier: what no rule knows any more is cleared."""
        if not received.retained or not received.payload or topic.rule is None:
            return
        alert = watch.alerts.get(alert_id(topic.rule, topic.device or ""))
        if alert is None or alert.line != topic.line or not alert.version:
            self._publish(received.topic, b"", retain=True)


def _ms(text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise Malformed("timestamp", str(error)) from error


def _ignore(reason: str) -> list[Transition]:
    metrics.IGNORED.labels(reason).inc()
    return []
