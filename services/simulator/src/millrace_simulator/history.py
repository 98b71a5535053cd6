"""`millrace-sim history`: sends a past through the normal path, as the gateways' backfill, paced by ingest's confirmations.

A stream is believed only from the gateway that the plant model names for a device (contracts.md 2.2). So each gateway's past is a
stream of its own under that gateway's name, numbered without gaps; ingest confirms it where that gateway listens, and the
gateway itself does not know the stream. Nothing is kept on disk: the past can be made again, and a point that is sent twice is
one point.
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from millrace_contract.errors import CannotStart, ConfigurationProblems, Malformed, Problem, Unavailable
from millrace_contract.language.event_file import encode_event
from millrace_contract.language.messages import Stored, decode
from millrace_contract.language.telemetry import MAX_HOLD_S, encode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.plant import Device, PlantModel, load_calendar, load_plant
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.runtime.settings import BrokerSettings

from .devices import simulated_devices
from .past import PastMessage, past
from .settings import HistorySettings
from .terminal import Bar
from .truth import read_truth

WINDOW = 3_000
"""Messages that are published and not yet confirmed, at most."""
AGAIN_AFTER_S = 15.0
"""Nothing confirmed for so long: what is unconfirmed is published again."""
GIVE_UP_AFTER_S = 120.0
"""Nothing confirmed for so long: nobody stores anything."""

STEPS_HELD = 3
"""A reading of the past is in force for so many steps if nothing follows."""

Publish = Callable[[str, bytes], bool]


@dataclass(slots=True)
class _Stream:
    name: str
    seq: int = 0
    prev: dict[str, int] = field(default_factory=dict)


class Backfill:
    """Numbers messages, and keeps those that are on their way until they are confirmed. No sockets; one thread."""

    def __init__(self, topics: Topics, publish: Publish, hold_s: float | None = None) -> None:
        self._topics = topics
        self._publish = publish
        self._hold_s = hold_s
        self._streams: dict[str, _Stream] = {}
        self._waiting: dict[tuple[str, int], tuple[str, bytes]] = {}
        self.sent = 0
        self.confirmed = 0

    @property
    def waiting(self) -> int:
        """How many messages are on their way."""
        return len(self._waiting)

    @property
    def streams(self) -> list[str]:
        return [stream.name for stream in self._streams.values()]

    def send(self, message: PastMessage) -> None:
        """Number it and publish it. While the broker is away it only waits, to be published `again`."""
        device = message.device
        gateway = device.gateway
        stream = self._streams.setdefault(gateway, _Stream(f"{gateway}.past-{secrets.token_hex(4)}"))
        payload = _numbered(message, stream, self._hold_s)
        # As the forwarder does: it was read long before it is sent.
        payload = payload[:-1] + b',"backfill":true}'
        topic = self._topics.telemetry(device.line, device.id)
        self._waiting[(stream.name, stream.seq)] = (topic, payload)
        self._publish(topic, payload)
        self.sent += 1

    def again(self) -> None:
        """Publish what is unconfirmed once more, in order."""
        for topic, payload in self._waiting.values():
            if not self._publish(topic, payload):
                return

    def confirm(self, stored: Stored) -> int:
        """Forget what is safe; returns how many messages that were. Confirmations of other streams change nothing."""
        before = len(self._waiting)
        for first, last in stored.seqs:
            for seq in range(first, last + 1):
                self._waiting.pop((stored.stream, seq), None)
        self.confirmed += before - len(self._waiting)
        return before - len(self._waiting)


def write_past(file: BinaryIO, topics: Topics, messages: Iterable[PastMessage], hold_s: float) -> int:
    """The past as an event file (contracts.md 7), as if each message had been heard when it was read; how many there are."""
    streams: dict[str, _Stream] = {}
    count = 0
    for message in messages:
        device = message.device
        stream = streams.setdefault(device.gateway, _Stream(f"{device.gateway}.past"))
        file.write(encode_event(topics.telemetry(device.line, device.id), _numbered(message, stream, hold_s), message.time_ms))
        count += 1
    return count


def _numbered(message: PastMessage, stream: _Stream, hold_s: float | None) -> bytes:
    """The message with the next number of its stream."""
    device = message.device
    stream.seq += 1
    payload = encode_telemetry(
        device_id=device.id,
        timestamp_ms=message.time_ms,
        readings=message.readings,
        quality=dict.fromkeys(message.bad, "bad"),
        tags=device.tags,
        stream=stream.name,
        seq=stream.seq,
        prev=stream.prev.get(device.id),
        hold_s=hold_s,
    )
    stream.prev[device.id] = stream.seq
    return payload


class HistorySender:
    """The broker session of a history. `send_all` blocks until everything is confirmed."""

    def __init__(
        self,
        settings: BrokerSettings,
        topics: Topics,
        gateways: Iterable[str],
        clock: Clock,
        client_id: str,
        *,
        step_s: float = 60.0,
    ) -> None:
        self._events: queue.SimpleQueue[Stored | None] = queue.SimpleQueue()
        self._clock = clock
        self._session = PahoSession(
            settings,
            client_id,
            Callbacks(message=self._take, connected=lambda: self._events.put(None)),
            filters=[topics.stored(gateway) for gateway in sorted(set(gateways))],
            in_flight_maximum=1000,
        )
        self.backfill = Backfill(
            topics, lambda topic, payload: self._session.publish(topic, payload) is not None, hold_s_of(step_s)
        )
        self._confirmed_s = clock.monotonic_s()
        self._again_s = self._confirmed_s

    def send_all(self, messages: Iterable[PastMessage], progress: Callable[[Backfill, PastMessage | None], None]) -> None:
        """Publish all and wait for the confirmations. Raises Unavailable when nothing is confirmed for two minutes."""
        self._session.start()
        try:
            if not self._session.wait_connected(30.0):
                raise Unavailable(self._session.problem or "the broker does not answer")
            self._confirmed_s = self._again_s = self._clock.monotonic_s()
            for message in messages:
                while self.backfill.waiting >= WINDOW:
                    self._wait()
                self.backfill.send(message)
                if not self.backfill.sent % 500:
                    self._hear()
                    progress(self.backfill, message)
            while self.backfill.waiting:
                self._wait()
                progress(self.backfill, None)
        finally:
            self._session.stop()

    def _take(self, received: Received) -> None:
        try:
            self._events.put(decode(Stored, received.payload))
        except Malformed:
            return  # A broken confirmation costs a repetition, nothing else.

    def _hear(self) -> None:
        while True:
            try:
                self._apply(self._events.get_nowait())
            except queue.Empty:
                return

    def _wait(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._apply(self._events.get(timeout=1.0))
        now_s = self._clock.monotonic_s()
        if now_s - self._confirmed_s > GIVE_UP_AFTER_S:
            problem = self._session.problem or "ingest confirms nothing: is it running, and does the database take data?"
            raise Unavailable(f"{self.backfill.waiting} messages are not confirmed after {GIVE_UP_AFTER_S:.0f} s; {problem}")
        if now_s - max(self._confirmed_s, self._again_s) > AGAIN_AFTER_S:
            self._again_s = now_s
            self.backfill.again()

    def _apply(self, event: Stored | None) -> None:
        if event is None:
            self.backfill.again()
        elif self.backfill.confirm(event):
            self._confirmed_s = self._clock.monotonic_s()


def hold_s_of(step_s: float) -> float:
    """Readings a minute apart are no silence: three steps, as with a gateway's polls."""
    return min(STEPS_HELD * step_s, float(MAX_HOLD_S))


