"""plan, read and probe as a person and a script use them."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.plant import load_plant
from millrace_gateway.__main__ import main
from millrace_gateway.blocks import RegisterGap
from millrace_gateway.learned import LearnedDevice, place_of, save_learned
from millrace_gateway.request_cost import RequestCost

Make = Callable[..., Any]
SHARED_LINE = """
title: Test device
source: test
verified: no
groups: {fast: {interval_s: 0.1}}
signals:
  one: {address: 0, type: uint16}
"""


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; exit status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_plan_says_what_polling_costs(plant_folder: Make, call: Make) -> None:
    config = plant_folder(("M-1", 502, 1), ("M-2", 502, 2))
    status, out, _ = call("plan", "--config", str(config), "--json")
    assert status == 0
    first, second = objects(out)
    assert {key: first[key] for key in ("device", "requests", "registers", "interval_ms", "late")} == {
        "device": "M-1",
        "requests": 3,
        "registers": 4,
        "interval_ms": 50.0,
        "late": False,
    }
    assert first["cycle_ms"] == 30.035
    assert (first["measured"], first["round_trip_ms"], first["gaps"]) == (False, 10.0, [])
    assert second["device"] == "M-2"
    status, out, _ = call("plan", "--config", str(config))
    assert status == 0
    assert "Every device can keep its intervals." in out


def test_plan_needs_no_account(plant_folder: Make, call: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first start there is none, and `docker compose run --no-deps` starts nothing that would make it."""
    monkeypatch.setenv("MILLRACE_MQTT_PASSWORD_FILE", str(tmp_path / "not-there-yet"))
    code, _, _ = call("plan", "--config", str(plant_folder(("M-1", 1502, 1))))
    assert code == 0


