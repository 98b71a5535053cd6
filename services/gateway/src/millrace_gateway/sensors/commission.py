"""One message of a sensor, for a person at a terminal: `read` of a device with `transport: mqtt`, and its row in `plan`."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import Device, PlantModel, Profile
from millrace_contract.plant.message_signal import path_text
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.settings import BrokerSettings

from ..registers import Value
from .payload import Unreadable
from .reader import MessageReader, SensorMessage
from .sender import silent_after_s

_TURN_S = 0.2


@dataclass(frozen=True, slots=True)
class PathReading:
    """One signal beside what stood at its path; `raw` None: the message does not bring it."""

    signal: str
    value: Value | None
    unit: str
    quality: str
    reason: str | None
    topic: str
    path: str
    raw: str | None


@dataclass(frozen=True, slots=True)
class SensorRead:
    """What one message says. `problem`: why nothing of it can be used."""

    topic: str
    readings: tuple[PathReading, ...]
    time: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class SensorPlan:
    """What is expected of a device that sends messages."""

    device: str
    topics: tuple[str, ...]
    interval_s: float
    silent_after_s: float
    time: str


def sensor_plans(plant: PlantModel) -> list[SensorPlan]:
    """Every device with `transport: mqtt`, in the order of the plant file."""
    return [_plan(plant, device) for device in plant.devices.values() if device.connection.sends_messages]


def read_message(device: Device, profile: Profile, zone: ZoneInfo, received: Received, now_ms: int) -> SensorRead:
    """What the gateway would make of this message."""
    reader = MessageReader(device, profile, zone)
    try:
        message = reader.read(received.topic, received.payload, now_ms)
    except Unreadable as error:
        return SensorRead(received.topic, (), "", str(error))
    return SensorRead(received.topic, tuple(_readings(device, profile, received.topic, message)), _time(message, received))


def listen(settings: BrokerSettings, client_id: str, topics: tuple[str, ...], wait_s: float, clock: Clock) -> Iterator[Received]:
    """A message of each topic as it comes, until `wait_s` are over. Nothing is acknowledged: what is heard is the gateway's, and
    comes to it, too. Ends early, with a problem in words raised as OSError, where the broker does not let us listen.
    """
    heard: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
    session = LeanSession(
        settings,
        client_id,
        Callbacks(message=heard.put, disconnected=lambda: heard.put(None)),
        filters=topics,
        persistent=True,
        manual_ack=True,
    )
    session.start()
    until_s = clock.monotonic_s() + wait_s
    missing = set(topics)
    try:
        while missing and clock.monotonic_s() < until_s:
            try:
                received = heard.get(timeout=_TURN_S)
            except queue.Empty:
                continue
            if received is None:
                raise OSError(session.problem or "the broker ended the connection")
            if received.topic in missing:
                missing.discard(received.topic)
                yield received
        if session.problem is not None:
            raise OSError(session.problem)
    finally:
        session.stop()


def _plan(plant: PlantModel, device: Device) -> SensorPlan:
    profile = plant.profile_of(device.id)
    form = profile.message
    time = "of its arrival" if form is None or form.time is None else path_text(form.time)
    interval_s = min(group.interval_s for group in profile.groups.values())
    return SensorPlan(device.id, plant.topics_of(device.id), interval_s, silent_after_s(profile), time)


def _readings(device: Device, profile: Profile, topic: str, message: SensorMessage) -> Iterator[PathReading]:
    base = device.connection.topic
    for signal in profile.message_signals.values():
        if topic != (base if signal.topic is None else f"{base}/{signal.topic}"):
            continue
        is_there = signal.name in message.raw
        yield PathReading(
            signal=signal.name,
            value=message.snapshot.readings.get(signal.name),
            unit=signal.unit,
            quality=message.snapshot.quality.get(signal.name, "good") if is_there else "-",
            reason=message.snapshot.reasons.get(signal.name),
            topic=topic,
            path=path_text(signal.path),
            raw=message.raw.get(signal.name),
        )


def _time(message: SensorMessage, received: Received) -> str:
    if message.own_ms is not None:
        return f"measured at {format_timestamp(message.own_ms)}"
    if message.time_problem is not None:
        return f"{message.time_problem}; dated by its arrival, uncertain"
    if received.retained:
        return "kept by the broker, of nobody knows when, and without a time of its own: the gateway does not use it"
    return "without a time of its own: dated by its arrival"
