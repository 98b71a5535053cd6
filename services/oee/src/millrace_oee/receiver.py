"""Routes a message from the broker to the engine. What breaks the contract is only counted: ingest keeps it.

What ingest confirms was heard by the forwarder before it comes here (`from_ingest` of the contract).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from millrace_contract.errors import Malformed
from millrace_contract.language.entries import PlacedEntry, decode_entry
from millrace_contract.language.messages import Ledger, Stored, decode
from millrace_contract.language.streams import may_tell_of_losses
from millrace_contract.language.telemetry import Telemetry, decode_telemetry
from millrace_contract.language.topics import Kind, Topic, Topics
from millrace_contract.plant.known_devices import FOREIGN, KnownDevices, with_plant
from millrace_contract.plant.reach import LastWords, read_comms
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.mqtt.session import Received, Session
from millrace_contract.runtime.status import Platform
from millrace_contract.store_forward.outbox import Outbox

from . import metrics
from .plan import Plan
from .results import Results

OF_LINES = (Kind.TELEMETRY, Kind.COMMS, Kind.OEE)
FOR_ALL = (Kind.CONTEXT_EVENT, Kind.STATUS, Kind.LEDGER)
"""Entries are numbered over all lines, so that each instance hears all of them."""


def subscriptions(topics: Topics, sender: str, lines: Iterable[str] | None = None) -> list[str]:
    """Everything that the service listens to; of these lines only, where others are another instance's."""
    of_lines = [topic for kind in OF_LINES for topic in topics.filters(kind)]
    if lines is not None:
        of_lines = [topic.replace("/+/", f"/{line}/", 1) for line in lines for topic in of_lines]
    return [topics.stored(sender), *of_lines, *(topic for kind in FOR_ALL for topic in topics.filters(kind))]


_OF_KIND = {kind: metrics.MESSAGES.labels(kind) for kind in Kind}


class Accepts(Protocol):
    """What takes the messages that figures are made of: the engine."""

    def accept(self, device: str, message: Telemetry, now_ms: int) -> None: ...

    def accept_elsewhere(self, device: str, message: Telemetry) -> None: ...

    def look_up(self, device: str, message: Telemetry) -> None: ...

    def accept_entry(self, placed: PlacedEntry) -> None: ...

    def accept_ledger(self, entry: Ledger) -> None: ...