def test_plan_shows_what_was_learned(plant_folder: Make, call: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plant_folder(("M-1", 502, 1))
    plant = load_plant(config)
    learned = LearnedDevice(
        place_of(plant.devices["M-1"]), RequestCost(3.0, 0.05, is_measured=True), (RegisterGap("holding", 13, 18),)
    )
    save_learned(tmp_path, {"M-1": learned})
    monkeypatch.setenv("MILLRACE_DATA", str(tmp_path))
    _, out, _ = call("plan", "--config", str(config), "--json")
    (device,) = objects(out)
    assert (device["round_trip_ms"], device["measured"]) == (3.0, True)
    assert device["gaps"] == [{"table": "holding", "start": 13, "end": 18}]
    _, out, _ = call("plan", "M-1", "--config", str(config))
    assert "must_not_cross: [{table: holding, first: 13, last: 17}]" in out
    assert "measured with 1 of 1 devices" in out


def test_plan_says_who_will_be_late(plant_folder: Make, call: Make) -> None:
    config = plant_folder(*((f"M-{i}", 502, i) for i in range(1, 13)), profile=SHARED_LINE)
    status, out, _ = call("plan", "--config", str(config), "--json")
    assert status == 1
    assert all(each["late"] and each["load"] == 1.2012 for each in objects(out))
    _, out, _ = call("plan", "--config", str(config))
    assert "127.0.0.1:502 would be busy 120% of the time" in out


def test_plan_of_a_slow_serial_line(plant_folder: Make, call: Make, tmp_path: Path) -> None:
    config = plant_folder(("M-1", 502, 7), profile=SHARED_LINE.replace("0.1", "0.02"))
    plant = (config / "plant.yaml").read_text()
    serial = "{transport: serial, serial_port: /dev/ttyUSB0, baud_rate: 9600, unit: 7}"
    (config / "plant.yaml").write_text(plant.replace("{host: 127.0.0.1, port: 502, unit: 7, timeout_s: 0.5}", serial))
    status, out, _ = call("plan", "--config", str(config))
    assert status == 1
    assert "M-1: unit 7 at 20 ms needs 30 ms: will be late" in out


def test_plan_lists_the_requests_of_a_named_device(plant_folder: Make, call: Make) -> None:
    status, out, _ = call("plan", "M-1", "--config", str(plant_folder(("M-1", 502, 1), ("M-2", 502, 2))))
    assert status == 0
    assert "input 100 to 101" in out
    assert "M-2" not in out


def test_read_shows_values_beside_raw_registers(device_server: Make, plant_folder: Make, call: Make) -> None:
    server = device_server()
    high, low = struct.unpack(">HH", struct.pack(">f", 68.5))
    server.registers = {("input", 100): high, ("input", 101): low}
    config = plant_folder(("M-1", server.port, 1))
    status, out, err = call("read", "M-1", "--config", str(config), "--json")
    assert (status, err) == (0, "")
    counter, temperature, door = objects(out)
    assert (counter["value"], counter["raw"], counter["quality"]) == (10, [10], "good")
    assert (temperature["value"], temperature["raw"], temperature["unit"]) == (68.5, [high, low], "Cel")
    assert (door["value"], door["raw"]) == (1, [1])
    status, out, _ = call("read", "M-1", "--config", str(config))
    assert status == 0
    assert "68.5" in out
    assert f"{high:04x} {low:04x}" in out


def test_read_says_why_a_signal_is_bad(device_server: Make, plant_folder: Make, call: Make) -> None:
    server = device_server()
    server.undefined = {("input", 101)}
    config = plant_folder(("M-1", server.port, 1))
    status, out, err = call("read", "M-1", "--config", str(config), "--json")
    assert status == 1
    assert [each["quality"] for each in objects(out)] == ["good", "bad", "good"]
    assert objects(out)[1]["reason"] == "input 100 to 101: Modbus exception 2: the device has no such address"
    assert err == "M-1: input 100 to 101: Modbus exception 2: the device has no such address\n"


def test_read_of_a_device_that_takes_one_connection_says_who_may_hold_it(
    device_server: Make, plant_folder: Make, call: Make
) -> None:
    server = device_server()
    server.most_connections = 1
    with socket.create_connection(("127.0.0.1", server.port)) as held:
        held.sendall(bytes.fromhex("000100000006010300000001"))
        assert held.recv(1)  # The server has taken it.
        status, _, err = call("read", "M-1", "--config", str(plant_folder(("M-1", server.port, 1))))
    assert status == 1
    assert "Some devices take one connection only, and the gateway edge-1, where it runs, holds a connection to it" in err


def test_read_of_a_device_that_is_not_there(plant_folder: Make, call: Make) -> None:
    status, _, err = call("read", "M-1", "--config", str(plant_folder(("M-1", 1, 1))))
    assert status == 1
    assert err == "M-1: nothing listens at 127.0.0.1:1 (connection refused)\n"


def test_probe_finds_swapped_words(device_server: Make, call: Make) -> None:
    server = device_server()
    high, low = struct.unpack(">HH", struct.pack(">f", 68.7))
    server.registers = {("holding", 100): low, ("holding", 101): high}
    host = f"127.0.0.1:{server.port}"
    status, out, _ = call("probe", host, "--unit", "3", "--address", "100", "--expect", "68.7", "--json")
    assert status == 0
    found = objects(out)
    assert {each["address"] for each in found} == {99, 100, 101}
    assert [(each["address"], each["type"], each["order"]) for each in found if each["matches"]] == [(100, "float32", "CDAB")]
    assert all(each.keys() >= {"address", "type", "order", "value", "matches"} for each in found)
    _, out, _ = call("probe", host, "--unit", "3", "--address", "101", "--expect", "68.7")
    assert "my_signal: {table: holding, address: 100, type: float32, order: CDAB}    # one off: you asked for 101" in out
    status, out, _ = call("probe", host, "--address", "100", "--expect", "-4711.5")
    assert status == 1
    assert "Wrong address, table or unit?" in out


def test_probe_at_the_edge_of_a_device(device_server: Make, call: Make) -> None:
    server = device_server()
    server.undefined = {("holding", address) for address in (9, 12, 13, 14)}
    status, out, _ = call("probe", f"127.0.0.1:{server.port}", "--address", "10", "--expect", "10", "--json")
    assert status == 0
    assert {each["address"] for each in objects(out)} == {10, 11}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("probe", "127.0.0.1:0", "--address", "1"), "'127.0.0.1:0' is not a host"),
        (("probe", "127.0.0.1", "--address", "70000"), "70000 is not allowed: 0 to 65535"),
        (("probe", "127.0.0.1", "--address", "1", "--unit", "256"), "256 is not allowed: 0 to 255"),
        (("plan", "--config", "no-such-folder"), "plant.yaml: is missing"),
    ],
)
def test_mistakes_are_answered_in_words(call: Make, arguments: tuple[str, ...], words: str) -> None:
    status, _, err = call(*arguments)
    assert status == 2
    assert words in err
    assert "Traceback" not in err


