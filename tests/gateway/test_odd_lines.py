"""Serial buses as plants have them, behind real sockets: echoes, noise, another master, padded bits, answers that come later."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace_contract.language.streams import Stamp
from millrace_contract.language.words import CommsState
from millrace_gateway.messages import telemetry_draft
from millrace_gateway.poll_plan import full_plan

from .conftest import crc16
from .watching import FAST, SIGNALS, Watch, read_once

pytestmark = pytest.mark.process

Make = Callable[..., Any]


def framed(body: bytes) -> bytes:
    return body + crc16(body)


THEIR_REQUEST = framed(b"\x07\x03\x00\x28\x00\x03")
THEIR_ANSWER = framed(b"\x07\x03\x06\x11\x11\x22\x22\x33\x33")
OF_OUR_UNIT = framed(b"\x01\x03\x04\x11\x11\x22\x22")
LIKE_OURS = framed(b"\x01\x03\x06\x11\x11\x22\x22\x33\x33")
"""As the answer to holding 10 to 12, and not ours."""
LIKE_OURS_ASKED = framed(b"\x01\x03\x00\x28\x00\x03")


def before(server: Any, what: str) -> None:
    server.echoes = what == "the echo of the request"
    server.before = {"a NUL": b"\0", "another master's request and answer": THEIR_REQUEST + THEIR_ANSWER}.get(what, b"")


@pytest.mark.parametrize("what", ["a NUL", "the echo of the request", "another master's request and answer"])
def test_the_right_answer_is_read_behind(device_server: Make, make_profile: Make, what: str) -> None:
    server = device_server("rtu")
    before(server, what)
    result = read_once(server, full_plan(make_profile(SIGNALS)), transport="rtu_over_tcp")
    assert result.snapshot.readings == {"first": 10, "second": 12, "third": 1030}
    assert (result.snapshot.quality, result.repeats) == ({}, 0)


def test_with_another_master_whose_requests_are_seen_values_are_certain(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server("rtu")
    server.before = LIKE_OURS_ASKED + LIKE_OURS
    device = make_device(server.port, timeout_s=0.1, transport="rtu_over_tcp", late_s=0.2)
    watch.run([(device, make_profile(SIGNALS, groups=FAST))], lambda: len(watch.of("M-1")) >= 6)
    for snapshot in watch.of("M-1"):
        assert snapshot.readings.get("first", 10) == 10
        assert "uncertain" not in snapshot.quality.values()


def test_with_another_master_whose_requests_are_not_seen_the_published_values_are_uncertain(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server("rtu")
    device = make_device(server.port, timeout_s=0.1, transport="rtu_over_tcp")
    watch.run(
        [(device, make_profile(SIGNALS, groups=FAST))],
        lambda: len(watch.of("M-1")) >= 12,
        (lambda: len(watch.of("M-1")) >= 4, lambda: setattr(server, "before", OF_OUR_UNIT)),
    )
    first, last = watch.of("M-1")[0], watch.of("M-1")[-1]
    assert first.quality == {}
    assert last.quality == dict.fromkeys(SIGNALS, "uncertain")
    assert "another master reads on this line" in last.reasons["first"]
    stamp = Stamp(stream="s", seq=1, prev=0, timestamp_ms=0, is_uncertain=False)
    published = json.loads(telemetry_draft("topic", device, last, 0).encode(stamp))
    assert published["quality"]["first"] == "uncertain"
    assert watch.states_of("M-1")[0] is CommsState.ONLINE


@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_bits_in_whole_registers_are_read(device_server: Make, make_profile: Make, framing: str, transport: str) -> None:
    server = device_server(framing)
    server.faults[None] = "padded"
    bits = {
        f"{table}_{address}": {"table": table, "address": address, "type": "bit"}
        for table in ("coil", "discrete")
        for address in range(3, 8)
    }
    result = read_once(server, full_plan(make_profile(bits)), transport=transport)
    assert result.snapshot.readings == {name: int(name.rpartition("_")[2]) & 1 for name in bits}
    assert result.snapshot.quality == {}


def test_an_answer_that_a_converter_kept_over_a_reconnect_is_never_anothers(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server("rtu")
    apart = {f"s{address}": {"address": address, "type": "uint16"} for address in (10, 200, 400)}
    device = make_device(server.port, timeout_s=0.1, transport="rtu_over_tcp")

    def lose() -> None:
        server.next_faults.append("elsewhere:0.15")

    def is_lost() -> bool:
        return not server.next_faults

    watch.run(
        [(device, make_profile(apart, groups=FAST))],
        lambda: len([each for each in watch.of("M-1") if len(each.readings) == 3]) >= 12,
        *[step for n in (2, 5, 8) for step in ((lambda n=n: len(watch.of("M-1")) >= n, lose), (is_lost, server.drop_connections))],
    )
    for snapshot in watch.of("M-1"):
        assert snapshot.readings == {name: int(name[1:]) for name in snapshot.readings}
    assert server.connections == 4


@pytest.mark.parametrize("what", ["transaction", "unit"])
def test_a_wrong_number_on_every_answer_is_accepted_where_the_profile_says_so(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch, what: str
) -> None:
    server = device_server()
    server.faults[None] = f"wrong_{what}"
    device = make_device(server.port, timeout_s=0.1)
    watch.run([(device, make_profile(SIGNALS, FAST))], lambda: bool(watch.states))
    assert watch.states[0][1] is CommsState.OFFLINE
    assert f"if it always does so, `tolerate: [{what}]` in its profile accepts it" in str(watch.states[0][2])
    watch.snapshots.clear()
    watch.run([(device, make_profile(SIGNALS, FAST, tolerate=[what]))], lambda: len(watch.snapshots) >= 5)
    assert all(set(snapshot.readings) == set(SIGNALS) for snapshot in watch.of("M-1"))


def test_where_numbers_mean_nothing_a_late_answer_is_never_the_next_ones(
    device_server: Make, make_profile: Make, make_device: Make, watch: Watch
) -> None:
    server = device_server()
    server.faults[None] = "wrong_transaction"
    apart = {f"s{address}": {"address": address, "type": "uint16"} for address in (10, 200, 400)}
    profile = make_profile(apart, FAST, tolerate=["transaction"])
    watch.run(
        [(make_device(server.port, timeout_s=0.1), profile)],
        lambda: len([each for each in watch.of("M-1") if len(each.readings) == 3]) >= 12,
        *[(lambda n=n: len(watch.of("M-1")) >= n, lambda: server.next_faults.append("late:0.15")) for n in (2, 5, 8)],
    )
    for snapshot in watch.of("M-1"):
        assert snapshot.readings == {name: int(name[1:]) for name in snapshot.readings}
