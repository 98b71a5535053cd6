"""Routes a message from the broker, to the alerts or the store. What breaks the contract is counted.

What ingest confirms was heard before it comes here (`from_ingest` of the contract).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import Comms, ContextState, Status, decode
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.telemetry import Telemetry, decode_telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.topics import Kind, Topic, Topics
from millrace_contract.language.words import IntervalKind
from millrace_contract.plant import PlantModel
from millrace_contract.plant.known_devices import FOREIGN, KnownDevices, with_plant
from millrace_contract.plant.reach import read_comms
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.runtime.status import Platform

from . import metrics
from .alert import Alert, Transition, alert_id
from .store import Store

FUTURE_SAID_S = 15.0
"""So long after the last one readings from the future are told as a problem."""

RetainedPublish = Callable[..., int | None]


def subscriptions(topics: Topics, sender: str) -> list[str]:
    """Everything that the service listens to."""
    kinds = (Kind.TELEMETRY, Kind.COMMS, Kind.STATUS, Kind.OEE, Kind.OEE_WINDOW, Kind.OEE_INTERVAL, Kind.CONTEXT, Kind.ALERT)
    return [topics.stored(sender), *(topic for kind in kinds for topic in topics.filters(kind))]


class Hears(Protocol):
    """What is told of the plant: the watch, or who only wants to know the readings."""

    @property
    def alerts(self) -> Mapping[str, Alert]: ...

    def telemetry(self, device_id: str, message: Telemetry, now_ms: int) -> list[Transition]: ...

    def comms(self, device_id: str, comms: Comms | None, at_ms: int) -> list[Transition]: ...

    def gateway(self, instance: str, alive: bool | None, now_ms: int) -> list[Transition]: ...

    def told(self, statuses: Sequence[Status], now_ms: int) -> list[Transition]: ...

    def ordered(self, line: str, device: str | None, state: ContextState | None) -> list[Transition]: ...

    def figures(self, document: OeeDocument, now_ms: int, *, is_ended: bool) -> list[Transition]: ...

    def stop(self, stop: OeeInterval, now_ms: int) -> list[Transition]: ...


class Surroundings(Protocol):
    """What a running service has besides its alerts: documents for the page, retained states at the broker."""

    def clear(self, topic: str) -> None: ...

    def save_oee(self, document: OeeDocument) -> None: ...

    def save_oee_window(self, document: OeeDocument) -> None: ...

    def forget_oee(self, line: str, device: str | None) -> None: ...

    def save_stop(self, stop: OeeInterval) -> None: ...


@dataclass(frozen=True, slots=True)
class Running:
    """The surroundings of the running service."""

    store: Store
    publish: RetainedPublish

    def clear(self, topic: str) -> None:
        self.publish(topic, b"", retain=True)

    def save_oee(self, document: OeeDocument) -> None:
        self.store.save_oee(document)

    def save_oee_window(self, document: OeeDocument) -> None:
        self.store.save_oee_window(document)

    def forget_oee(self, line: str, device: str | None) -> None:
        self.store.forget_oee(line, device)

    def save_stop(self, stop: OeeInterval) -> None:
        self.store.save_stop(stop)


class NoSurroundings:
    """A replay sends nothing, shows nothing and has nothing at the broker."""

    def clear(self, _topic: str) -> None:
        pass

    def save_oee(self, _document: OeeDocument) -> None:
        pass

    def save_oee_window(self, _document: OeeDocument) -> None:
        pass

    def forget_oee(self, _line: str, _device: str | None) -> None:
        pass

    def save_stop(self, _stop: OeeInterval) -> None:
        pass


class AlertsReceiver:
    """Used by the worker's thread, inside its transaction, and by a replay."""

    def __init__(self, plant: PlantModel, topics: Topics, surroundings: Surroundings, known: KnownDevices | None = None) -> None:
        """`known`: every device that an accepted plant model had; without it, those of this one."""
        self.ignored: Counter[str] = Counter()
        """How many messages changed nothing, by reason."""
        self._plant = plant
        self.known = with_plant({}, plant) if known is None else known
        self._topics = topics
        self._surroundings = surroundings
        self._platform = Platform()
        self._future: tuple[float, str] | None = None

    def receive(self, received: Received, watch: Hears, now: Now) -> list[Transition]:
        topic = self._topics.parse(received.topic)
        if topic is None:
            return self._ignore("unknown_topic")
        metrics.MESSAGES.labels(topic.kind).inc()
        try:
            return self._route(topic, received, watch, now)
        except Malformed as error:
            if error.code == "future":
                self._refuse_future(topic, error, now)
            return self._ignore(error.code)

    def future_problem(self, now: Now) -> str | None:
        """What was refused lately because it comes from the future, and for which of two reasons."""
        if self._future is None or now.monotonic_s - self._future[0] > FUTURE_SAID_S:
            self._future = None
            return None
        return self._future[1]

    def _refuse_future(self, topic: Topic, error: Malformed, now: Now) -> None:
        # The words stay as long as it goes on: each message would have others.
        words = f"a message of {topic.device} is refused: its {error}. This computer's clock is behind, or the sender's is ahead"
        self._future = now.monotonic_s, words if self._future is None else self._future[1]

    def _route(self, topic: Topic, received: Received, watch: Hears, now: Now) -> list[Transition]:
        match topic.kind:
            case Kind.TELEMETRY | Kind.COMMS:
                return self._of_device(topic, received.payload, watch, now)
            case Kind.STATUS:
                return self._status(topic, received.payload, watch, now)
            case Kind.OEE | Kind.OEE_WINDOW:
                return self._oee(topic, received.payload, watch, now)
            case Kind.OEE_INTERVAL:
                return self._stop(topic, received.payload, watch, now)
            case Kind.CONTEXT:
                return self._context(topic, received, watch)
            case Kind.ALERT:
                self._own_state(topic, received, watch)
            case _:
                pass
        return []

    def _of_device(self, topic: Topic, payload: bytes, watch: Hears, now: Now) -> list[Transition]:
        device = self._plant.devices.get(topic.device or "")
        if device is None:
            return self._ignore("undeclared_device")
        if topic.kind is Kind.TELEMETRY:
            message = decode_telemetry(payload, now.epoch_ms, device.id)
            known = self.known[device.id]
            if known.objection(device.id, topic.line or "", message.stream):
                return self._ignore(FOREIGN)
            if known.profile_at(message.timestamp_ms) != device.profile:
                return self._ignore("other_profile")
            return watch.telemetry(device.id, message, now.epoch_ms)
        if device.line != topic.line:
            return self._ignore("undeclared_device")
        comms = read_comms(device, payload)
        # A link is as it is until the gateway says otherwise, so its change can only lie in the past.
        return watch.comms(device.id, comms, now.epoch_ms if comms is None else min(_ms(comms.since), now.epoch_ms))

    def _status(self, topic: Topic, payload: bytes, watch: Hears, now: Now) -> list[Transition]:
        self._platform.apply(topic, payload)
        transitions = watch.told(self._platform.statuses(), now.epoch_ms)
        if topic.service == "gateway" and topic.instance is not None:
            transitions += watch.gateway(topic.instance, self._platform.alive("gateway", topic.instance), now.epoch_ms)
        return transitions

    def _context(self, topic: Topic, received: Received, watch: Hears) -> list[Transition]:
        """What we have said ourselves of the order in force, or a recording says."""
        line, device = topic.line or "", topic.device
        if self._plant.has_asset(line, device):
            return watch.ordered(line, device, decode(ContextState, received.payload) if received.payload else None)
        if received.retained and received.payload:
            self._surroundings.clear(received.topic)
        return []

    def _oee(self, topic: Topic, payload: bytes, watch: Hears, now: Now) -> list[Transition]:
        """A shift in progress is shown of what the plant has now; an ended window stays, whatever became of its asset."""
        line = topic.line or ""
        if topic.kind is Kind.OEE and not payload:
            self._surroundings.forget_oee(line, topic.device)
            return []
        document = decode(OeeDocument, payload)
        _ms(document.window.start)
        said = document.line, document.device_id if isinstance(document.device_id, str) else None
        if said != (line, topic.device):
            raise Malformed("device", f"says it is of {said}, but its topic is of {(line, topic.device)}")
        if topic.kind is not Kind.OEE:
            self._surroundings.save_oee_window(document)
            return watch.figures(document, now.epoch_ms, is_ended=True)
        if self._plant.has_asset(line, topic.device):
            self._surroundings.save_oee(document)
            return watch.figures(document, now.epoch_ms, is_ended=False)
        return self._ignore("undeclared_device" if topic.device else "undeclared_line")

    def _stop(self, topic: Topic, payload: bytes, watch: Hears, now: Now) -> list[Transition]:
        """Reasons are given to stops; states of machines are heard elsewhere."""
        interval = decode(OeeInterval, payload)
        if interval.kind is not IntervalKind.STOP:
            return []
        _ms(interval.start)
        if (interval.line, interval.device_id) != (topic.line, topic.device):
            said = interval.line, interval.device_id
            raise Malformed("device", f"says it is of {said}, but its topic is of {(topic.line, topic.device)}")
        self._surroundings.save_stop(interval)
        return watch.stop(interval, now.epoch_ms)

    def _own_state(self, topic: Topic, received: Received, watch: Hears) -> None:
        """The broker shows what we retained earlier: what no rule knows any more is cleared."""
        if not received.retained or not received.payload or topic.rule is None:
            return
        alert = watch.alerts.get(alert_id(topic.rule, topic.device or ""))
        if alert is None or alert.line != (topic.line or "") or not alert.version:
            self._surroundings.clear(received.topic)

    def _ignore(self, reason: str) -> list[Transition]:
        self.ignored[reason] += 1
        metrics.IGNORED.labels(reason).inc()
        return []


def _ms(text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise Malformed("timestamp", str(error)) from error
