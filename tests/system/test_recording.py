"""A recording of the running platform, replayed: what a replay prints is what the live services published."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.testing import wait_until

from .conftest import System, _script, started_system

ALL_DAY = "shifts: {all: {start: '00:00', end: '00:00', days: [mon, tue, wed, thu, fri, sat, sun]}}\n"
EVENT = ("alert_id", "occurrence", "from_state", "to_state", "cause", "value", "priority", "source_timestamp")
Document = dict[str, Any]


class NeverClosed(System):
    """At any hour of any day the last hour has figures."""

    def _configure(self) -> None:
        super()._configure()
        (self.config / "calendar.yaml").write_text(ALL_DAY)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[System]:
    yield from started_system(NeverClosed(tmp_path / "state"))


class Recording:
    """`millrace record` as a person runs it, until Ctrl-C."""

    def __init__(self, system: System) -> None:
        self.path = system.state / "plant.jsonl"
        self._told = system.state / "record.log"
        with self.path.open("wb") as out, self._told.open("wb") as told:
            self._process = subprocess.Popen(
                [_script("millrace"), "record", "--config", str(system.config), "--secrets", str(system.state / "secrets")],
                env={**os.environ, "MILLRACE_MQTT_PORT": str(system.ports["broker"]), "MILLRACE_SIM_HOST": "127.0.0.1"},
                stdout=out,
                stderr=told,
            )

    def has_begun(self) -> bool:
        assert self._process.poll() is None, self._told.read_text()
        return bool(self.messages("/status"))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def messages(self, suffix: str) -> list[Document]:
        """Payloads so far of topics that end so."""
        whole = self.path.read_bytes().rpartition(b"\n")[0].splitlines()
        return [event["payload"] for event in map(json.loads, whole) if event["topic"].endswith(suffix)]

    def stop(self) -> str:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(30) == 0, self._told.read_text()
        return self._told.read_text()


@pytest.fixture
def recording(platform: System) -> Iterator[Recording]:
    recording = Recording(platform)
    yield recording
    recording.kill()


def _said(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("revision", "cause", "stream", "seq")}


def _windows(documents: list[Document]) -> dict[tuple[str, ...], Document]:
    """The last revision of each ended window."""
    last = {
        (each["line"], each.get("device_id") or "", each["window"]["kind"], each["window"]["id"]): each
        for each in sorted(documents, key=lambda each: each["revision"])
        if each["final"]
    }
    return {key: _said(document) for key, document in last.items()}


@pytest.mark.broker
@pytest.mark.influx
def test_replays_of_a_recording_print_what_the_live_services_published(platform: System, recording: Recording) -> None:
    wait_until(recording.has_begun, "the recording to begin", 30)
    past = platform.run("millrace-sim", "history", "--days", "0.09")
    assert past.returncode == 0, past.stderr
    replayed = _replay(platform, "millrace-oee", recording)
    expected = _windows(replayed)
    assert len({device for _, device, *_ in expected}) > 5

    def published() -> bool:
        found = _windows(recording.messages("/oee/window"))
        return {key: found.get(key) for key in expected} == expected

    wait_until(published, "the windows that a replay gives", 120)
    wait_until(lambda: recording.messages("/alert/read-often/event"), "the rule that surely fires", 60)
    told = recording.stop()
    assert "recording factory/..." in told
    assert "recorded " in told

    live = [event for event in recording.messages("/event") if "alert_id" in event]
    again = _replay(platform, "millrace-alerts", recording)
    assert [(each["alert_id"], each["to_state"]) for each in again] == [(each["alert_id"], each["to_state"]) for each in live]
    for replayed_event, event in zip(again, live, strict=True):
        # A reading that comes late, when it holds no more, raises nothing live; a recording knows when it was read only.
        if event["source_timestamp"] <= replayed_event["source_timestamp"]:
            assert _only(replayed_event) == _only(event)


def _only(event: Document) -> Document:
    return {key: event.get(key) for key in EVENT}


def _replay(platform: System, script: str, recording: Recording) -> list[Document]:
    done = platform.run(script, "replay", "--json", str(recording.path))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
