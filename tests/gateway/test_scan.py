"""scan against real servers."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from millrace_gateway.__main__ import main
from millrace_gateway.scan import LIKELY_UNITS

pytestmark = pytest.mark.long

Make = Callable[..., Any]


def scan(capsys: pytest.CaptureFixture[str], port: int, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    status = main(["scan", f"127.0.0.1:{port}", "--timeout-s", "0.1", "--json", *arguments])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_scan_finds_the_units_that_answer(device_server: Make, capsys: pytest.CaptureFixture[str]) -> None:
    server = device_server()
    server.units = {2, 5}
    status, found = scan(capsys, server.port, "--units", "1-6")
    assert status == 0
    assert [each["unit"] for each in found] == [2, 5]
    assert found[0]["largest_request"] == 125
    assert found[0]["remark"] == "the protocol's limit"
    assert found[0]["pause_ms"] == 0
    assert {request.function for request in server.requests} <= {3, 4}
    assert found[0]["pause_after_connect_ms"] == 0
    assert len(server.of_unit(2)) <= 1 + 1 + 10 + 2
    assert [len(server.of_unit(silent)) for silent in (3, 4, 6)] == [1, 1, 1]


def test_scan_finds_the_largest_request(device_server: Make, capsys: pytest.CaptureFixture[str]) -> None:
    server = device_server()
    server.undefined = {("holding", address) for address in range(100)} | {("holding", address) for address in range(137, 400)}
    status, (found,) = scan(capsys, server.port, "--units", "1")
    assert (status, found["address"], found["largest_request"]) == (0, 100, 37)
    assert "the addresses may end there: Modbus exception 2" in found["remark"]


def test_scan_of_a_unit_that_lives_but_has_none_of_the_addresses(device_server: Make, capsys: pytest.CaptureFixture[str]) -> None:
    server = device_server()
    server.faults[None] = "exception:2"
    status, (found,) = scan(capsys, server.port, "--units", "3", "--address", "77")
    assert (status, found["unit"], found["largest_request"]) == (0, 3, None)
    assert "name one with --address" in found["remark"]


def test_scan_where_nobody_answers_or_listens(device_server: Make, capsys: pytest.CaptureFixture[str]) -> None:
    server = device_server()
    server.units = set()
    assert main(["scan", f"127.0.0.1:{server.port}", "--units", "1,2", "--timeout-s", "0.05"]) == 1
    assert "listens, but none of the units 1,2 answered" in capsys.readouterr().out
    server.stop()
    assert main(["scan", f"127.0.0.1:{server.port}", "--units", "1"]) == 1
    assert "nothing listens" in capsys.readouterr().err
    assert main(["scan", "127.0.0.1", "--units", "1-300"]) == 2
    assert "'1-300' is not a unit id" in capsys.readouterr().err


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_scan_misses_no_unit_of_a_device_that_closes_after_each_answer(
    device_server: Make, capsys: pytest.CaptureFixture[str], framing: str, transport: str
) -> None:
    server = device_server(framing)
    server.closes_idle = True
    server.units = {2, 3, 4}
    status, found = scan(capsys, server.port, "--units", "2-4", "--transport", transport)
    assert (status, [each["unit"] for each in found]) == (0, [2, 3, 4])
    assert {each["largest_request"] for each in found} == {125}


def test_scan_finds_how_long_a_device_is_silent_after_connecting(device_server: Make, capsys: pytest.CaptureFixture[str]) -> None:
    server = device_server()
    server.quiet_s = 0.3
    server.units = {3}
    status, (found,) = scan(capsys, server.port, "--units", "3")
    assert (status, found["unit"]) == (0, 3)
    assert found["pause_after_connect_ms"] == 500


@pytest.mark.parametrize(
    ("fault", "what", "said"),
    [
        ("wrong_unit", "unit", "something answered with the wrong unit: unit 8 answered, unit 7 was asked"),
        ("wrong_transaction", "transaction", "something answered with the wrong transaction: answered transaction"),
    ],
)
def test_scan_and_probe_go_on_with_a_device_that_numbers_its_answers_wrongly(
    device_server: Make, capsys: pytest.CaptureFixture[str], fault: str, what: str, said: str
) -> None:
    server = device_server()
    server.faults[None] = fault
    status, (found,) = scan(capsys, server.port, "--units", "7")
    assert status == 0
    assert said in found["remark"]
    assert f"`tolerate: [{what}]` in its profile accepts it" in found["remark"]
    assert (found["tolerate"], found["largest_request"]) == ([what], 125)
    probe = ["probe", f"127.0.0.1:{server.port}", "--unit", "7", "--address", "10", "--expect", "10"]
    assert main(probe) == 1
    assert f"Here --tolerate {what} accepts it." in capsys.readouterr().err
    assert main([*probe, "--tolerate", what]) == 0


def test_scan_asks_every_unit_id_and_stops_where_all_answer(device_server: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(LIKELY_UNITS) == [*range(248), 255]
    server = device_server()
    assert main(["scan", f"127.0.0.1:{server.port}", "--timeout-s", "0.1"]) == 0
    assert {request.unit for request in server.requests} == set(range(1, 13))
    assert "Every unit id was answered: the device probably ignores it." in capsys.readouterr().out


def test_scan_and_probe_ask_a_serial_port(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> None:
    # Not the lowest number: a gateway of another test may still try a port of that name, which it had before us.
    pairs = [os.openpty() for _ in range(8)]
    name = os.ttyname(pairs[-1][1])
    gc.disable()  # A port that did not take its settings is let go at once, not when rubbish is next collected.
    request.addfinalizer(gc.enable)
    for command in (["scan", name, "--units", "1"], ["probe", name, "--address", "10"]):
        assert main(command) == 1
        assert f"{name} does not take 19200 baud, 8E1; try parity N" in capsys.readouterr().err
    assert main(["scan", name, "--units", "1", "--parity", "N", "--timeout-s", "0.05"]) == 1
    assert f"{name} listens, but none of the units 1 answered" in capsys.readouterr().out
    for pair in pairs:
        for end in pair:
            os.close(end)
