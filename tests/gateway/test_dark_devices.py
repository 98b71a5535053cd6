"""What the gateway says while a device does not answer: once that nothing is known, then once a minute that it still watches."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import decode_telemetry
from millrace_gateway.decoder import Snapshot
from millrace_gateway.faults import NoAnswer, NotConnected, ReadFault, RequestRefused
from millrace_gateway.messages import telemetry_draft
from millrace_gateway.polled_device import PolledDevice
from millrace_gateway.read_result import ReadResult

from .watching import FAST, SIGNALS

Make = Callable[..., Any]
SILENT = NoAnswer("silent", "no answer within 1 s")


@pytest.fixture
def polled(make_device: Make, make_profile: Make) -> PolledDevice:
    return PolledDevice(make_device(1), make_profile(SIGNALS, groups=FAST), start_s=0.0, fraction=0.0)


def fail(polled: PolledDevice, now_s: float, fault: ReadFault = SILENT, *, was_asked: bool = True) -> Snapshot | None:
    group, _ = polled.plan_for("fast")
    result = ReadResult(Snapshot(), fault=fault, was_asked=was_asked)
    return polled.take(group, result, round(now_s * 1000), now_s)[0]


def answer(polled: PolledDevice, now_s: float) -> Snapshot | None:
    group, _ = polled.plan_for("fast")
    snapshot = Snapshot(dict.fromkeys(SIGNALS, 1))
    result = ReadResult(snapshot, arrived_ms=round(now_s * 1000), round_trip_ms=1.0)
    return polled.take(group, result, round(now_s * 1000), now_s)[0]


def test_a_dark_device_is_told_of_once_with_every_signal_bad_and_then_once_a_minute_in_a_few_bytes(polled: PolledDevice) -> None:
    answer(polled, 0.0)
    said = {second: fail(polled, float(second)) for second in range(1, 200, 15)}
    told = {second: snapshot for second, snapshot in said.items() if snapshot is not None}
    assert list(told) == [1, 61, 121, 181]
    assert all(snapshot.is_unreachable for snapshot in told.values())
    assert set(told[1].quality.values()) == {"bad"}
    assert told[61].readings == told[61].quality == {}
    back = answer(polled, 200.0)
    assert back is not None
    assert not back.is_unreachable
    assert set(back.readings) == set(SIGNALS)


@pytest.mark.parametrize(
    "fault",
    [
        NotConnected("held", "held by another program"),
        NotConnected("serial", "no such port"),
        NotConnected("unknown_host", "plc"),
        NotConnected("tls", "no"),
        NotConnected("no_network", "no network"),
    ],
    ids=lambda fault: fault.kind,
)
def test_what_lies_on_our_side_of_the_wire_is_no_evidence_about_the_device(polled: PolledDevice, fault: ReadFault) -> None:
    answer(polled, 0.0)
    first = fail(polled, 1.0, fault)
    assert first is not None
    assert set(first.quality.values()) == {"bad"}
    assert not first.is_unreachable
    assert fail(polled, 70.0, fault) is None


def test_a_turn_in_which_nothing_was_asked_says_nothing(polled: PolledDevice) -> None:
    answer(polled, 0.0)
    fail(polled, 1.0)
    assert fail(polled, 90.0, was_asked=False) is None
    assert fail(polled, 91.0) is not None


def test_a_device_that_answers_nothing_but_exceptions_does_not_answer(polled: PolledDevice) -> None:
    answer(polled, 0.0)
    refused = RequestRefused(4)
    group, _ = polled.plan_for("fast")
    assert polled.take(group, ReadResult(Snapshot(), arrived_ms=1_000, fault=refused), 1_000, 1.0)[0] is not None
    snapshot = fail(polled, 12.0, refused)
    assert snapshot is not None
    assert snapshot.is_unreachable


@pytest.mark.parametrize(("is_uncertain", "expected"), [(False, True), (True, False)])
def test_a_clock_that_was_set_back_is_no_witness(make_device: Make, *, is_uncertain: bool, expected: bool) -> None:
    draft = telemetry_draft("factory/line1/M-1/telemetry", make_device(1), Snapshot(is_unreachable=True), 1_760_000_000_000)
    payload = draft.encode(Stamp("edge-1.a", 7, 6, 1_760_000_000_000, is_uncertain))
    assert ("unreachable" in json.loads(payload)) == expected
    message = decode_telemetry(payload, 1_760_000_000_000)
    assert (message.unreachable, message.seq, message.prev) == (expected, 7, 6)
