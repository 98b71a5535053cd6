"""Recording from a real broker: what stands in the file and in which order, and what a person is told when it does not work."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import millrace_admin.record.cli as record_cli
from millrace_admin.__main__ import main
from millrace_admin.record.recorder import RECEIVE_MAXIMUM, Recorded, Recorder
from millrace_admin.secret_files import SecretFiles
from millrace_contract.errors import Unavailable
from millrace_contract.language.event_file import Event, read_line
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.testing import Mosquitto, free_port, wait_until

TELEMETRY = "factory/line1/CNC-01/telemetry"


@pytest.fixture
def publish(mosquitto: Mosquitto) -> Iterator[Callable[..., None]]:
    taken: list[int] = []
    session = PahoSession(mosquitto.settings(), "plant", Callbacks(published=lambda token, _: taken.append(token)))
    session.start()
    assert session.wait_connected(10)

    def publish(topic: str, payload: bytes, *, retain: bool = False) -> None:
        wait_until(lambda: session.is_connected, "the broker")
        token = session.publish(topic, payload, retain=retain)
        wait_until(lambda: token in taken, "the broker to take it")

    yield publish
    session.stop()


class Run:
    """A recorder at work on a thread of its own; the test reads the file as it grows."""

    def __init__(self, broker: Mosquitto, out: Any = None) -> None:
        self.out = io.BytesIO() if out is None else out
        self.result: Recorded | None = None
        self._stop = threading.Event()
        self._turns = threading.Semaphore(0)
        self._recorder = Recorder(broker.settings(), "factory", self.out, SystemClock())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def events(self) -> list[Event]:
        found = [read_line(line, number, 0) for number, line in enumerate(self.out.getvalue().splitlines(), start=2)]
        return [each for each in found if isinstance(each, Event)]

    def begun(self) -> Run:
        """The broker has answered, and what it retained was written."""
        for _ in range(4):
            assert self._turns.acquire(timeout=20)
        return self

    def stop(self) -> Recorded:
        self._stop.set()
        self._thread.join(20)
        assert self.result is not None
        return self.result

    def _run(self) -> None:
        self.result = self._recorder.record(
            self._stop, seconds=None, patience_s=20, progress=lambda _recorded, _left: self._turns.release()
        )


@pytest.mark.broker
def test_what_is_retained_comes_first_then_all_as_it_arrives(mosquitto: Mosquitto, publish: Callable[..., None]) -> None:
    publish("factory/_platform/gateway/edge-1/status", b'{"service":"gateway","instance":"edge-1","alive":true}', retain=True)
    publish("factory/line1/CNC-01/comms", b'{"state":"online"}', retain=True)
    run = Run(mosquitto).begun()
    payloads = [b"{}", b"21.5", b"\xff\x00", b'{"a":\n1}']
    for payload in payloads:
        publish(TELEMETRY, payload)
    publish("factory/line1/CNC-01/comms", b"", retain=True)
    publish("another/line1/CNC-01/telemetry", b"{}")
    wait_until(lambda: len(run.events()) >= 7, "seven messages")
    recorded = run.stop()
    assert recorded.is_whole
    events = run.events()
    assert recorded.messages == len(events) == 7
    assert {event.topic for event in events[:2] if event.retained} == {
        "factory/_platform/gateway/edge-1/status",
        "factory/line1/CNC-01/comms",
    }
    assert [(event.payload, event.retained) for event in events[2:]] == [(each, False) for each in [*payloads, b""]]
    assert all(event.received_ms for event in events)


class Held(io.BytesIO):
    """A disk that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def write(self, data: Any) -> int:
        self.free.wait(60)
        return super().write(data)


@pytest.mark.broker
def test_what_a_slow_disk_does_not_take_waits_at_the_broker(mosquitto: Mosquitto, publish: Callable[..., None]) -> None:
    held = Held()
    run = Run(mosquitto, held).begun()
    session = PahoSession(mosquitto.settings(), "many", Callbacks())
    session.start()
    assert session.wait_connected(10)
    count = RECEIVE_MAXIMUM + 400
    for number in range(count):
        session.publish(TELEMETRY, str(number).encode())
    wait_until(lambda: len(run._recorder._inbox) > 0, "messages to wait for the disk")
    publish(TELEMETRY, b"last")
    assert len(run._recorder._inbox) <= RECEIVE_MAXIMUM
    held.free.set()
    wait_until(lambda: len(run.events()) == count + 1, "every message in the file")
    assert [event.payload for event in run.events()][:3] == [b"0", b"1", b"2"]
    session.stop()
    assert run.stop().is_whole


@pytest.mark.broker
def test_a_broker_that_was_gone_for_a_while_is_told(mosquitto: Mosquitto, publish: Callable[..., None]) -> None:
    run = Run(mosquitto).begun()
    publish(TELEMETRY, b"before")
    wait_until(run.events, "a message")
    mosquitto.stop()
    mosquitto.start()
    wait_until(lambda: run._recorder._connections == 2, "the recorder to come back", 30)
    run.begun()
    publish(TELEMETRY, b"after")
    wait_until(lambda: len(run.events()) == 2, "the message behind the gap")
    recorded = run.stop()
    assert (recorded.interruptions, recorded.is_whole) == (1, False)


@pytest.mark.broker
def test_a_broker_that_does_not_answer_is_told_in_words(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    recorder = Recorder(mosquitto.settings(), "factory", io.BytesIO(), SystemClock())
    with pytest.raises(Unavailable, match=f"nothing to record: no answer from 127.0.0.1:{mosquitto.port}"):
        recorder.record(threading.Event(), seconds=1, patience_s=3, progress=lambda _recorded, _left: None)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, sample_config: Path, ready_files: SecretFiles) -> Iterator[Path]:
    for name in [name for name in os.environ if name.startswith("MILLRACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MILLRACE_CONFIG", str(sample_config))
    monkeypatch.setenv("MILLRACE_SECRETS", str(ready_files.root))
    monkeypatch.setenv("MILLRACE_MQTT_PORT", str(free_port()))
    monkeypatch.setattr(record_cli, "PATIENCE_S", 1.0)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield ready_files.root
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_command_without_a_broker_says_so(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--minutes", "1"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("recording factory/... from the broker at 127.0.0.1:")
    assert "for 1 min; Ctrl-C ends it earlier\nnothing to record: no answer from 127.0.0.1:" in said.err


def test_a_command_without_a_password_names_the_file_that_has_it(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--secrets", str(environment / "elsewhere")]) == 2
    assert f"{environment}/elsewhere/admin/mqtt_password: is not there: name the secrets folder" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "ten"])
def test_a_time_that_is_none_is_refused(environment: Path, capsys: pytest.CaptureFixture[str], minutes: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["record", f"--minutes={minutes}"])
    assert ended.value.code == 2
    assert f"'{minutes}' is not a number of minutes, like 10 or 0.5" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.broker
@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_ends_the_recording_in_words(
    environment: Path, mosquitto: Mosquitto, publish: Callable[..., None], as_json: bool
) -> None:
    publish("factory/line1/CNC-01/comms", b"{}", retain=True)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "millrace_admin", "record", "--minutes", "1", *(["--json"] if as_json else [])],
            env={**os.environ, "MILLRACE_MQTT_PORT": str(mosquitto.port)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "No space left on device" in (json.loads(last)["error"] if as_json else last)
