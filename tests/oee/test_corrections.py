"""Scrap and rework laid over windows: whole parts that add up, whatever the cuts, and where the parts were made."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.language.entries import QualityCount, ReworkEntry, ScrapEntry
from millrace_contract.language.times import format_timestamp
from millrace_oee.corrections import Corrections, MadeUntil, corrections

NOON_MS = 1_760_529_600_000
NOW = format_timestamp(NOON_MS + 10_000_000)


def scrap(count: int, start: int, end: int | None = None) -> ScrapEntry:
    values = QualityCount(
        count=count, start=format_timestamp(NOON_MS + start), end=None if end is None else format_timestamp(NOON_MS + end)
    )
    return ScrapEntry(id="s", timestamp=NOW, values=values)


def steady(ms: int) -> MadeUntil:
    """A part each 100 ms; those of every second second meet no ideal time."""
    parts = max(0, ms - NOON_MS) // 100
    return MadeUntil(parts, parts // 20 * 10 + min(parts % 20, 10))


@given(
    st.integers(-500, 500),
    st.integers(0, 60_000),
    st.none() | st.integers(0, 60_000),
    st.lists(st.integers(-10_000, 150_000), max_size=6),
)
def test_windows_of_any_cut_add_up_to_the_entry(count: int, start: int, length: int | None, cuts: list[int]) -> None:
    entry = scrap(count, start, None if length is None else start + length)
    edges = [NOON_MS + cut for cut in sorted({-20_000, *cuts, 200_000})]
    found = [corrections([entry], a, b, steady) for a, b in itertools.pairwise(edges)]
    assert sum(each.scrap for each in found) == count
    assert all(each.scrap * count >= 0 for each in found)
    assert abs(sum(each.ideal for each in found)) <= abs(count)


def test_scrap_of_a_stretch_lies_where_its_parts_were_made() -> None:
    def until_noon_plus_one(ms: int) -> MadeUntil:
        return steady(min(ms, NOON_MS + 1_000))

    entry = scrap(4, 0, 10_000)
    assert corrections([entry], NOON_MS, NOON_MS + 1_000, until_noon_plus_one) == Corrections(scrap=4, ideal=4)
    assert corrections([entry], NOON_MS + 1_000, NOON_MS + 10_000, until_noon_plus_one) == Corrections()


def test_scrap_of_a_stretch_in_which_nothing_was_made_belongs_to_its_end() -> None:
    entry = scrap(4, 0, 5_000)
    assert corrections([entry], NOON_MS, NOON_MS + 5_000, lambda _ms: MadeUntil(7, 7)) == Corrections()
    assert corrections([entry], NOON_MS + 5_000, NOON_MS + 6_000, lambda _ms: MadeUntil(7, 7)) == Corrections(scrap=4, ideal=4)


def test_rework_counts_apart_and_scrap_that_is_taken_back_mirrors_scrap() -> None:
    rework = ReworkEntry(id="r", timestamp=NOW, values=scrap(3, 500).values)
    found = corrections([scrap(7, 0, 3_000), scrap(-7, 0, 3_000), rework], NOON_MS, NOON_MS + 1_000, steady)
    assert found == Corrections(scrap=0, rework=3, ideal=3)
