"""What silence means: a refusal, a line that flips a bit, a converter at work for another unit, a device that is not ready yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from millrace_contract.language.words import CommsState
from millrace_gateway.blocks import RegisterGap
from millrace_gateway.poll_plan import full_plan

from .watching import FAST, SIGNALS, Watch, read_once

pytestmark = pytest.mark.process

Make = Callable[..., Any]
FOUR = {**SIGNALS, "fourth": {"address": 14, "type": "uint16"}}
REFUSALS = [None, 4, 1]
"""Silence, and two exceptions that say something else."""


def touching(server: Any, address: int) -> list[Any]:
    return [each for each in server.requests if each.table == "holding" and each.address <= address < each.address + each.count]


@pytest.mark.parametrize("refuses_with", REFUSALS)
def test_an_undefined_register_is_bad_alone_and_rests_however_it_is_refused(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, refuses_with: int | None
) -> None:
    server = device_server()
    server.undefined = {("holding", 12)}
    server.refuses_with = refuses_with
    profile = make_profile(FOUR, groups=FAST)
    watch.run([(make_device(server.port, timeout_s=0.1), profile)], lambda: len(watch.of("M-1")) >= 10)
    assert all(snapshot.readings == {"first": 10, "fourth": 14, "third": 1030} for snapshot in watch.of("M-1"))
    assert all(snapshot.quality == {"second": "bad"} for snapshot in watch.of("M-1"))
    assert watch.states_of("M-1") == [CommsState.DEGRADED]
    assert str(watch.states[0][2]).startswith("holding 12")
    assert len(touching(server, 12)) <= 9  # cut, and each cut asked twice at most; then it rests


@pytest.mark.parametrize("refuses_with", REFUSALS)
def test_what_is_too_long_is_cut_until_it_passes_however_it_is_refused(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, refuses_with: int | None
) -> None:
    server = device_server()
    server.longest = 6
    server.refuses_with = refuses_with
    signals = {f"s{address}": {"address": address, "type": "uint16"} for address in range(10, 34)}
    signals["other"] = {"table": "input", "address": 0, "type": "uint16"}
    profile = make_profile(signals, groups=FAST)
    watch.run([(make_device(server.port, timeout_s=0.1), profile)], lambda: len(watch.of("M-1")) >= 10)
    expected = {f"s{address}": address for address in range(10, 34)} | {"other": 1000}
    assert all(snapshot.readings == expected for snapshot in watch.of("M-1"))
    assert watch.states_of("M-1") == [CommsState.ONLINE]


@pytest.mark.parametrize("refuses_with", REFUSALS)
def test_a_gap_is_learned_however_it_is_refused(device_server: Make, make_profile: Make, refuses_with: int | None) -> None:
    server = device_server()
    server.undefined = {("holding", 15)}
    server.refuses_with = refuses_with
    plan = full_plan(make_profile({**SIGNALS, "far": {"address": 20, "type": "uint16"}}))
    result = read_once(server, plan)
    assert result.snapshot.quality == {}
    assert plan.gaps == {RegisterGap("holding", 13, 20)}


def test_the_only_request_of_a_device_is_cut_where_it_is_silent_for_it(device_server: Make, make_profile: Make) -> None:
    server = device_server()
    server.undefined = {("holding", 15)}
    server.refuses_with = None
    only = {f"s{address}": {"address": address, "type": "uint16"} for address in (10, 12, 20, 22)}
    assert read_once(server, full_plan(make_profile(only))).snapshot.readings == {"s10": 10, "s12": 12, "s20": 20, "s22": 22}


def test_a_unit_that_is_silent_altogether_is_offline_and_is_asked_one_request_a_probe(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace_gateway.schedule.PROBE_FIRST_S", 0.2)
    monkeypatch.setattr("millrace_gateway.schedule.PROBE_LONGEST_S", 0.2)
    server = device_server()
    server.units = {1}
    profile = make_profile(FOUR, groups=FAST, limits={"max_gap": 0})
    devices = [(make_device(server.port, f"M-{unit}", unit=unit, timeout_s=0.05), profile) for unit in (1, 2)]
    asked: list[int] = []

    def note(device: Any) -> None:
        if device.device.id == "M-2":
            asked.append(len(server.of_unit(2)))

    watch.on_snapshot = note
    watch.run(devices, lambda: bool(asked) and len(server.of_unit(2)) >= asked[0] + 6)
    assert watch.states_of("M-1") == [CommsState.ONLINE]
    assert watch.states_of("M-2") == [CommsState.OFFLINE]
    assert len(watch.of("M-2")) == 1
    assert asked[0] <= 8
    probes = server.of_unit(2)[asked[0] :]
    assert len({(request.table, request.address) for request in probes[:4]}) == 4  # another request each time


def test_a_unit_that_died_in_its_first_read_is_read_whole_when_it_is_back(device_server: Make, make_profile: Make) -> None:
    server = device_server()
    plan = full_plan(make_profile({**SIGNALS, "far": {"address": 900, "type": "uint16"}}))
    server.next_faults.extend(["", *["silent"] * 20])
    result = read_once(server, plan)
    assert (result.snapshot.readings, set(result.snapshot.quality)) == ({"first": 10, "second": 12}, {"far", "third"})
    server.next_faults.clear()
    plan.reset()
    server.requests.clear()
    assert read_once(server, plan).snapshot.quality == {}
    assert len(server.requests) == 3


@pytest.mark.parametrize("code", [5, 6])
def test_a_busy_device_is_asked_again_in_the_same_turn(device_server: Make, make_profile: Make, code: int) -> None:
    server = device_server()
    server.next_faults.extend([f"exception:{code}", "", f"exception:{code}"])
    result = read_once(server, full_plan(make_profile(SIGNALS)))
    assert (set(result.snapshot.readings), result.snapshot.quality, result.repeats) == (set(SIGNALS), {}, 2)


@pytest.mark.parametrize(
    ("framing", "transport", "fault"),
    [("mbap", "tcp", "silent"), ("rtu", "rtu_over_tcp", "silent"), ("rtu", "rtu_over_tcp", "flipped")],
)
def test_one_failure_is_asked_again_and_counted(  # noqa: PLR0917 - fixtures and cases
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, framing: str, transport: str, fault: str
) -> None:
    server = device_server(framing)
    repeats: list[int] = []
    watch.on_snapshot = lambda device: repeats.append(device.comms.repeats)
    watch.run(
        [(make_device(server.port, timeout_s=0.4, transport=transport), make_profile(SIGNALS, groups=FAST))],
        lambda: len(watch.of("M-1")) >= 9,
        *[(lambda n=n: len(watch.of("M-1")) >= n, lambda: server.next_faults.append(fault)) for n in (2, 4)],
    )
    assert watch.states_of("M-1") == [CommsState.ONLINE]
    assert all(set(snapshot.readings) == set(SIGNALS) for snapshot in watch.of("M-1"))
    assert (repeats[0], repeats[-1]) == (0, 2)


def test_a_converter_at_work_for_a_dead_unit_takes_no_healthy_one_down(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace_gateway.schedule.PROBE_FIRST_S", 0.3)
    server = device_server()
    server.faults[1] = "late_exception:0.4:11"
    profile = make_profile(SIGNALS, groups={"fast": 0.1})
    devices = [(make_device(server.port, f"M-{unit}", unit=unit, timeout_s=0.15), profile) for unit in (1, 2, 3)]
    impatient = re.compile(r"the converter on the way needs 0\.[4-9] s to give up; set timeout_s above it")
    watch.run(devices, lambda: len(watch.of("M-2")) >= 15 and len(watch.of("M-3")) >= 15 and len(server.of_unit(1)) >= 5)
    for healthy in ("M-2", "M-3"):
        assert watch.states_of(healthy) == [CommsState.ONLINE]
        assert all(set(snapshot.readings) == set(SIGNALS) for snapshot in watch.of(healthy))
    assert CommsState.ONLINE not in watch.states_of("M-1")
    reasons = [str(reason) for device, _, reason in watch.states if device == "M-1"]
    assert any(impatient.search(reason) for reason in reasons), reasons


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_a_device_that_is_silent_at_first_after_each_connect_is_read(
    device_server: Make, make_profile: Make, framing: str, transport: str
) -> None:
    server = device_server(framing)
    server.quiet_s = 0.3  # Two time limits of 0.2 s lie beyond.
    result = read_once(server, full_plan(make_profile(SIGNALS)), transport=transport)
    assert (set(result.snapshot.readings), result.snapshot.quality) == (set(SIGNALS), {})
    assert server.connections == 1


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_a_device_that_closes_after_each_answer_is_read(  # noqa: PLR0917 - fixtures and cases
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, framing: str, transport: str
) -> None:
    server = device_server(framing)
    server.closes_idle = True
    device = make_device(server.port, transport=transport)
    watch.run([(device, make_profile(SIGNALS, groups=FAST))], lambda: len(watch.of("M-1")) >= 5)
    assert watch.states_of("M-1") == [CommsState.ONLINE]
    assert all(set(snapshot.readings) == set(SIGNALS) for snapshot in watch.of("M-1"))


@pytest.mark.parametrize("code", [1, 2, 4, 6])
def test_a_device_that_answers_exceptions_only_does_not_flap_and_is_offline_after_a_while(  # noqa: PLR0917 - fixtures and cases
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("millrace_gateway.polled_device.MUTE_S", 0.5)
    monkeypatch.setattr("millrace_gateway.schedule.PROBE_FIRST_S", 0.1)
    monkeypatch.setattr("millrace_gateway.schedule.PROBE_LONGEST_S", 0.1)
    server = device_server()
    server.faults[None] = f"exception:{code}"
    asked_when_offline: list[int] = []

    def is_offline() -> bool:
        if not asked_when_offline and CommsState.OFFLINE in watch.states_of("M-1"):
            asked_when_offline.append(len(server.requests))
        return bool(asked_when_offline)

    watch.run(
        [(make_device(server.port), make_profile(SIGNALS, groups=FAST))],
        lambda: CommsState.ONLINE in watch.states_of("M-1"),
        (lambda: is_offline() and len(server.requests) >= asked_when_offline[0] + 8, server.faults.clear),
    )
    assert watch.states_of("M-1") == [CommsState.DEGRADED, CommsState.OFFLINE, CommsState.ONLINE]
    assert f"exception {code}" in str(watch.states[1][2])
    assert watch.of("M-1")[-1].readings == {"first": 10, "second": 12, "third": 1030}


def test_a_group_that_rests_says_nothing_of_the_device(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.undefined = {("input", 30)}
    signals = {**SIGNALS, "third": {**SIGNALS["third"], "group": "other"}}
    profile = make_profile(signals, groups={"fast": 0.05, "other": 0.05})
    watch.run([(make_device(server.port), profile)], lambda: len(watch.of("M-1")) >= 20)
    assert watch.states_of("M-1") == [CommsState.DEGRADED]


def test_a_device_that_needs_a_pause_after_connecting_gets_it(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.quiet_s = 0.3
    server.closes_idle = True  # Each turn meets a connection that is new.
    profile = make_profile({"only": {"address": 5, "type": "uint16"}}, groups=FAST, limits={"pause_after_connect_ms": 350})
    watch.run([(make_device(server.port, timeout_s=0.1), profile)], lambda: len(watch.of("M-1")) >= 3)
    assert watch.states_of("M-1") == [CommsState.ONLINE]
    assert len(server.requests) <= 4  # None was lost.
