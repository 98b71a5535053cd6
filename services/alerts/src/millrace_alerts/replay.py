"""What the rules would have raised on a recorded event file: the evaluation of the live service, driven by event time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import AlertEvent, Comms, Status, decode
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.topics import Kind, Topic, Topics
from millrace_contract.plant import PlantModel

from .alert import Transition, event_message
from .engine import TICK_LAG_MS, TICK_S
from .event_file import Recorded
from .rules import Watched
from .watch import Saved, Watch


@dataclass
class Replay:
    """Feeds recorded messages to a fresh watch. The clock is the newest event time seen so far.

    `today_ms` is the machine's clock: what lies ahead of it was refused when it was recorded, too.
    """

    plant: PlantModel
    watched: dict[str, Watched]
    today_ms: int
    ignored: int = 0
    now_ms: int = 0
    _ticked_ms: int = 0
    _seq: int = 0
    _watch: Watch = field(init=False)
    _topics: Topics = field(init=False)

    def __post_init__(self) -> None:
        self._watch = Watch(self.plant, self.watched, Saved())
        self._topics = Topics(self.plant.root)

    def events(self, messages: Iterable[Recorded]) -> Iterator[AlertEvent]:
        """Every alert event, in order, as the live service would have stored it."""
        for message in messages:
            yield from self._numbered(self._take(message))
        yield from self._numbered(self._watch.tick(self.now_ms))

    def _numbered(self, transitions: list[Transition]) -> Iterator[AlertEvent]:
        for transition in transitions:
            self._seq += 1
            priority = self.watched[transition.alert.id].description.priority
            yield event_message(transition, self._seq, self.now_ms, priority)

    def _take(self, message: Recorded) -> list[Transition]:
        topic = self._topics.parse(message.topic)
        if topic is None:
            self.ignored += 1
            return []
        try:
            return self._route(topic, message.payload)
        except Malformed:
            self.ignored += 1
            return []

    def _route(self, topic: Topic, payload: bytes) -> list[Transition]:
        device = self.plant.devices.get(topic.device or "")
        known = device is not None and device.line == topic.line
        match topic.kind:
            case Kind.TELEMETRY if device is not None and known:
                message = decode_telemetry(payload, self.today_ms, device.id)
                return [*self._pass(message.timestamp_ms), *self._watch.telemetry(device.id, message)]
            case Kind.COMMS if device is not None and known:
                comms = decode(Comms, payload)
                return [*self._pass(_ms(comms.timestamp)), *self._watch.comms(device.id, comms, min(_ms(comms.since), self.now_ms))]
            case Kind.STATUS if topic.service == "gateway" and topic.instance is not None:
                status = decode(Status, payload)
                passed = self._pass(_ms(status.timestamp)) if status.timestamp else []
                return [*passed, *self._watch.gateway(topic.instance, status.alive, self.now_ms)]
            case _:
                self.ignored += 1
                return []

    def _pass(self, event_ms: int) -> list[Transition]:
        """Time goes on to this message's; timers run as they would have run live."""
        self.now_ms = max(self.now_ms, event_ms)
        if self.now_ms - self._ticked_ms < TICK_S * 1000:
            return []
        first, self._ticked_ms = not self._ticked_ms, self.now_ms
        return [] if first else self._watch.tick(self.now_ms - TICK_LAG_MS)


def _ms(text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise Malformed("timestamp", str(error)) from error
