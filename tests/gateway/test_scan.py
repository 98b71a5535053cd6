"""scan against real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace_gateway.__main__ import main

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
    assert len(server.of_unit(2)) <= 1 + 1 + 10
    assert len(server.of_unit(1)) == 1


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
