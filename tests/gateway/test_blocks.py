from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contract.plant import AddressRange, Barrier, DeviceLimits, Profile, RegisterSignal
from millrace_gateway.blocks import Block, ReadRules, RegisterGap, UnreadableSignals, plan_blocks, split_block
from millrace_gateway.request_cost import RequestCost

MakeProfile = Callable[..., Profile]


def word(name: str, address: int, type_name: str = "uint16", table: str = "holding") -> RegisterSignal:
    return RegisterSignal.model_validate({"name": name, "table": table, "address": address, "type": type_name, "group": "fast"})


def requests(blocks: tuple[Block, ...]) -> list[tuple[str, int, int]]:
    return [(block.table, block.address, block.count) for block in blocks]


def test_neighbours_are_read_in_one_request() -> None:
    signals = [word("c", 14, "float32"), word("a", 10), word("b", 11, "uint32")]
    assert requests(plan_blocks(signals, ReadRules())) == [("holding", 10, 6)]


def test_a_gap_is_read_across_up_to_the_limit_and_no_further() -> None:
    signals = [word("a", 0), word("b", 17), word("c", 35)]
    assert requests(plan_blocks(signals, ReadRules(DeviceLimits(max_gap=16)))) == [("holding", 0, 18), ("holding", 35, 1)]
    assert len(plan_blocks(signals, ReadRules(DeviceLimits(max_gap=0)))) == 3


def test_tables_are_never_mixed() -> None:
    signals = [word("a", 0), word("b", 1, table="input"), word("c", 2, "bit", "coil"), word("d", 3, "bit", "discrete")]
    blocks = plan_blocks(signals, ReadRules())
    assert [block.function_code for block in blocks] == [1, 2, 3, 4]


def test_a_signal_is_not_split_at_the_largest_request() -> None:
    signals = [word(f"s{i}", 4 * i, "float64") for i in range(32)]
    blocks = plan_blocks(signals, ReadRules(DeviceLimits(max_registers=10)))
    assert {block.count for block in blocks} == {8}
    assert len(blocks) == 16


def test_atomic_signals_come_from_one_request_even_across_a_wide_gap() -> None:
    signals = [word("total", 0), word("other", 30), word("reject", 60)]
    (block,) = plan_blocks(signals, ReadRules(DeviceLimits(max_gap=0), (["total", "reject"],)))
    assert (block.address, block.count) == (0, 61)
    assert set(block.names) == {"total", "other", "reject"}


def test_atomic_signals_beyond_the_largest_request_are_refused_in_words() -> None:
    with pytest.raises(UnreadableSignals, match="total, reject: needs 61 in one request, the device allows 50"):
        plan_blocks([word("total", 0), word("reject", 60)], ReadRules(DeviceLimits(max_registers=50), (["total", "reject"],)))


def scaled(name: str, address: int, scale_register: int) -> RegisterSignal:
    facts = {"name": name, "address": address, "type": "int16", "group": "fast", "scale_register": scale_register}
    return RegisterSignal.model_validate(facts)


def test_a_value_and_its_power_of_ten_come_from_one_request() -> None:
    signals = [scaled("a", 0, 4), scaled("b", 1, 4), word("c", 8), scaled("d", 9, 7)]
    assert requests(plan_blocks(signals, ReadRules(DeviceLimits(max_gap=0)))) == [("holding", 0, 5), ("holding", 7, 3)]
    with pytest.raises(UnreadableSignals, match="a: needs 5 in one request, the device allows 4"):
        plan_blocks(signals, ReadRules(DeviceLimits(max_registers=4)))


def test_a_gap_is_read_across_where_that_is_cheaper_than_another_request() -> None:
    signals = [word("a", 0), word("b", 11), word("c", 40)]
    cost = RequestCost(round_trip_ms=25, register_ms=2)  # 12 registers cost as much as a request
    assert requests(plan_blocks(signals, ReadRules(cost=cost))) == [("holding", 0, 12), ("holding", 40, 1)]
    assert len(plan_blocks(signals, ReadRules(cost=RequestCost(10, 0.01)))) == 1
    assert len(plan_blocks(signals, ReadRules(cost=RequestCost(5, 1)))) == 3


