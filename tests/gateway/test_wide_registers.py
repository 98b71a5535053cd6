"""Devices whose registers hold 32 bits (Enron's way): one address and a count of one, and four bytes of answer."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from millrace_contract.plant import DeviceLimits, RegisterSignal
from millrace_gateway.blocks import ReadRules, UnreadableSignals, plan_blocks
from millrace_gateway.commission import read_device
from millrace_gateway.decoder import Snapshot
from millrace_gateway.poll_plan import PollPlan

Make = Callable[..., Any]


def signal(name: str, address: int, type_name: str = "float32", **keys: Any) -> RegisterSignal:
    return RegisterSignal.model_validate({"name": name, "address": address, "type": type_name, "wide": True, "group": "g", **keys})


def test_an_address_is_one_of_the_request_and_four_bytes_of_the_answer() -> None:
    flow, total = signal("flow", 7001), signal("total", 7002, "uint64")
    beside = signal("status", 7000, "uint16", wide=False)
    blocks = plan_blocks([flow, total, beside], ReadRules())
    assert [(block.place, block.payload_bytes, block.names) for block in blocks] == [
        ((3, 7000, 1), 2, ("status",)),
        ((3, 7001, 3, 4), 12, ("flow", "total")),
    ]


def test_what_lies_in_the_bytes_is_put_together_as_elsewhere() -> None:
    flow, pulses, total = signal("flow", 7001, order="CDAB"), signal("count", 7003, "uint32"), signal("total", 7004, "float64")
    (request,) = PollPlan([flow, pulses, total], ReadRules()).requests
    low, high = struct.pack(">f", 12.5)[2:], struct.pack(">f", 12.5)[:2]
    snapshot = Snapshot()
    request.decoder.decode(low + high + bytes(4) + struct.pack(">Id", 70_000, 1234.5), snapshot)
    assert snapshot.readings == {"flow": 12.5, "count": 70_000, "total": 1234.5}


def test_a_request_asks_for_no_more_than_an_answer_holds() -> None:
    blocks = plan_blocks([signal(f"s{number}", 5000 + number, "int32") for number in range(100)], ReadRules())
    assert max(block.payload_bytes for block in blocks) <= 250
    assert sum(block.count for block in blocks) == 100
    assert len(blocks) == 2
    blocks = plan_blocks([signal(f"s{number}", number, "int32") for number in range(20)], ReadRules(DeviceLimits(max_registers=10)))
    assert [block.count for block in blocks] == [10, 10]


def test_registers_of_both_kinds_are_never_read_as_one() -> None:
    pair = [signal("a", 1), signal("b", 2, "uint16", wide=False)]
    with pytest.raises(UnreadableSignals, match="lie in registers of 16 and of 32 bits"):
        plan_blocks(pair, ReadRules(atomic=(("a", "b"),)))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"type": "uint16"}, "wide is for registers of 32 bits, and uint16 does not fill any"),
        ({"type": "string", "registers": 4}, "string does not fill any"),
        ({"type": "int32", "scale_register": 9}, "has no plus, scale_register or register of its sign"),
    ],
)
def test_what_fills_no_wide_register_is_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        RegisterSignal.model_validate({"name": "it", "address": 1, "wide": True, **keys})


@pytest.mark.process
@pytest.mark.parametrize(("framing", "transport"), [("mbap", "tcp"), ("rtu", "rtu_over_tcp")])
def test_it_is_read_from_a_device(device_server: Make, make_profile: Make, make_device: Make, framing: str, transport: str) -> None:
    server = device_server(framing)
    server.wide = range(7000, 8000)
    wide = {"type": "uint32", "wide": True}
    profile = make_profile(
        {"first": {"address": 7001, **wide}, "second": {"address": 7003, **wide}, "plain": {"address": 5, "type": "uint16"}}
    )
    readings, fault = read_device(make_device(server.port, transport=transport), profile)
    assert fault is None
    assert {each.signal: each.value for each in readings} == {"first": 7001 << 16 | 7001, "second": 7003 << 16 | 7003, "plain": 5}
    assert readings[0].raw == (7001 << 16 | 7001,)
