"""Polling real Modbus servers over real sockets."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.words import CommsState
from millrace_gateway import poller as poller_module
from millrace_gateway import schedule as schedule_module
from millrace_gateway.blocks import RegisterGap
from millrace_gateway.decoder import Snapshot
from millrace_gateway.learned import known_of, load_learned, save_learned
from millrace_gateway.poll_plan import full_plan
from millrace_gateway.polled_device import PolledDevice
from millrace_gateway.read_result import ReadResult

from .watching import FAST, SIGNALS, Watch, read_once

pytestmark = pytest.mark.process

Make = Callable[..., Any]


def test_each_group_is_a_message_and_the_first_one_carries_every_signal(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    signals = {**SIGNALS, "slow_one": {"address": 50, "type": "uint16", "group": "slow"}}
    profile = make_profile(signals, groups={"fast": 0.05, "slow": 0.4})
    before_ms = time.time_ns() // 1_000_000
    watch.run([(make_device(server.port), profile)], lambda: len(watch.snapshots) >= 12)
    first, *others = watch.of("M-1")
    assert first.readings == {"first": 10, "second": 12, "third": 1030, "slow_one": 50}
    shapes = {tuple(sorted(snapshot.readings)) for snapshot in others}
    assert shapes == {("first", "second", "third"), ("slow_one",)}
    times = [arrived_ms for _, _, arrived_ms in watch.snapshots]
    assert before_ms <= times[0]
    assert times == sorted(times)
    assert watch.states_of("M-1") == [CommsState.ONLINE]


def test_what_does_not_change_is_sent_once_and_again_when_everything_is_asked_for(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    still = {"address": 11, "type": "uint16", "on_change": {"deadband": 1}}
    watch.run([(make_device(server.port), make_profile({**SIGNALS, "still": still}, FAST))], lambda: len(watch.snapshots) >= 6)
    assert ["still" in snapshot.readings for snapshot in watch.of("M-1")] == [True] + [False] * (len(watch.snapshots) - 1)
    only_still = make_profile({"still": still}, FAST)
    watch.snapshots.clear()
    polls = len(server.requests)
    watch.run(
        [(make_device(server.port), only_still)],
        lambda: len(watch.snapshots) >= 2,
        (lambda: len(server.requests) > polls + 3, lambda: server.registers.update({("holding", 11): 99})),
    )
    assert [snapshot.readings for snapshot in watch.of("M-1")] == [{"still": 11}, {"still": 99}]


def test_an_unreachable_device_sends_one_message_then_none_and_all_signals_when_it_returns(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server, other = device_server(), device_server()
    profile = make_profile(SIGNALS, groups=FAST)

    def bad() -> int:
        return sum(not snapshot.readings for snapshot in watch.of("M-1"))

    marks: list[int] = []
    watch.run(
        [(make_device(server.port), profile), (make_device(other.port, "M-2"), profile)],
        lambda: watch.states_of("M-1")[-1:] == [CommsState.ONLINE] and len(watch.states_of("M-1")) == 3,
        (lambda: len(watch.of("M-1")) >= 3, server.stop),
        (lambda: bad() == 1, lambda: marks.append(len(watch.of("M-2")))),
        (lambda: len(watch.of("M-2")) >= marks[0] + 10, server.start),
    )
    assert bad() == 1
    lost = next(snapshot for snapshot in watch.of("M-1") if not snapshot.readings)
    assert lost.quality == dict.fromkeys(SIGNALS, "bad")
    assert watch.states_of("M-1") == [CommsState.ONLINE, CommsState.OFFLINE, CommsState.ONLINE]
    assert next(reason for device, state, reason in watch.states if state is CommsState.OFFLINE) is not None
    assert set(watch.of("M-1")[-1].readings) == set(SIGNALS)
    assert watch.states_of("M-2") == [CommsState.ONLINE]


def test_a_device_that_is_absent_at_the_start_is_found_when_it_appears(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.stop()
    profile = make_profile(SIGNALS, groups=FAST)
    watch.run(
        [(make_device(server.port), profile)],
        lambda: CommsState.ONLINE in watch.states_of("M-1"),
        (lambda: bool(watch.states), server.start),
    )
    assert watch.states_of("M-1") == [CommsState.OFFLINE, CommsState.ONLINE]
    assert watch.states[0][2] == f"nothing listens at 127.0.0.1:{server.port} (connection refused)"
    assert [bool(snapshot.readings) for snapshot in watch.of("M-1")[:2]] == [False, True]


def test_a_dead_device_does_not_delay_another_connection(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    dead, alive = device_server(), device_server()
    dead.faults[None] = "silent"
    profile = make_profile(SIGNALS, groups=FAST)
    watch.run(
        [(make_device(dead.port, "DEAD", timeout_s=5.0), profile), (make_device(alive.port, "ALIVE"), profile)],
        lambda: len(watch.of("ALIVE")) >= 40,
    )
    times = [arrived_ms for device, _, arrived_ms in watch.snapshots if device == "ALIVE"]
    assert max(later - earlier for earlier, later in itertools.pairwise(times[1:])) < 1000


def test_a_silent_unit_costs_its_neighbours_one_time_limit_a_probe(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.units = {1}
    profile = make_profile(SIGNALS, groups=FAST)
    watch.run(
        [(make_device(server.port, "GOOD", unit=1), profile), (make_device(server.port, "SILENT", unit=2), profile)],
        lambda: len(watch.of("GOOD")) >= 60,
    )
    probes = len(server.of_unit(2))
    assert 1 <= probes <= 6  # 60 turns of 50 ms and the time limits: 3 to 4 seconds; three at first, then after 1, 3, 7 s
    assert len(watch.of("SILENT")) == 1
    assert watch.states_of("GOOD") == [CommsState.ONLINE]


def test_what_the_device_refuses_is_bad_alone_and_is_not_asked_each_time(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.undefined = {("holding", 12)}
    profile = make_profile({**SIGNALS, "fourth": {"address": 14, "type": "uint16"}}, groups=FAST)
    watch.run([(make_device(server.port), profile)], lambda: len(watch.of("M-1")) >= 10)
    assert all(snapshot.readings == {"first": 10, "fourth": 14, "third": 1030} for snapshot in watch.of("M-1"))
    assert all(snapshot.quality == {"second": "bad"} for snapshot in watch.of("M-1"))
    assert watch.states == [("M-1", CommsState.DEGRADED, "holding 12: Modbus exception 2: the device has no such address")]
    refused = [
        request
        for request in server.requests
        if request.table == "holding" and request.address <= 12 < request.address + request.count
    ]
    assert len(refused) <= 6  # cut twice for the first message, twice for the group's own plan, then left alone


def test_a_gap_that_does_not_exist_costs_no_signal(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.undefined = {("holding", 11)}
    watch.run([(make_device(server.port), make_profile(SIGNALS, groups=FAST))], lambda: len(watch.of("M-1")) >= 5)
    assert all(set(snapshot.readings) == set(SIGNALS) for snapshot in watch.of("M-1"))
    assert watch.states_of("M-1") == [CommsState.ONLINE]


def test_a_gap_that_the_device_refuses_is_remembered_and_a_missing_signal_is_not(device_server: Make, make_profile: Make) -> None:
    server = device_server()
    server.undefined = {("holding", 15), ("holding", 40)}
    addresses = (10, 12, 20, 21, 40)
    profile = make_profile({f"s{address}": {"address": address, "type": "uint16"} for address in addresses})
    plan = full_plan(profile)
    result = read_once(server, plan)
    assert result.snapshot.quality == {"s40": "bad"}
    assert plan.gaps == {RegisterGap("holding", 13, 20)}
    server.undefined = {("holding", 15)}
    server.requests.clear()
    plan.reset()
    assert read_once(server, plan).snapshot.quality == {}
    assert [(request.address, request.count) for request in server.requests] == [(10, 3), (20, 21)]


def test_no_answer_that_an_rtu_device_sends_twice_is_taken_for_the_next_one(device_server: Make, make_profile: Make) -> None:
    server = device_server("rtu")
    server.faults[None] = "again:0.0002"
    addresses = range(0, 2_000, 200)
    plan = full_plan(make_profile({f"s{address}": {"address": address, "type": "uint16"} for address in addresses}))
    assert len(plan.requests) == len(addresses)
    result = read_once(server, plan, transport="rtu_over_tcp", baud_rate=600)
    assert result.snapshot.readings == {f"s{address}": address for address in addresses}


def test_what_was_learned_outlives_a_restart_but_not_a_move(
    device_server: Make, make_profile: Make, make_device: Make, tmp_path: Path
) -> None:
    server = device_server()
    server.undefined = {("holding", 15)}
    device, profile = make_device(server.port), make_profile({**SIGNALS, "far": {"address": 18, "type": "uint16"}}, FAST)
    polled = PolledDevice(device, profile, start_s=0.0, fraction=0.0)
    for turn in range(25):
        what, plan = polled.plan_for("fast")
        polled.take(what, read_once(server, plan), now_ms=turn, now_s=float(turn))
    learned = polled.learned
    assert learned.gaps == (RegisterGap("holding", 13, 18),)
    assert learned.cost is not None
    assert learned.cost.is_measured
    assert 0 < learned.cost.round_trip_ms < 100
    save_learned(tmp_path, {"M-1": learned})
    known = known_of(load_learned(tmp_path), device)
    assert known == learned
    server.requests.clear()
    again = PolledDevice(device, profile, start_s=0.0, fraction=0.0, known=known)
    read_once(server, again.plan_for("fast")[1])
    assert [(request.address, request.count) for request in server.requests] == [(10, 3), (18, 1), (30, 1)]
    assert known_of({"M-1": learned}, make_device(server.port, unit=9)).gaps == ()
    (tmp_path / "learned.json").write_text("{half")
    assert load_learned(tmp_path) == {}


def test_a_device_that_needs_a_pause_gets_it(device_server: Make, make_profile: Make) -> None:
    server = device_server()
    profile = make_profile(SIGNALS, limits={"pause_ms": 60, "max_gap": 0})
    began = time.monotonic()
    assert read_once(server, full_plan(profile)).snapshot.quality == {}
    assert len(server.requests) == 3
    assert time.monotonic() - began >= 0.12


def test_a_unit_that_falls_silent_in_its_first_read_is_asked_each_request_at_most_twice(
    device_server: Make, make_profile: Make
) -> None:
    server = device_server()
    plan = full_plan(make_profile({**SIGNALS, "far": {"address": 900, "type": "uint16"}}))
    server.next_faults.extend(["", *["silent"] * 20])
    result = read_once(server, plan)
    assert result.snapshot.readings == {"first": 10, "second": 12}
    assert result.snapshot.quality == {"far": "bad", "third": "bad"}
    assert result.arrived_ms is not None
    assert len(server.requests) == 5  # the last of them over a fresh connection, whose first silence is none yet


@pytest.mark.parametrize("fault", ["fewer", "lying"])
def test_a_short_answer_spoils_its_own_signals_only(device_server: Make, make_profile: Make, fault: str) -> None:
    server = device_server()
    server.table_faults["holding"] = fault
    result = read_once(server, full_plan(make_profile(SIGNALS)))
    assert result.snapshot.readings == {"third": 1030}
    assert set(result.snapshot.quality) == {"first", "second"}


def test_an_idle_connection_that_the_device_closed_costs_nothing(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    profile = make_profile(SIGNALS, groups=FAST)
    watch.run(
        [(make_device(server.port), profile)],
        lambda: len(watch.of("M-1")) >= 30,
        *[(lambda n=n: len(watch.of("M-1")) >= n, server.drop_connections) for n in (5, 10, 15)],
    )
    assert watch.states_of("M-1") == [CommsState.ONLINE]
    assert all(snapshot.readings for snapshot in watch.of("M-1"))
    assert server.connections == 4


def test_a_busy_device_is_degraded_and_asked_again_each_turn(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.faults[None] = "exception:6"
    profile = make_profile(SIGNALS, groups=FAST)
    watch.run(
        [(make_device(server.port), profile)],
        lambda: CommsState.ONLINE in watch.states_of("M-1"),
        (lambda: len(watch.of("M-1")) >= 5, server.faults.clear),
    )
    assert watch.states_of("M-1") == [CommsState.DEGRADED, CommsState.ONLINE]
    assert watch.states[0][2] == "input 30: Modbus exception 6: the device is busy"


def test_stopping_lets_the_read_under_way_finish(device_server: Make, make_profile: Make, make_device: Make, watch: Watch) -> None:
    server = device_server()
    server.faults[None] = "late:0.3"
    profile = make_profile({"only": {"address": 1, "type": "uint16"}}, groups={"fast": 10.0})
    watch.run([(make_device(server.port, timeout_s=2.0), profile)], lambda: len(server.requests) == 1)
    assert [snapshot.readings for snapshot in watch.of("M-1")] == [{"only": 1}]


def test_the_round_trip_is_measured(device_server: Make, make_profile: Make, make_device: Make) -> None:
    server = device_server()
    server.faults[None] = "late:0.05"
    result = read_once(server, full_plan(make_profile({"only": {"address": 1, "type": "uint16"}})))
    assert result.round_trip_ms is not None
    assert 50 <= result.round_trip_ms < 200


def test_a_mistake_of_ours_stops_its_own_connection_for_a_while_and_no_other(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "CRASH_PAUSE_S", 0.1)
    broken, fine = device_server(), device_server()
    profile = make_profile(SIGNALS, groups=FAST)
    take, crashes = watch._snapshot, iter([None, ValueError("a mistake")])

    def snapshot(device: PolledDevice, snapshot: Snapshot, arrived_ms: int) -> None:
        if device.device.id == "BROKEN" and (error := next(crashes, None)):
            raise error
        take(device, snapshot, arrived_ms)

    monkeypatch.setattr(watch, "_snapshot", snapshot)
    watch.run(
        [(make_device(broken.port, "BROKEN"), profile), (make_device(fine.port, "FINE"), profile)],
        lambda: len(watch.of("BROKEN")) >= 5 and len(watch.of("FINE")) >= 10,
    )
    assert next(crashes, "all used") == "all used"
    assert watch.states_of("FINE") == [CommsState.ONLINE]


APART: dict[str, dict[str, object]] = {f"s{n}": {"address": 10 * n, "type": "uint16"} for n in range(6)}


def test_two_connections_share_the_requests_of_a_read(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.faults[None] = "late:0.02"
    profile = make_profile(APART, FAST, limits={"max_gap": 0})
    watch.run([(make_device(server.port, connections=2), profile)], lambda: len(watch.of("M-1")) >= 10)
    assert (server.connections, server.most_at_once) == (2, 2)
    assert all(snapshot.readings == {f"s{n}": 10 * n for n in range(6)} for snapshot in watch.of("M-1"))
    assert watch.states_of("M-1") == [CommsState.ONLINE]


def test_a_device_that_takes_one_connection_only_is_read_through_it_and_that_is_told(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.most_connections = 1
    profile = make_profile(APART, FAST, limits={"max_gap": 0})
    watch.run([(make_device(server.port, connections=2), profile)], lambda: len(watch.of("M-1")) >= 20)
    assert all(len(snapshot.readings) == 6 for snapshot in watch.of("M-1"))
    state, reason = watch.states[-1][1:]
    assert state is CommsState.DEGRADED
    assert reason in {f"connection {n} of 2: the device closed the connection before it answered" for n in (1, 2)}
    assert server.connections <= 8  # The refused one is tried less and less often, not with each of the 20 reads.


def test_a_device_that_is_silent_on_all_its_connections_costs_one_time_limit(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.faults[None] = "silent"
    profile = make_profile(APART, FAST, limits={"max_gap": 0})
    asked: list[int] = []
    watch.run(
        [(make_device(server.port, connections=3), profile)],
        lambda: CommsState.ONLINE in watch.states_of("M-1"),
        (lambda: bool(watch.states), lambda: asked.append(len(server.requests))),
        (lambda: True, server.faults.clear),
    )
    assert asked == [3]  # Each connection once; nothing was asked again.
    assert watch.states_of("M-1")[0] is CommsState.OFFLINE
    assert [bool(snapshot.readings) for snapshot in watch.of("M-1")[:2]] == [False, True]


def test_the_units_behind_several_connections_are_dealt_out(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.units = {1, 3}
    profile = make_profile(SIGNALS, groups=FAST)
    units = [(make_device(server.port, f"U-{unit}", unit=unit, timeout_s=2.0, connections=2), profile) for unit in (1, 2, 3)]
    watch.run(units, lambda: len(watch.of("U-1")) >= 3 and bool(watch.states_of("U-2")))
    assert server.connections == 2
    assert watch.states_of("U-2") == [CommsState.OFFLINE]


def test_what_is_read_once_comes_with_the_first_message_and_after_each_outage(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    profile = make_profile({**SIGNALS, "serial": {"address": 90, "type": "uint16", "group": "once"}}, {**FAST, "once": 0})
    watch.run(
        [(make_device(server.port), profile)],
        lambda: watch.states_of("M-1").count(CommsState.ONLINE) == 2 and len(watch.of("M-1")) >= 12,
        (lambda: len(watch.of("M-1")) >= 6, server.stop),
        (lambda: CommsState.OFFLINE in watch.states_of("M-1"), server.start),
    )
    good = [snapshot for snapshot in watch.of("M-1") if snapshot.readings]
    with_serial = [index for index, snapshot in enumerate(good) if "serial" in snapshot.readings]
    after_outage = next(i for i, snapshot in enumerate(watch.of("M-1")) if not snapshot.readings)
    assert with_serial == [0, after_outage]


def test_what_is_read_once_is_tried_again_until_it_was_read(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_module, "ONCE_RETRY_S", 0.2)
    server = device_server()
    server.faults[None] = "exception:6"
    profile = make_profile({**SIGNALS, "serial": {"address": 90, "type": "uint16", "group": "once"}}, {**FAST, "once": 0})
    watch.run(
        [(make_device(server.port), profile)],
        lambda: len(watch.of("M-1")) >= 30,
        (lambda: len(watch.of("M-1")) >= 3, server.faults.clear),
    )
    assert [snapshot.readings["serial"] for snapshot in watch.of("M-1") if "serial" in snapshot.readings] == [90]


def test_lateness_is_counted_for_each_device_and_told_in_its_comms(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    slow, quick = device_server(), device_server()
    slow.faults[None] = "late:0.13"
    profile = make_profile(SIGNALS, groups=FAST)
    told: dict[str, PolledDevice] = {}
    watch.on_snapshot = lambda device: told.update({device.device.id: device})
    watch.run(
        [(make_device(slow.port, "SLOW", timeout_s=1), profile), (make_device(quick.port, "QUICK"), profile)],
        lambda: len(watch.of("SLOW")) >= 5,
    )
    slow_one, quick_one = (told[name].comms.document(0) for name in ("SLOW", "QUICK"))
    assert slow_one is not None
    assert slow_one.cycles is not None
    assert slow_one.missed_cycles is not None
    assert slow_one.missed_cycles >= 4 * (slow_one.cycles - 2) > 0  # Two requests of 130 ms each at an interval of 50 ms.
    assert quick_one is not None
    assert quick_one.cycles is not None
    assert quick_one.missed_cycles is not None
    assert quick_one.missed_cycles < quick_one.cycles
    assert quick_one.lateness_ms is not None


def test_plans_are_made_anew_for_what_requests_really_cost(device_server: Make, make_profile: Make, make_device: Make) -> None:
    """Assumed are 10 ms a request: a device that answers at once is asked in two short ones rather than in a long one."""
    profile = make_profile({"first": {"address": 0, "type": "uint16"}, "second": {"address": 120, "type": "uint16"}}, FAST)
    device = PolledDevice(make_device(1), profile, start_s=0.0, fraction=0.0)
    assert len(device.plan_for("fast")[1].requests) == 1
    answered = ReadResult(Snapshot(readings={"first": 1, "second": 2}), arrived_ms=1, round_trip_ms=13.0)
    assert not device.plan_anew()
    for _ in range(20):
        answered.timings = [(1, 1.0), (121, 13.0)]
        device.take("fast", answered, 1, 1.0)
    assert device.plan_anew()
    assert [request.block.count for request in device.plan_for("fast")[1].requests] == [1, 1]
    assert not device.plan_anew()
