"""Reading devices with holes in their maps: refused requests are cut until every signal that exists is read, once a cycle."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contract.plant import Barrier, DeviceLimits, RegisterSignal
from millrace_contract.runtime.clock import SystemClock
from millrace_gateway.answers import Answer
from millrace_gateway.blocks import Place, ReadRules, RegisterGap
from millrace_gateway.endpoint import Endpoint
from millrace_gateway.faults import ReadFault, RequestRefused
from millrace_gateway.modbus import ModbusConnection
from millrace_gateway.poll_plan import PollPlan
from millrace_gateway.read_result import ReadResult
from millrace_gateway.reader import read_plan
from millrace_gateway.wire import Wire

pytestmark = pytest.mark.long

WIDTHS = {"uint16": 1, "uint32": 2, "uint64": 4}


@dataclass(frozen=True)
class Map:
    """A device: its signals, the addresses that do not exist, and the longest request that it answers."""

    signals: tuple[RegisterSignal, ...]
    holes: frozenset[int]
    longest: int
    rules: ReadRules

    def exists(self, signal: RegisterSignal) -> bool:
        return self.holes.isdisjoint(range(signal.address, signal.address + signal.registers))

    def crosses(self, registers: range) -> bool:
        return not self.holes.isdisjoint(registers)


class HoledDevice(Wire):
    """Answers each register with its own address; exception 2 for a hole, 3 for a request that is too long."""

    def __init__(self, device: Map) -> None:
        super().__init__(ModbusConnection(Endpoint("tcp", "nowhere")), SystemClock())
        self.answered: list[range] = []
        self.refused: list[range] = []
        self._device = device

    async def ask(
        self,
        unit: int,  # noqa: ARG002 - there is one unit, at once
        places: Sequence[Place],
        timeout_s: float,  # noqa: ARG002
    ) -> tuple[list[Answer], ReadFault | None]:
        answers: list[Answer] = []
        for _, address, count in (place[:3] for place in places):
            registers = range(address, address + count)
            if count > self._device.longest or self._device.crosses(registers):
                self.refused.append(registers)
                return answers, RequestRefused(2 if count <= self._device.longest else 3)
            self.answered.append(registers)
            answers.append(Answer(struct.pack(f">{count}H", *registers), 1.0))
        return answers, None


@st.composite
def maps(draw: st.DrawFn) -> Map:
    signals: list[RegisterSignal] = []
    address = draw(st.integers(0, 20))
    borders: list[int] = []
    for index in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(sorted(WIDTHS)))
        signals.append(RegisterSignal.model_validate({"name": f"s{index}", "address": address, "type": kind, "group": "fast"}))
        address += WIDTHS[kind] + draw(st.sampled_from([0, 0, 1, 2, 9, 30]))
        borders.append(address)
    holes: set[int] = set()
    for first in draw(st.lists(st.integers(0, address), max_size=6)):
        holes.update(range(first, first + draw(st.integers(1, 5))))
    barriers = tuple(Barrier(at=at) for at in draw(st.lists(st.sampled_from(borders), max_size=2)))
    limits = DeviceLimits(max_registers=draw(st.integers(4, 125)), max_gap=draw(st.none() | st.integers(0, 40)))
    return Map(tuple(signals), frozenset(holes), draw(st.integers(4, 125)), ReadRules(limits, must_not_cross=barriers))


def read(device: HoledDevice, plan: PollPlan) -> ReadResult:
    device.answered.clear()
    device.refused.clear()
    return asyncio.run(read_plan([device], 1, 1.0, plan, SystemClock()))


def check_readings(of: Map, result: ReadResult) -> None:
    values = {s.name: sum((s.address + i) << 16 * (s.registers - 1 - i) for i in range(s.registers)) for s in of.signals}
    assert result.snapshot.readings == {s.name: values[s.name] for s in of.signals if of.exists(s)}
    assert result.snapshot.quality == {s.name: "bad" for s in of.signals if not of.exists(s)}


def check_requests(of: Map, device: HoledDevice) -> None:
    """Each signal in exactly one request that was answered, none of them beyond a limit or across a barrier."""
    for signal in of.signals:
        times = sum(
            signal.address in registers and signal.address + signal.registers - 1 in registers for registers in device.answered
        )
        assert times == of.exists(signal)
    for registers in (*device.answered, *device.refused):
        assert len(registers) <= of.rules.limits.max_registers
        assert not any(registers.start < each.start < registers.stop for each in of.rules.must_not_cross)


@settings(deadline=None, max_examples=75)
@given(maps())
def test_every_signal_that_exists_is_read_once_whatever_the_device_refuses(of: Map) -> None:
    device = HoledDevice(of)
    plan = PollPlan(of.signals, of.rules)
    check_readings(of, read(device, plan))
    check_requests(of, device)
    check_readings(of, read(device, plan))
    check_requests(of, device)
    assert device.refused == []  # What was refused alone rests, everything else passes at the first try.


@settings(deadline=None, max_examples=75)
@given(maps())
def test_a_restart_with_what_was_learned_asks_for_no_refused_gap_again(of: Map) -> None:
    device = HoledDevice(of)
    plan = PollPlan(of.signals, of.rules)
    read(device, plan)
    again = PollPlan(of.signals, of.rules, set(plan.gaps))
    check_readings(of, read(device, again))
    check_requests(of, device)
    if of.longest >= of.rules.limits.max_registers:  # Then only holes are refused, and each gap that was learned has one.
        assert all(_has_hole(gap, of.holes) for gap in plan.gaps)
    # A plan without these gaps may ask across others, which were in no request before.
    assert not any(_spans(registers, gap) for registers in device.refused for gap in plan.gaps)


def _spans(registers: range, gap: RegisterGap) -> bool:
    return registers.start < gap.end and gap.start < registers.stop


def _has_hole(gap: RegisterGap, holes: frozenset[int]) -> bool:
    return not holes.isdisjoint(range(gap.start, gap.end))
