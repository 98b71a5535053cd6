"""From a message of a sensor to the readings of its signals, by what its profile says. Pure; compiled once for each device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from millrace_contract.language.words import Quality
from millrace_contract.plant import Device, MessageForm, MessageSignal, Profile
from millrace_contract.plant.message_signal import PLANT_ZONE, path_text

from ..composed import Unusable
from ..decoder import Snapshot
from ..registers import Value
from .payload import NothingThere, Unreadable, parse_payload, shown, value_at
from .times import NoTime, measured_at
from .values import reading_of

_QUALITIES = {quality.value: quality for quality in Quality}


@dataclass(frozen=True, slots=True)
class SensorMessage:
    """One message: its readings, and when they were measured. `own_ms` None: it does not say, or `time_problem` says why not."""

    snapshot: Snapshot
    own_ms: int | None
    time_problem: str | None
    raw: dict[str, str]
    """By signal: what stood at its path"""


class _Compiled(NamedTuple):
    name: str
    called: str
    path: tuple[str | int, ...]
    reading: Callable[[Any], Value]


class MessageReader:
    """Reads the messages of one device. Keeps nothing between them."""

    def __init__(self, device: Device, profile: Profile, plant_zone: ZoneInfo) -> None:
        form = profile.message or MessageForm()
        topic = device.connection.topic or ""
        zone = device.connection.time_zone or form.time_zone
        self.form = form
        self._zone = plant_zone if zone == PLANT_ZONE else ZoneInfo(zone) if zone else None
        self._by_topic: dict[str, list[_Compiled]] = {}
        for signal in profile.message_signals.values():
            self._by_topic.setdefault(_topic_of(topic, signal), []).append(_compiled(signal))

    @property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._by_topic)

    def read(self, topic: str, payload: bytes, arrived_ms: int) -> SensorMessage:
        """Raises Unreadable: nothing of the message can be used."""
        message = parse_payload(payload)
        signals = self._signals_of(message, self._by_topic[topic])
        snapshot, raw = Snapshot(), {}
        for signal in signals:
            try:
                value = value_at(message, signal.path)
            except NothingThere:
                continue
            raw[signal.name] = shown(value)
            try:
                snapshot.readings[signal.name] = signal.reading(value)
            except Unusable as error:
                snapshot.spoil((signal.name,), f"{path_text(signal.path) if signal.path else topic}: {error}")
        if not raw:
            paths = ", ".join(path_text(signal.path) for signal in signals)
            raise Unreadable(f"nothing stands at {paths} in {shown(message)}: the profile's paths are of another kind of message")
        self._judge(message, snapshot)
        own_ms, problem = self._time_of(message, arrived_ms)
        return SensorMessage(snapshot, own_ms, problem, raw)

    def _signals_of(self, message: Any, signals: list[_Compiled]) -> list[_Compiled]:
        """Those that the message may bring: all of its topic, or the one that it names."""
        if self.form.names is None:
            return signals
        try:
            name = value_at(message, self.form.names)
        except NothingThere:
            raise Unreadable(f"no signal is named at {path_text(self.form.names)} in {shown(message)}") from None
        named = [signal for signal in signals if signal.called == name]
        if not named:
            known = ", ".join(signal.called for signal in signals)
            raise Unreadable(f"{shown(name)} is no signal of its profile, which has {known}")
        return named

    def _judge(self, message: Any, snapshot: Snapshot) -> None:
        """What the sensor itself says of the quality."""
        if self.form.quality is None:
            return
        try:
            word = value_at(message, self.form.quality)
        except NothingThere:
            return
        quality = _QUALITIES.get(word.lower()) if isinstance(word, str) else None
        if quality is Quality.BAD:
            snapshot.spoil(tuple(snapshot.readings), "the sensor says that its quality is bad")
        elif quality is not Quality.GOOD:
            snapshot.doubt(tuple(snapshot.readings), f"the sensor says that its quality is {shown(word)}")

    def _time_of(self, message: Any, arrived_ms: int) -> tuple[int | None, str | None]:
        if self.form.time is None:
            return None, None
        try:
            return measured_at(value_at(message, self.form.time), self._zone, arrived_ms), None
        except NothingThere:
            return None, None
        except NoTime as problem:
            return None, str(problem)


def _topic_of(topic: str, signal: MessageSignal) -> str:
    return topic if signal.topic is None else f"{topic}/{signal.topic}"


def _compiled(signal: MessageSignal) -> _Compiled:
    return _Compiled(signal.name, signal.called or signal.name, signal.path, reading_of(signal))