def test_what_must_not_be_crossed_is_not() -> None:
    signals = [word("a", 0), word("b", 4), word("c", 5)]
    forbidden = (Barrier(table="holding", first=2, last=3), Barrier(at=5))
    assert [block.names for block in plan_blocks(signals, ReadRules(must_not_cross=forbidden))] == [("a",), ("b",), ("c",)]
    learned = frozenset({RegisterGap("holding", 1, 4)})
    assert [block.names for block in plan_blocks(signals, ReadRules(gaps=learned))] == [("a",), ("b", "c")]
    elsewhere = frozenset({RegisterGap("input", 1, 4)})
    assert len(plan_blocks(signals, ReadRules(gaps=elsewhere))) == 1


def test_a_signal_across_a_barrier_is_refused_in_words() -> None:
    with pytest.raises(UnreadableSignals, match=r"wide: holding 4 to 7 cannot be read: must_not_cross \{table: holding, at: 6\}"):
        plan_blocks([word("wide", 4, "float64")], ReadRules(must_not_cross=(Barrier(at=6),)))


def test_a_range_that_must_be_read_as_one_is() -> None:
    signals = [word("a", 102), word("b", 107), word("c", 150)]
    rules = ReadRules(DeviceLimits(max_gap=0), read_as_one=(AddressRange(first=100, last=119),))
    assert requests(plan_blocks(signals, rules)) == [("holding", 100, 20), ("holding", 150, 1)]


