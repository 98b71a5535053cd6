"""plan and read of devices that send messages, as a person and a script use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession
from millrace_contract.store_forward.store_file import is_in_use
from millrace_contract.testing.outboxes import open_at
from millrace_contract.testing.servers import Mosquitto, wait_until
from millrace_gateway.__main__ import main

from .sensor_plant import TOPIC, sensor_config

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command line on a plant of one sensor; exit status, standard output, standard error."""
    config = sensor_config(tmp_path)
    monkeypatch.setenv("MILLRACE_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--config", str(config)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def message(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "message").write_text(text)
        return str(tmp_path / "message")

    return write


def test_plan_shows_what_is_expected_of_a_sensor(call: Call) -> None:
    status, out, _ = call("plan")
    assert status == 0
    (row,) = [line.split() for line in out.splitlines() if line.startswith("PLUG-7")]
    assert row == ["PLUG-7", TOPIC, "300.0", "900.0", "Time"]
    status, out, _ = call("plan", "PLUG-7", "--json")
    assert json.loads(out) == {
        "device": "PLUG-7",
        "topics": [TOPIC],
        "interval_s": 300.0,
        "silent_after_s": 900.0,
        "time": "Time",
    }


def test_read_shows_values_beside_what_stands_in_a_message(call: Call, message: Callable[[str], str]) -> None:
    text = '{"Time": "2026-03-01T11:00:00Z", "ENERGY": {"Power": "1860", "Voltage": null}}\n'
    status, out, _ = call("read", "PLUG-7", "--message", message(text))
    assert status == 1  # voltage is bad
    assert f"{TOPIC}, measured at 2026-03-01T11:00:00.000Z" in out
    assert "ENERGY.Voltage: the message holds null, which is no value" in out
    _, out, _ = call("read", "PLUG-7", "--message", message(text), "--json")
    power, voltage = json.loads(out)["readings"]
    assert (power["value"], power["raw"], power["path"], power["quality"]) == (1860, "'1860'", "ENERGY.Power", "good")
    assert (voltage["value"], voltage["quality"]) == (None, "bad")


def test_read_says_in_words_what_cannot_be_read(call: Call, message: Callable[[str], str]) -> None:
    status, out, _ = call("read", "PLUG-7", "--message", message('{"POWER": "ON"}'))
    assert status == 1
    assert "nothing stands at ENERGY.Power, ENERGY.Voltage in" in out
    status, _, err = call("read", "PLUG-7", "--message", "/nowhere/m")
    assert (status, "cannot be read: No such file" in err) == (2, True)
    status, _, err = call("read", "PLUG-7", "--message", message("{}"), "--topic", "tele/x")
    assert (status, f"PLUG-7 sends on {TOPIC}" in err) == (2, True)


def test_read_does_not_take_the_connection_of_a_gateway_that_runs(call: Call, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "outbox.sqlite"
    assert not is_in_use(path)
    outbox = open_at(path)
    status, _, err = call("read", "PLUG-7")
    outbox.close()
    assert status == 2
    assert "gateway edge-1 runs, and has the one connection of its account with the broker" in err
    assert not is_in_use(path)


@pytest.mark.broker
def test_read_waits_for_a_message_and_leaves_it_to_the_gateway(
    call: Call, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_MQTT_PORT", str(mosquitto.port))
    status, _, err = call("read", "PLUG-7", "--wait", "0.3")
    assert status == 1
    assert f"nothing came on {TOPIC} within 0.3 s: does it send there, and may account gateway-edge-1 read it?" in err
    taken: list[int] = []
    sensor = PahoSession(mosquitto.settings(), "plug-7", Callbacks(published=lambda token, _ok: taken.append(token)))
    sensor.start()
    assert sensor.wait_connected(10)
    sensor.publish(TOPIC, b'{"ENERGY": {"Power": 5}}')
    wait_until(lambda: taken, "the broker to take it")
    sensor.stop()
    for _ in range(2):
        status, out, _ = call("read", "PLUG-7")
        assert status == 0
        assert f"{TOPIC}, without a time of its own: dated by its arrival" in out
