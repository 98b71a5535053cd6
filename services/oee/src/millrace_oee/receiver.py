"""Routes a message from the broker to the engine or the forwarder. What breaks the contract is only counted: ingest keeps it."""

from __future__ import annotations

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import Comms, Ledger, Stored, decode
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.topics import Kind, Topic, Topics
from millrace_contract.runtime.mqtt.paho_session import PahoSession, Received
from millrace_contract.runtime.status import Platform
from millrace_contract.store_forward.forwarder import Forwarder, Now
from millrace_contract.store_forward.outbox import Outbox

from . import metrics
from .engine import Engine
from .results import Results


def subscriptions(topics: Topics, sender: str) -> list[str]:
    """Everything that the service listens to."""
    kinds = (Kind.TELEMETRY, Kind.COMMS, Kind.STATUS, Kind.LEDGER, Kind.OEE)
    return [topics.stored(sender), *(topic for kind in kinds for topic in topics.filters(kind))]


class Receiver:
    """Used by the engine's thread, inside its transaction."""

    def __init__(self, engine: Engine, results: Results, outbox: Outbox, forwarder: Forwarder, session: PahoSession) -> None:
        self._engine = engine
        self._plan = engine.plan
        self._results = results
        self._outbox = outbox
        self._forwarder = forwarder
        self._session = session
        self._platform = Platform()
        self._gateways: dict[str, bool] = {}
        self._unreachable: set[str] = set()

    def offline(self) -> set[str]:
        """Devices that cannot be reached now, by their own link or because their gateway is gone."""
        dead = {instance for instance, alive in self._gateways.items() if not alive}
        return self._unreachable | {machine.id for machine in self._plan.machines.values() if machine.gateway in dead}

    def receive(self, received: Received, now: Now) -> None:
        """Apply one message. Never raises for what the message says."""
        topic = self._plan.topics.parse(received.topic)
        if topic is None:
            metrics.IGNORED.labels("unknown_topic").inc()
            return
        metrics.MESSAGES.labels(topic.kind).inc()
        try:
            self._route(topic, received, now)
        except Malformed as error:
            metrics.IGNORED.labels(error.code).inc()

    def _route(self, topic: Topic, received: Received, now: Now) -> None:
        match topic.kind:
            case Kind.TELEMETRY | Kind.COMMS:
                machine = self._plan.machine_of(topic)
                if machine is None:
                    metrics.IGNORED.labels("no_oee").inc()
                elif topic.kind is Kind.TELEMETRY:
                    self._engine.accept(machine.id, decode_telemetry(received.payload, now.epoch_ms, machine.id), now.epoch_ms)
                else:
                    self._comms(machine.id, received.payload)
            case Kind.STATUS:
                self._status(topic, received.payload)
            case Kind.LEDGER:
                self._engine.accept_ledger(decode(Ledger, received.payload))
            case Kind.STORED:
                stored = decode(Stored, received.payload)
                self._forwarder.confirmed(stored.stream, stored.seqs, now)
                self._results.confirmed(self._outbox.ids(stored.stream, stored.seqs))
            case Kind.OEE:
                self._own_document(topic, received)
            case _:
                pass

    def _comms(self, device: str, payload: bytes) -> None:
        if payload and decode(Comms, payload).state == "offline":
            self._unreachable.add(device)
        else:
            self._unreachable.discard(device)

    def _status(self, topic: Topic, payload: bytes) -> None:
        status = self._platform.apply(topic, payload)
        if topic.service == "ingest":
            self._forwarder.taking(self._platform.is_taking())
        if topic.service == "gateway" and topic.instance is not None:
            if status is None:
                self._gateways.pop(topic.instance, None)
            else:
                self._gateways[topic.instance] = status.alive

    def _own_document(self, topic: Topic, received: Received) -> None:
        """The broker shows what we retained earlier: what the plant model no longer knows is cleared."""
        if not received.retained or not received.payload:
            return
        known = self._plan.machine_of(topic) is not None if topic.device else topic.line in self._plan.lines
        if not known:
            self._session.publish(received.topic, b"", retain=True)