class Surroundings(Protocol):
    """What a running service has besides its figures: an outbox, and documents of its own at the broker."""

    def stored(self, stored: Stored) -> None: ...

    def clear(self, topic: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Running:
    """The surroundings of the running service."""

    results: Results
    outbox: Outbox
    session: Session

    def stored(self, stored: Stored) -> None:
        self.results.confirmed(self.outbox.ids(stored.stream, stored.seqs))

    def clear(self, topic: str) -> None:
        self.session.publish(topic, b"", retain=True)


class NoSurroundings:
    """A replay sends nothing and has nothing at the broker."""

    def stored(self, _stored: Stored) -> None:
        pass

    def clear(self, _topic: str) -> None:
        pass


class OeeReceiver:
    """Used by the worker's thread, inside its transaction, and by a replay."""

    def __init__(
        self, plan: Plan, engine: Accepts, surroundings: Surroundings, known: KnownDevices | None = None, edited_ms: int = 0
    ) -> None:
        """`known`: every device that an accepted plant model had; without it, those of this one. `edited_ms`: when this plant model
        was written.
        """
        self.ignored: Counter[str] = Counter()
        """How many messages changed nothing, by reason."""
        self._plan = plan
        self.known = with_plant({}, plan.plant) if known is None else known
        self._edited_ms = edited_ms
        self._engine = engine
        self._surroundings = surroundings
        self._platform = Platform()
        self._last_words = LastWords({machine.id: plan.plant.devices[machine.id] for machine in plan.machines.values()})

    def offline(self) -> set[str]:
        """Devices that cannot be reached now, by their own link or because their gateway is gone."""
        return self._last_words.offline()

    def receive(self, received: Received, now: Now) -> None:
        """Apply one message. Never raises for what the message says."""
        topic = self._plan.topics.parse(received.topic)
        if topic is None:
            self._ignore("unknown_topic")
            return
        _OF_KIND[topic.kind].inc()
        try:
            self._route(topic, received, now)
        except Malformed as error:
            self._ignore(error.code)

    def _route(self, topic: Topic, received: Received, now: Now) -> None:
        match topic.kind:
            case Kind.TELEMETRY:
                self._telemetry(topic, received.payload, now)
            case Kind.COMMS:
                machine = self._plan.machine_of(topic)
                if machine is None:
                    self._ignore("no_oee")
                else:
                    self._last_words.comms(machine.id, read_comms(self._plan.plant.devices[machine.id], received.payload))
            case Kind.CONTEXT_EVENT:
                self._engine.accept_entry(PlacedEntry(topic.line or "", topic.device, decode_entry(received.payload)))
            case Kind.STATUS:
                self._status(topic, received.payload)
            case Kind.LEDGER:
                self._engine.accept_ledger(_believed(topic, decode(Ledger, received.payload)))
            case Kind.STORED:
                self._surroundings.stored(decode(Stored, received.payload))
            case Kind.OEE:
                self._own_document(topic, received)
            case _:
                pass

    def _telemetry(self, topic: Topic, payload: bytes, now: Now) -> None:
        machine = self._plan.machines.get(topic.device or "")
        if machine is None:
            self._ignore("no_oee")
            return
        message = decode_telemetry(payload, now.epoch_ms, machine.id)
        known = self.known[machine.id]
        if known.objection(machine.id, topic.line or "", message.stream):
            self._ignore(FOREIGN)
        elif topic.line != machine.line:
            # Read where the machine stood before: not missing, and no figure of this line rests on it.
            self._ignore("elsewhere")
            self._engine.accept_elsewhere(machine.id, message)
        elif message.timestamp_ms < self._edited_ms:
            # Who was not there when the plant model was edited does not know by which profile it was read. ingest does.
            self._ignore("before_edit")
            self._engine.look_up(machine.id, message)
        elif known.profile_at(message.timestamp_ms) != machine.measurement:
            # Read by another profile, as far as we know of the edits: where ingest stored it tells when its gap is looked for.
            self._ignore("other_profile")
        else:
            self._engine.accept(machine.id, message, now.epoch_ms)

    def _status(self, topic: Topic, payload: bytes) -> None:
        self._platform.apply(topic, payload)
        if topic.service == "gateway" and topic.instance is not None:
            self._last_words.gateway(topic.instance, self._platform.alive("gateway", topic.instance))

    def _own_document(self, topic: Topic, received: Received) -> None:
        """The broker shows what we retained earlier: what the plant model no longer knows is cleared."""
        if not received.retained or not received.payload or topic.line in self._plan.others:
            return
        known = self._plan.machine_of(topic) is not None if topic.device else topic.line in self._plan.lines
        if not known:
            self._surroundings.clear(received.topic)

    def _ignore(self, reason: str) -> None:
        self.ignored[reason] += 1
        metrics.IGNORED.labels(reason).inc()


def _believed(topic: Topic, entry: Ledger) -> Ledger:
    """Raises Malformed for an entry of another service than its topic's, or about a stream that is not for it to tell of."""
    service, instance = topic.service or "", topic.instance or ""
    if (entry.service, entry.instance) != (service, instance):
        raise Malformed("sender", f"says it is of {entry.service} {entry.instance}, but its topic is of {service} {instance}")
    if entry.lost_stream is not None and not may_tell_of_losses(service, instance, entry.lost_stream):
        raise Malformed("sender", f"{service} {instance} tells of losses in stream {entry.lost_stream!r}, which is another's")
    return entry
