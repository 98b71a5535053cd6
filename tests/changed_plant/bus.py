"""A broker without sockets: what MQTT promises of retained messages, sessions, wills and acknowledgements, step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from millrace_contract.runtime.mqtt.session import Callbacks, Received, Session
from millrace_contract.runtime.settings import BrokerSettings


def matches(topic_filter: str, topic: str) -> bool:
    wanted, given = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        return given[: len(wanted) - 1] == wanted[:-1]
    return len(wanted) == len(given) and all(each in ("+", part) for each, part in zip(wanted, given, strict=True))


@dataclass
class _Kept:
    """What the broker holds for one client id."""

    filters: tuple[str, ...] = ()
    waiting: deque[tuple[str, bytes]] = field(default_factory=deque)
    unacknowledged: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    session: BusSession | None = None


class Bus:
    """Messages move only in `pump`; so everything that happens is in the order of the test's steps."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self._clients: dict[str, _Kept] = {}
        self._out: deque[tuple[BusSession, Received | int]] = deque()
        self._mid = 0

    def session(self, settings: BrokerSettings, client_id: str, callbacks: Callbacks, **options: object) -> BusSession:
        return BusSession(self, settings, client_id, callbacks, **options)  # type: ignore[arg-type]

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for kept in self._clients.values():
            if any(matches(each, topic) for each in kept.filters):
                if kept.session is not None:
                    self._send(kept, topic, payload, retained=False)
                else:
                    kept.waiting.append((topic, payload))

    def connect(self, session: BusSession) -> None:
        kept = self._clients.get(session.client_id)
        if kept is None or not session.persistent:
            kept = self._clients[session.client_id] = _Kept()
        kept.session, kept.filters = session, session.filters
        again = [*kept.unacknowledged.values(), *kept.waiting]
        kept.unacknowledged.clear()
        kept.waiting.clear()
        session.connected_now()
        for topic, payload in again:
            self._send(kept, topic, payload, retained=False)
        for topic, payload in sorted(self.retained.items()):
            if any(matches(each, topic) for each in kept.filters):
                self._send(kept, topic, payload, retained=True)

    def forget(self, client_id: str) -> None:
        """The broker lost what it kept for this client, which is not connected."""
        assert self._clients.pop(client_id).session is None

    def disconnect(self, session: BusSession) -> None:
        kept = self._clients[session.client_id]
        kept.session = None
        if not session.persistent:
            del self._clients[session.client_id]
        mine = [each for one, each in self._out if one is session]
        self._out = deque(each for each in self._out if each[0] is not session)
        if session.persistent and not session.manual_ack:
            kept.waiting.extend((each.topic, each.payload) for each in mine if isinstance(each, Received))

    def taken(self, session: BusSession, token: int) -> None:
        """The broker has a message of this session, and tells it so."""
        self._out.append((session, token))

    def acknowledged(self, session: BusSession, mid: int) -> None:
        self._clients[session.client_id].unacknowledged.pop(mid, None)

    def on_its_way(self) -> list[str]:
        """To whom the next messages go."""
        return [f"{each.topic} to {session.client_id}" for session, each in self._out if isinstance(each, Received)][:5]

    def pump(self) -> bool:
        """Deliver what is on its way; whether there was anything."""
        some = bool(self._out)
        while self._out:
            session, each = self._out.popleft()
            session.hear(each)
        return some

    def _send(self, kept: _Kept, topic: str, payload: bytes, *, retained: bool) -> None:
        assert kept.session is not None
        self._mid += 1
        if kept.session.manual_ack:
            kept.unacknowledged[self._mid] = (topic, payload)
        self._out.append((kept.session, Received(topic, payload, retained, 1, self._mid, kept.session.generation)))


class BusSession(Session):
    """A session as services know it, on the bus."""

    def __init__(
        self,
        bus: Bus,
        settings: BrokerSettings,
        client_id: str,
        callbacks: Callbacks,
        *,
        filters: Sequence[str] = (),
        will: tuple[str, bytes] | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
        **_of_the_network: object,
    ) -> None:
        super().__init__(settings, client_id, callbacks)
        self.client_id = client_id
        self.filters = tuple(filters)
        self.persistent, self.manual_ack = persistent, manual_ack
        self._bus = bus
        self._will = will
        self._tokens = 0

    def start(self) -> None:
        if not self.is_connected:
            self._bus.connect(self)

    def stop(self, timeout_s: float = 3.0) -> None:  # noqa: ARG002 - as the session says it
        if self.is_connected:
            self._leave()

    def lose(self) -> None:
        """The connection breaks, or the process dies: the broker speaks the will."""
        if self.is_connected:
            self._leave()
            if self._will is not None:
                self._bus.publish(*self._will, retain=True)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        if not self.is_connected:
            return None
        self._tokens += 1
        self._bus.publish(topic, payload, retain=retain)
        self._bus.taken(self, self._tokens)
        return self._tokens

    def acknowledge(self, received: Received) -> None:
        if self.is_connected and received.generation == self.generation:
            self._bus.acknowledged(self, received.mid)

    def acknowledge_all(self, messages: Iterable[Received]) -> None:
        for received in messages:
            self.acknowledge(received)

    def connected_now(self) -> None:
        self.generation += 1
        self.problem = None
        self._connected.set()
        self._callbacks.connected()

    def hear(self, each: Received | int) -> None:
        """A message, or the token of one that the broker took."""
        if isinstance(each, int):
            self._callbacks.published(each, True)
        elif each.generation == self.generation:
            self._deliver([each])

    def _leave(self) -> None:
        self._connected.clear()
        self._bus.disconnect(self)
        self._callbacks.disconnected()