@pytest.mark.parametrize("wrong", [{}, {"first": 1}, {"first": 1, "last": 2, "at": 3}, {"first": 5, "last": 2}])
def test_a_barrier_is_a_range_or_a_border(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs first and last, or at|comes after last"):
        Barrier(**wrong)


@st.composite
def small_maps(draw: st.DrawFn) -> tuple[list[RegisterSignal], ReadRules]:
    """At most eight signals, so that every way to cut them can be tried."""
    signals, address = [], 0
    for index in range(draw(st.integers(1, 8))):
        address += draw(st.integers(0, 12))
        signals.append(word(f"s{index}", address))
        address += 1
    barriers = tuple(Barrier(at=at) for at in draw(st.lists(st.integers(1, 60), max_size=3)))
    cost = RequestCost(draw(st.floats(0.1, 20)), draw(st.floats(0, 3)))
    limits = DeviceLimits(max_registers=draw(st.integers(1, 40)), max_gap=draw(st.none() | st.integers(0, 10)))
    return signals, ReadRules(limits, must_not_cross=barriers, cost=cost)


@pytest.mark.long
@settings(deadline=None)
@given(small_maps())
def test_no_other_way_to_cut_a_map_is_cheaper(drawn: tuple[list[RegisterSignal], ReadRules]) -> None:
    signals, rules = drawn
    planned = sum(rules.cost.of(block.count) for block in plan_blocks(signals, rules))
    for cuts in product([False, True], repeat=len(signals) - 1):
        groups = [[signals[0]]]
        for signal, is_cut in zip(signals[1:], cuts, strict=True):
            if is_cut:
                groups.append([signal])
            else:
                groups[-1].append(signal)
        spans = [group[-1].address + 1 - group[0].address for group in groups]
        crosses = any(group[0].address < each.start <= group[-1].address for group in groups for each in rules.must_not_cross)
        pairs = [pair for group in groups for pair in pairwise(group)]
        wide = any(high.address - low.address - 1 > rules.limits.widest_gap for low, high in pairs)
        if max(spans) <= rules.limits.max_registers and not crosses and not wide:
            assert planned <= sum(rules.cost.of(span) for span in spans) + 1e-3


def test_a_refused_block_is_cut_at_its_widest_gap() -> None:
    (block,) = plan_blocks([word("a", 0), word("b", 1), word("c", 9), word("d", 12)], ReadRules())
    halves = split_block(block)
    assert halves is not None
    low, high, gap = halves
    assert requests((low, high)) == [("holding", 0, 2), ("holding", 9, 4)]
    assert gap == RegisterGap("holding", 2, 9)
    assert gap.profile_entry == "{table: holding, first: 2, last: 8}"
    assert split_block(plan_blocks([word("a", 0, "float64")], ReadRules())[0]) is None


def test_a_refused_block_without_gaps_is_halved() -> None:
    (block,) = plan_blocks([word(f"s{i}", i) for i in range(8)], ReadRules())
    halves = split_block(block)
    assert halves is not None
    assert [half.count for half in halves[:2]] == [4, 4]
    assert halves[2].profile_entry == "{table: holding, at: 4}"


WIDTHS = {"uint16": 1, "float32": 2, "float64": 4}


@st.composite
def maps(draw: st.DrawFn) -> tuple[list[RegisterSignal], list[list[str]], DeviceLimits]:
    """A random register map without overlaps, some neighbours atomic, and the limits of a device."""
    signals: list[RegisterSignal] = []
    for table in ("holding", "input", "coil"):
        address = draw(st.integers(0, 50))
        for _ in range(draw(st.integers(0, 15))):
            type_name = "bit" if table == "coil" else draw(st.sampled_from(sorted(WIDTHS)))
            if table == "holding" and draw(st.integers(0, 4)) == 0:
                signals.append(scaled(f"s{len(signals)}", address, address + draw(st.integers(1, 7))))
                type_name = "uint16"
            else:
                signals.append(word(f"s{len(signals)}", address, type_name, table))
            address += WIDTHS.get(type_name, 1) + draw(st.sampled_from([0, 0, 0, 1, 5, 17, 60]))
    limits = DeviceLimits(
        max_registers=draw(st.integers(8, 125)), max_bits=draw(st.integers(8, 2000)), max_gap=draw(st.integers(0, 40))
    )
    atomic: list[list[str]] = []
    for first, second in zip(signals[::3], signals[1::3], strict=False):
        largest = limits.max_bits if first.table == "coil" else limits.max_registers
        if first.table == second.table and max(first.end, second.end) - first.first <= largest:
            atomic.append([first.name, second.name])
    return signals, atomic, limits


@st.composite
def fences(draw: st.DrawFn) -> tuple[tuple[Barrier, ...], tuple[AddressRange, ...]]:
    """What must not be crossed, and what must be read as one."""
    tables, places = st.sampled_from(["holding", "input", "coil"]), st.integers(1, 300)
    barriers = [Barrier(table=draw(tables), at=at) for at in draw(st.lists(places, max_size=3))]
    barriers += [
        Barrier(table=draw(tables), first=first, last=first + draw(st.integers(0, 9)))
        for first in draw(st.lists(places, max_size=2))
    ]
    wholes = [
        AddressRange(table=draw(tables), first=first, last=first + draw(st.integers(0, 12)))
        for first in draw(st.lists(places, max_size=2))
    ]
    return tuple(barriers), tuple(wholes)


@pytest.mark.long
@settings(deadline=None)
@given(maps(), fences())
def test_every_plan_keeps_its_promises(
    drawn: tuple[list[RegisterSignal], list[list[str]], DeviceLimits], fenced: tuple[tuple[Barrier, ...], tuple[AddressRange, ...]]
) -> None:
    signals, atomic, limits = drawn
    barriers, wholes = fenced
    try:
        blocks = plan_blocks(signals, ReadRules(limits, tuple(atomic), wholes, barriers))
    except UnreadableSignals:  # A barrier through a signal, a whole beyond the limits: then the rest must still hold without them.
        barriers, wholes = (), ()
        blocks = plan_blocks(signals, ReadRules(limits, tuple(atomic)))
    assert sorted(name for block in blocks for name in block.names) == sorted(signal.name for signal in signals)
    for block in blocks:
        end = block.address + block.count
        assert 1 <= block.count <= (limits.max_bits if block.table == "coil" else limits.max_registers)
        for signal in block.signals:
            assert signal.table == block.table
            assert block.address <= signal.first
            assert signal.end <= end
        for barrier in barriers:
            assert barrier.table != block.table or barrier.end <= block.address or end <= barrier.start
    for group in atomic:
        assert sum(bool(set(group) & set(block.names)) for block in blocks) == 1
    for whole in wholes:
        for signal in (s for s in signals if s.table == whole.table and s.first <= whole.last and whole.first < s.end):
            (block,) = (each for each in blocks if signal.name in each.names)
            assert block.address <= whole.first
            assert whole.last < block.address + block.count


@pytest.mark.long
@settings(deadline=None)
@given(maps())
def test_splitting_to_the_end_still_reads_every_signal_once(
    drawn: tuple[list[RegisterSignal], list[list[str]], DeviceLimits],
) -> None:
    signals, atomic, limits = drawn
    waiting, final = list(plan_blocks(signals, ReadRules(limits, tuple(atomic)))), []
    while waiting:
        block = waiting.pop()
        halves = split_block(block)
        if halves is None:
            final.append(block)
        else:
            waiting.extend(halves[:2])
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
        members = [signal for signal in profile.register_signals.values() if group in signal.groups(profile)]
        (block,) = plan_blocks(members, ReadRules.of(profile))
        assert "reads_served" in block.names
