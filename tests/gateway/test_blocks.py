from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.plant import Limits, Profile, Signal
from millrace_gateway.blocks import Block, UnreadableSignals, plan_blocks, split_block

MakeProfile = Callable[..., Profile]


def word(name: str, address: int, type_name: str = "uint16", table: str = "holding") -> Signal:
    return Signal.model_validate({"name": name, "table": table, "address": address, "type": type_name, "group": "fast"})


def requests(blocks: tuple[Block, ...]) -> list[tuple[str, int, int]]:
    return [(block.table, block.address, block.count) for block in blocks]


def test_neighbours_are_read_in_one_request() -> None:
    signals = [word("c", 14, "float32"), word("a", 10), word("b", 11, "uint32")]
    assert requests(plan_blocks(signals, [], Limits())) == [("holding", 10, 6)]


def test_a_gap_is_read_across_up_to_the_limit_and_no_further() -> None:
    signals = [word("a", 0), word("b", 17), word("c", 35)]
    assert requests(plan_blocks(signals, [], Limits(max_gap=16))) == [("holding", 0, 18), ("holding", 35, 1)]
    assert len(plan_blocks(signals, [], Limits(max_gap=0))) == 3


def test_tables_are_never_mixed() -> None:
    signals = [word("a", 0), word("b", 1, table="input"), word("c", 2, "bit", "coil"), word("d", 3, "bit", "discrete")]
    blocks = plan_blocks(signals, [], Limits())
    assert [block.function_code for block in blocks] == [1, 2, 3, 4]


def test_a_signal_is_not_split_at_the_largest_request() -> None:
    signals = [word(f"s{i}", 4 * i, "float64") for i in range(32)]
    blocks = plan_blocks(signals, [], Limits(max_registers=10))
    assert {block.count for block in blocks} == {8}
    assert len(blocks) == 16


def test_atomic_signals_come_from_one_request_even_across_a_wide_gap() -> None:
    signals = [word("total", 0), word("other", 30), word("reject", 60)]
    (block,) = plan_blocks(signals, [["total", "reject"]], Limits(max_gap=0))
    assert (block.address, block.count) == (0, 61)
    assert set(block.names) == {"total", "other", "reject"}


def test_atomic_signals_beyond_the_largest_request_are_refused_in_words() -> None:
    with pytest.raises(UnreadableSignals, match="total, reject: needs 61 in one request, the device allows 50"):
        plan_blocks([word("total", 0), word("reject", 60)], [["total", "reject"]], Limits(max_registers=50))


def test_a_refused_block_is_cut_at_its_widest_gap() -> None:
    (block,) = plan_blocks([word("a", 0), word("b", 1), word("c", 9), word("d", 12)], [], Limits())
    halves = split_block(block)
    assert halves is not None
    assert requests(halves) == [("holding", 0, 2), ("holding", 9, 4)]
    assert split_block(plan_blocks([word("a", 0, "float64")], [], Limits())[0]) is None


def test_a_refused_block_without_gaps_is_halved() -> None:
    (block,) = plan_blocks([word(f"s{i}", i) for i in range(8)], [], Limits())
    halves = split_block(block)
    assert halves is not None
    assert [half.count for half in halves] == [4, 4]


WIDTHS = {"uint16": 1, "float32": 2, "float64": 4}


@st.composite
def maps(draw: st.DrawFn) -> tuple[list[Signal], list[list[str]], Limits]:
    """A random register map without overlaps, some neighbours atomic, and the limits of a device."""
    signals: list[Signal] = []
    for table in ("holding", "input", "coil"):
        address = draw(st.integers(0, 50))
        for _ in range(draw(st.integers(0, 15))):
            type_name = "bit" if table == "coil" else draw(st.sampled_from(sorted(WIDTHS)))
            signals.append(word(f"s{len(signals)}", address, type_name, table))
            address += WIDTHS.get(type_name, 1) + draw(st.sampled_from([0, 0, 0, 1, 5, 17, 60]))
    limits = Limits(max_registers=draw(st.integers(8, 125)), max_bits=draw(st.integers(8, 2000)), max_gap=draw(st.integers(0, 40)))
    atomic: list[list[str]] = []
    for first, second in zip(signals[::3], signals[1::3], strict=False):
        largest = limits.max_bits if first.table == "coil" else limits.max_registers
        if first.table == second.table and second.address + second.registers - first.address <= largest:
            atomic.append([first.name, second.name])
    return signals, atomic, limits


@given(maps())
def test_every_plan_keeps_its_promises(drawn: tuple[list[Signal], list[list[str]], Limits]) -> None:
    signals, atomic, limits = drawn
    blocks = plan_blocks(signals, atomic, limits)
    assert sorted(name for block in blocks for name in block.names) == sorted(signal.name for signal in signals)
    for block in blocks:
        assert 1 <= block.count <= (limits.max_bits if block.table == "coil" else limits.max_registers)
        for signal in block.signals:
            assert signal.table == block.table
            assert block.address <= signal.address
            assert signal.address + signal.registers <= block.address + block.count
    for group in atomic:
        assert sum(bool(set(group) & set(block.names)) for block in blocks) == 1


@given(maps())
def test_splitting_to_the_end_still_reads_every_signal_once(drawn: tuple[list[Signal], list[list[str]], Limits]) -> None:
    signals, atomic, limits = drawn
    waiting, final = list(plan_blocks(signals, atomic, limits)), []
    while waiting:
        block = waiting.pop()
        halves = split_block(block)
        if halves is None:
            final.append(block)
        else:
            waiting.extend(halves)
    assert sorted(name for block in final for name in block.names) == sorted(signal.name for signal in signals)
    assert all(len(block.pieces) == 1 for block in final)


def test_a_counter_of_every_group_and_a_plan_for_one_group(make_profile: MakeProfile) -> None:
    profile = make_profile(
        {
            "reads_served": {"address": 0, "type": "uint32", "group": "*"},
            "fast_value": {"address": 2, "type": "uint16"},
            "slow_value": {"address": 3, "type": "uint16", "group": "slow"},
        },
        groups={"fast": 1.0, "slow": 10.0},
    )
    for group in profile.groups:
        members = [signal for signal in profile.signals.values() if group in signal.groups(profile)]
        (block,) = plan_blocks(members, profile.atomic, profile.limits)
        assert "reads_served" in block.names