def present_ms(truth: Path, clock: Clock) -> int:
    """Where a past ends: at the first start of the simulated plant, because from there on its gateway tells; else now."""
    try:
        return min(next(read_truth(truth)).time_ms, clock.now_ms())
    except FileNotFoundError:
        return clock.now_ms()


def _past_of(
    settings: HistorySettings, span_ms: tuple[int, int], step_s: float, only: Iterable[str] = ()
) -> tuple[PlantModel, list[Device], Iterator[PastMessage]]:
    plant = load_plant(settings.config)
    simulated = simulated_devices(plant, settings.sim_only_host, with_tls=settings.sim_certificate is not None)
    names = set(only)
    if unknown := sorted(names - {device.id for device in simulated}):
        known = ", ".join(device.id for device in simulated)
        raise ConfigurationProblems([Problem("--device", 0, unknown[0], f"is no simulated device; there are: {known}")])
    devices = [device for device in simulated if not names or device.id in names]
    calendar = load_calendar(settings.config, plant)
    from_ms, to_ms = span_ms
    return plant, devices, past(plant, calendar, devices, seed=settings.sim_seed, from_ms=from_ms, to_ms=to_ms, step_s=step_s)


def write_history(settings: HistorySettings, path: Path, span_ms: tuple[int, int], step_s: float, only: Iterable[str]) -> int:
    """Write the past of these devices (of all, where none is named) as an event file; returns how many messages it has.

    Raises ConfigurationProblems, or CannotStart where the file cannot be written.
    """
    plant, _, messages = _past_of(settings, span_ms, step_s, only)
    try:
        with path.open("wb") as file:
            return write_past(file, Topics(plant.root), messages, hold_s_of(step_s))
    except OSError as error:
        raise CannotStart(str(path), f"cannot be written: {error.strerror or error}") from error


def send_history(
    settings: HistorySettings, span_ms: tuple[int, int], step_s: float, say: Callable[[str], None] | None = None
) -> Backfill:
    """Send the past of every simulated device; progress as JSON lines to `say`, else as a bar on the terminal.

    Raises ConfigurationProblems, or Unavailable when the broker or ingest is not there.
    """
    plant, devices, messages = _past_of(settings, span_ms, step_s)
    from_ms, to_ms = span_ms
    clock = SystemClock()
    gateways = [device.gateway for device in devices]
    sender = HistorySender(settings, Topics(plant.root), gateways, clock, f"simulator-{settings.instance}", step_s=step_s)
    with Bar("sending the past", to_ms - from_ms, is_shown=say is None) as bar:
        told_s = clock.monotonic_s()

        def progress(backfill: Backfill, message: PastMessage | None) -> None:
            nonlocal told_s
            reached_ms = message.time_ms if message else to_ms
            bar.reach(reached_ms - from_ms, f"{backfill.confirmed} of {backfill.sent} stored")
            if say is not None and (clock.monotonic_s() - told_s > 2.0 or not backfill.waiting):
                told_s = clock.monotonic_s()
                say(json.dumps({"until": format_timestamp(reached_ms), "sent": backfill.sent, "stored": backfill.confirmed}))

        sender.send_all(messages, progress)
    return sender.backfill
