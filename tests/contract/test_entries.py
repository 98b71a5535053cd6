"""Entries of people and MES: what an id says now depends on no order of arrival, and what is stored is read back."""

from __future__ import annotations

import itertools
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.errors import Malformed
from millrace_contract.language.entries import (
    Entry,
    EntryTime,
    IdealCycle,
    OrderEntry,
    OrderStart,
    PlacedEntry,
    QualityCount,
    ReasonChoice,
    ReasonEntry,
    ScrapEntry,
    StepDecision,
    StepEntry,
    WithdrawalEntry,
    decode_entry,
    in_force,
    kind_of,
    span_of,
)
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.points import context_event_line
from millrace_contract.language.stored_points import ENTRY_COLUMNS, stored_entries
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import ContextKind, StepVerdict
from millrace_contract.runtime.influx import Influx, quoted
from millrace_contract.testing import Influxd

AT = "2025-10-15T13:00:00.000Z"
LATER = "2025-10-15T14:00:00.000Z"


def scrap(count: int, *, entry_id: str = "a", version: int = 1, timestamp: str = LATER) -> ScrapEntry:
    return ScrapEntry(id=entry_id, timestamp=timestamp, version=version, values=QualityCount(count=count, start=AT))


def gone(*, entry_id: str = "a", version: int, timestamp: str = LATER) -> WithdrawalEntry:
    return WithdrawalEntry(id=entry_id, timestamp=timestamp, version=version)


ONE_OF_EACH: list[Entry] = [
    OrderEntry(id="1", timestamp=LATER, values=OrderStart(order="4711", at=AT, ideal_cycle=IdealCycle(parts=4, seconds=6.5))),
    ReasonEntry(id="2", timestamp=LATER, actor='anna "x" \\', values=ReasonChoice(start=AT, reason="mechanical/jam")),
    scrap(-3, entry_id="3"),
    StepEntry(id="4", timestamp=LATER, values=StepDecision(step="D/total/1", at=AT, verdict=StepVerdict.ACCEPTED)),
    gone(entry_id="5", version=7),
]


def test_the_highest_version_of_an_id_holds_in_whatever_order_they_come() -> None:
    entries: list[Entry] = [scrap(3), scrap(4, version=2), gone(version=3), scrap(5, version=4), scrap(1, entry_id="b")]
    expected = {"a": entries[3], "b": entries[4]}
    for order in itertools.permutations(entries):
        assert in_force([*order, order[0]]) == expected


def test_what_was_withdrawn_says_nothing_even_where_it_comes_after_its_withdrawal() -> None:
    assert in_force([gone(version=2), scrap(3)]) == {}


@given(st.lists(st.tuples(st.integers(1, 2), st.integers(-1, 1), st.sampled_from([AT, LATER])), max_size=5), st.data())
def test_two_writes_of_one_version_are_decided_alike_by_everybody(writes: list[tuple[int, int, str]], data: st.DataObject) -> None:
    entries: list[Entry] = [scrap(count, version=version, timestamp=timestamp) for version, count, timestamp in writes]
    shuffled = data.draw(st.permutations(entries))
    assert in_force(shuffled + shuffled) == in_force(entries)


def test_of_two_writes_of_one_version_the_later_one_holds() -> None:
    early, late = scrap(9, timestamp=AT), scrap(1, timestamp=LATER)
    assert in_force([late, early]) == {"a": late}


def test_the_time_an_entry_speaks_of() -> None:
    at_ms = parse_timestamp(AT)
    assert span_of(ONE_OF_EACH[0]) == EntryTime(at_ms, at_ms)
    assert span_of(scrap(1)) == EntryTime(at_ms, at_ms)
    undated = ScrapEntry(id="x", timestamp=LATER, values=QualityCount(count=1))
    assert span_of(undated) == EntryTime(at_ms + 3_600_000, at_ms + 3_600_000)
    assert span_of(gone(version=2)) is None


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (b'{"kind":"scrap","id":"a","timestamp":"today","values":{"count":1}}', "timestamp 'today'"),
        (b'{"kind":"scrap","id":"a","timestamp":"2025-10-15T13:00:00Z","values":{"count":1,"start":"12:00"}}', "'12:00'"),
        (
            b'{"kind":"reason","id":"a","timestamp":"2025-10-15T13:00:00Z","values":{"action":"split","reason":"r",'
            b'"start":"2025-10-15T13:00:00Z","end":"2025-10-15T12:00:00Z"}}',
            "ends at 2025-10-15T12:00:00.000Z, before it starts",
        ),
        (b'{"kind":"shift","id":"a","timestamp":"2025-10-15T13:00:00Z"}', "shift"),
        (b"{", "not JSON"),
    ],
)
def test_a_broken_entry_is_refused_in_words(payload: bytes, what: str) -> None:
    with pytest.raises(Malformed, match=what):
        decode_entry(payload)


def test_every_kind_has_a_type_and_travels() -> None:
    for entry in ONE_OF_EACH:
        assert decode_entry(msgspec.json.encode(entry)) == entry
    rework = decode_entry(b'{"kind":"rework","id":"a","timestamp":"2025-10-15T13:00:00Z","values":{"count":1}}')
    assert {kind_of(entry) for entry in [*ONE_OF_EACH, rework]} == set(ContextKind)


@pytest.mark.influx
def test_entries_come_back_from_the_database_whole_each_version_of_its_own(shared_influxd: Influxd) -> None:
    now = format_timestamp(int(time.time()) * 1000)
    entries = [
        msgspec.structs.replace(entry, timestamp=now, stream="alerts-1.ab", seq=number, prev=number - 1)
        for number, entry in enumerate([*ONE_OF_EACH, scrap(4, entry_id="3", version=2)], start=1)
    ]
    with Influx(shared_influxd.settings()) as influx:
        lines = [context_event_line("line-e", None if entry.id == "1" else "D,1", entry) for entry in entries]
        influx.write(PRODUCTION_BUCKET, b"\n".join(lines + lines))
        columns = ", ".join(map(quoted, ENTRY_COLUMNS))
        (series,) = influx.query(PRODUCTION_BUCKET, f"SELECT {columns} FROM context_event WHERE line = 'line-e'")
    found = list(stored_entries(series.columns, series.rows))
    assert found == [PlacedEntry("line-e", None if entry.id == "1" else "D,1", entry) for entry in entries]