@pytest.mark.process
def test_a_first_start_without_a_plant_is_refused_in_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "millrace_gateway", "run", "--config", "no-such-folder"]
    done = subprocess.run(command, env={"MILLRACE_DATA": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert "plant.yaml: is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_device_names_the_nearest(plant_folder: Make, call: Make) -> None:
    status, _, err = call("read", "M1", "--config", str(plant_folder(("M-1", 502, 1))))
    assert status == 2
    assert "there is no device 'M1' in plant.yaml (did you mean M-1?)" in err


def test_signals_that_no_request_can_hold_are_a_problem_of_the_profile(plant_folder: Make, call: Make) -> None:
    profile = SHARED_LINE + "  big: {address: 10, type: float64}\nlimits: {max_registers: 2}\n"
    status, _, err = call("plan", "--config", str(plant_folder(("M-1", 502, 1), profile=profile)))
    assert status == 2
    assert "profiles/test-device.yaml: signals: big: needs 4 in one request, the device allows 2" in err


def test_one_serial_port_with_two_speeds_is_a_problem_of_the_plant(plant_folder: Make, call: Make) -> None:
    config = plant_folder(("M-1", 502, 1), ("M-2", 502, 2))
    text = (config / "plant.yaml").read_text()
    for unit, speed in ((1, 9600), (2, 19200)):
        text = text.replace(
            f"{{host: 127.0.0.1, port: 502, unit: {unit}, timeout_s: 0.5}}",
            f"{{transport: serial, serial_port: /dev/ttyUSB0, baud_rate: {speed}, unit: {unit}}}",
        )
    (config / "plant.yaml").write_text(text)
    status, _, err = call("plan", "--config", str(config))
    assert status == 2
    assert "shares /dev/ttyUSB0 with M-1, but with other settings" in err


def test_two_connections_halve_the_time_of_a_device_and_the_load_of_many(plant_folder: Make, call: Make) -> None:
    config = plant_folder(("M-1", 502, 1))
    plant = config / "plant.yaml"

    def cost() -> dict[str, Any]:
        _, out, _ = call("plan", "--json", "--config", str(config))
        shown: dict[str, Any] = json.loads(out.splitlines()[0])
        return shown

    alone = cost()
    plant.write_text(plant.read_text().replace("unit: 1,", "unit: 1, connections: 3,"))
    shared = cost()
    assert shared["requests"] == alone["requests"]
    assert shared["groups"][0]["requests"] == 2
    assert shared["groups"][0]["cycle_ms"] == pytest.approx(alone["groups"][0]["cycle_ms"] / 2, rel=0.01)
    config = plant_folder(*((f"M-{unit}", 502, unit) for unit in (1, 2, 3, 4)))
    alone = cost()
    plant.write_text(plant.read_text().replace("timeout_s: 0.5", "timeout_s: 0.5, connections: 2"))
    assert cost()["load"] == pytest.approx(alone["load"] / 2, rel=0.01)


def test_a_group_that_is_read_once_is_no_part_of_the_cycle(plant_folder: Make, call: Make) -> None:
    config = plant_folder(("M-1", 502, 1))
    profile = config / "profiles" / "test-device.yaml"
    before = json.loads(call("plan", "--json", "--config", str(config))[1])
    text = profile.read_text().replace("slow: {interval_s: 0.5}", "slow: {interval_s: 0.5}, identity: {once: true}")
    profile.write_text(text + "  serial: {address: 900, type: string, registers: 8, group: identity}\n")
    after = json.loads(call("plan", "--json", "--config", str(config))[1])
    assert {key: after[key] for key in ("requests", "cycle_ms", "interval_ms")} == {
        key: before[key] for key in ("requests", "cycle_ms", "interval_ms")
    }
    assert "once" in call("plan", "--config", str(config))[1]
