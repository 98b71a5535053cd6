"""RangeSet against a plain set."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.store_forward.ranges import RangeSet, merge_ranges

PAIRS = st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(st.tuples(st.booleans(), PAIRS), max_size=40))
def test_range_set_holds_what_a_set_holds(operations: list[tuple[bool, tuple[int, int]]]) -> None:
    ranges, numbers = RangeSet(), set[int]()
    for is_add, (first, last) in operations:
        if is_add:
            ranges.add(first, last)
            numbers |= set(range(first, last + 1))
        else:
            ranges.remove(first, last)
            numbers -= set(range(first, last + 1))
        assert {number for number in range(80) if number in ranges} == numbers
        assert list(ranges) == merge_ranges((number, number) for number in numbers)


@given(st.lists(PAIRS, max_size=20))
def test_merged_ranges_are_sorted_apart_and_cover_the_same(pairs: list[tuple[int, int]]) -> None:
    merged = merge_ranges(pairs)
    assert {n for first, last in merged for n in range(first, last + 1)} == {
        n for first, last in pairs for n in range(first, last + 1)
    }
    assert all(one[1] + 1 < other[0] for one, other in pairwise(merged))


def test_merging_drops_empty_ranges() -> None:
    assert merge_ranges([(5, 4), (1, 2)]) == [(1, 2)]


def test_keep_newest_forgets_the_lowest() -> None:
    ranges = RangeSet()
    for number in range(0, 100, 2):
        ranges.add(number, number)
    ranges.keep_newest(2)
    assert list(ranges) == [(96, 96), (98, 98)]
