"""One rule of a plant, fed with messages as the engine hears them; every step is also a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from millrace_alerts.alert import Alert, Transition
from millrace_alerts.receiver import AlertsReceiver, NoSurroundings
from millrace_alerts.records import DeviceRecord, Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.mqtt.session import Received

from .plantfiles import START_MS, write_plant

Value = float | str | None
T = TypeVar("T")


class Story:
    """Times in seconds after START_MS; a value None is a bad reading."""

    def __init__(self, folder: Path, rule: str, *, where: str = "devices: [CNC-01]", restarts: bool = True) -> None:
        """`rule`: what follows its name in alerts.yaml, in YAML's flow style and without the outer braces."""
        text = f"rules: {{r: {{title: A rule, class: maintenance, where: {{{where}}}, {rule}}}}}\n"
        configuration = load_configuration(write_plant(folder, text))
        self.plant, self.watched = configuration.plant, watched_rules(configuration.plant, configuration.rules)
        self.receiver = AlertsReceiver(self.plant, Topics("factory"), NoSurroundings())
        self.watch = Watch(self.plant, self.watched, Saved())
        self.restarts = restarts
        self.made: list[Transition] = []
        self._seq = 0

    def read(self, at_s: float, device: str = "CNC-01", **values: Value) -> Story:
        """One message of a device."""
        self._seq += 1
        message: dict[str, object] = {
            "timestamp": format_timestamp(START_MS + round(at_s * 1000)),
            "readings": {name: value for name, value in values.items() if value is not None},
            "stream": f"{self.plant.devices[device].gateway}.a1",
            "seq": self._seq,
        }
        if bad := [name for name, value in values.items() if value is None]:
            message["quality"] = dict.fromkeys(bad, "bad")
        return self.hear(at_s, f"{self.plant.devices[device].line}/{device}/telemetry", message)

    def hear(self, at_s: float, topic: str, message: Mapping[str, object] | bytes) -> Story:
        """Any message, as a retained or a live one."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        now_ms = START_MS + round(at_s * 1000)
        received = Received(f"factory/{topic}", payload, False, 1, 1, 0)
        return self._note(self.receiver.receive(received, self.watch, Now(now_ms / 1000, now_ms)))

    def tick(self, at_s: float) -> Story:
        return self._note(self.watch.tick(START_MS + round(at_s * 1000)))

    def alert(self, device: str = "CNC-01") -> Alert:
        return self.watch.alerts[f"r.{device}"]

    @property
    def told(self) -> list[tuple[str, float]]:
        """(cause, event time) of what the rule did."""
        return [(each.cause.value, (each.source_ms - START_MS) / 1000) for each in self.made if each.alert.rule == "r"]

    def _note(self, transitions: list[Transition]) -> Story:
        self.made += transitions
        if self.restarts:
            watch = self.watch
            saved = Saved(
                alerts={name: _again(alert, Alert) for name, alert in watch.alerts.items()},
                devices={name: _again(record, DeviceRecord) for name, record in watch.devices.items()},
                gateways=dict(watch.gateways),
            )
            self.watch = Watch(self.plant, self.watched, saved)
        return self


def _again(value: T, kind: type[T]) -> T:
    again: T = msgspec.json.decode(msgspec.json.encode(value), type=kind)
    return again
