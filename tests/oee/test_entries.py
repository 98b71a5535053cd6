"""What people and MES said, in the engine: which entries concern a machine and a time, in any order, and over restarts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.language.entries import (
    CHAIN,
    Entry,
    OrderEnd,
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
)
from millrace_contract.language.messages import Ledger
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import FigureFlag, RevisionCause, StepVerdict
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.store_forward.store_form import StoreKind
from millrace_oee.engine import Engine
from millrace_oee.entries import Entries, MachineEntries
from millrace_oee.entry_store import EntryStore
from millrace_oee.plan import load_plan
from millrace_oee.results import Results
from millrace_oee.store import OEE_STORE, Store, connect_in_memory

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOON_MS = 1_760_529_600_000


def at(hours: float) -> str:
    return format_timestamp(NOON_MS + round(hours * HOUR_MS))


def began(order: str, hours: float, *, entry_id: str | None = None, version: int = 1) -> OrderEntry:
    return OrderEntry(id=entry_id or order, timestamp=at(hours), version=version, values=OrderStart(order=order, at=at(hours)))


def ended(order: str, hours: float) -> OrderEntry:
    return OrderEntry(id=f"{order}-end", timestamp=at(hours), values=OrderEnd(order=order, at=at(hours)))


def scrap(count: int, start: float, end: float | None = None, *, entry_id: str = "s", version: int = 1) -> ScrapEntry:
    values = QualityCount(count=count, start=at(start), end=None if end is None else at(end))
    return ScrapEntry(id=entry_id, timestamp=at(9), version=version, values=values)


def placed(*entries: Entry, device: str | None = "CNC-01", line: str = "line1") -> list[PlacedEntry]:
    return [PlacedEntry(line, device, entry) for entry in entries]


def within(entries: MachineEntries, start: float, end: float) -> list[str]:
    found = entries.concerning(NOON_MS + round(start * HOUR_MS), NOON_MS + round(end * HOUR_MS))
    return [entry.id for kind in (found.orders, found.reasons, found.quality, found.steps) for entry in kind]


def test_orders_of_a_time_are_those_in_it_and_what_led_up_to_it() -> None:
    entries = Entries(placed(began("a", 0), ended("a", 2), began("b", 3), ended("b", 6), began("c", 7))).of("line1", "CNC-01")
    assert within(entries, 4, 5) == ["b"]
    assert within(entries, 4, 6.5) == ["b", "b-end"]
    assert within(entries, 2.5, 3) == ["a", "a-end"]
    assert within(entries, 3, 3.1) == ["b"]
    assert within(entries, 7, 8) == ["c"]


def test_other_entries_of_a_time_are_those_that_touch_it() -> None:
    reason = ReasonEntry(id="r", timestamp=at(9), values=ReasonChoice(start=at(1), end=at(2), reason="jam"))
    step = StepEntry(id="t", timestamp=at(9), values=StepDecision(step="x", at=at(2), verdict=StepVerdict.REJECTED))
    entries = Entries(placed(reason, step, scrap(1, 1.5), scrap(2, 1, 3, entry_id="w"))).of("line1", "CNC-01")
    assert within(entries, 1, 2) == ["r", "s", "w"]
    assert within(entries, 2, 3) == ["w", "t"]
    assert within(entries, 0, 1) == []
    assert within(entries, 3, 4) == []


def test_a_line_s_orders_and_reasons_are_its_machines_and_its_scrap_is_nobody_s() -> None:
    reason = ReasonEntry(id="r", timestamp=at(9), values=ReasonChoice(start=at(1), reason="power"))
    entries = Entries([*placed(began("a", 0), reason, scrap(1, 1), device=None), *placed(began("x", 0), line="line2")])
    found = entries.of("line1", "CNC-02")
    assert ([e.id for e in found.orders], [e.id for e in found.reasons], found.quality) == (["a"], ["r"], ())


def test_what_holds_depends_on_no_order_of_arrival() -> None:
    said = placed(
        began("a", 0), began("a", 1, version=2), scrap(3, 1), WithdrawalEntry(id="s", timestamp=at(10), version=2), ended("a", 4)
    )
    said += placed(scrap(5, 2, entry_id="moved"), device="CNC-02") + placed(scrap(5, 2, entry_id="moved", version=2))
    expected = Entries(said).of("line1", "CNC-01")
    assert ([e.version for e in expected.orders], [e.id for e in expected.quality]) == ([2, 1], ["moved"])
    for order in itertools.islice(itertools.permutations(said), 0, None, 97):
        entries = Entries()
        for each in (*order, *order):
            entries.take(each)
        assert entries.of("line1", "CNC-01") == expected
        assert entries.of("line1", "CNC-02").quality == ()


def make_engine(config: Path) -> tuple[Engine, Store]:
    connection = connect_in_memory()
    store = Store(connection)
    return Engine(load_plan(config), store, Results(connection, lambda _topic, _message: None)), store


def test_the_store_forgets_what_speaks_of_long_ago_but_not_the_order_that_lasts() -> None:
    store = EntryStore(connect_in_memory())
    for each in placed(began("a", 0), ended("a", 1), began("b", 2), began("c", 30), scrap(1, 3), scrap(2, 30, entry_id="new")):
        store.save(each)
    assert set(store.prune(NOON_MS + 20 * HOUR_MS)) == {"a", "a-end", "s"}
    assert {each.entry.id for each in store.all()} == {"b", "c", "new"}


def test_entries_are_there_after_a_restart(plant_folder: Callable[..., Path]) -> None:
    engine, _ = make_engine(plant_folder())
    for each in placed(began("a", 0), scrap(1, 1), began("a", 2, version=2)):
        engine.accept_entry(each)
    before = engine.tracks["CNC-01"].entries
    engine.reload()
    assert engine.tracks["CNC-01"].entries == before
    assert [entry.version for entry in before.orders] == [2]


def numbered(entry: ScrapEntry, seq: int, prev: int | None) -> PlacedEntry:
    values = entry.values
    return PlacedEntry(
        "line1",
        "CNC-01",
        ScrapEntry(id=f"e{seq}", timestamp=entry.timestamp, values=values, stream="alerts-1.ab", seq=seq, prev=prev),
    )


def test_a_missing_entry_is_a_gap_until_it_comes_or_a_ledger_tells_of_it(plant_folder: Callable[..., Path]) -> None:
    engine, _ = make_engine(plant_folder())
    engine.accept_entry(numbered(scrap(1, 0), 3, None))
    engine.accept_entry(numbered(scrap(1, 0), 9, 7))
    engine.accept_entry(numbered(scrap(1, 0), 15, 12))
    assert [(gap.device, gap.missing_seq) for gap in engine.gaps()] == [(CHAIN, 7), (CHAIN, 12)]
    assert FigureFlag.GAP_OPEN in engine._live_flags("CNC-01", set())
    engine.looked_for(engine.gaps()[0], 9)
    assert len(engine.gaps()) == 2, "a look that found nothing ends no gap"
    engine.accept_entry(numbered(scrap(1, 0), 7, 3))
    lost = [(10, 14)]
    engine.accept_ledger(
        Ledger(
            timestamp=at(9), service="alerts", instance="1", count=1, cause="outbox_full", lost_stream="alerts-1.ab", lost_seqs=lost
        )
    )
    assert engine.gaps() == []


def test_news_wait_over_a_kill_for_the_windows_that_tell_them(plant_folder: Callable[..., Path]) -> None:
    store = EntryStore(make_engine(plant_folder())[1].connection)
    store.add_news("CNC-01", 5, 9, RevisionCause.SCRAP)
    store.add_news("CNC-01", 1, 2, RevisionCause.ORDER)
    store.add_news("CNC-01", 1, 2, RevisionCause.ORDER)
    assert store.news("CNC-01") == [(1, 2, RevisionCause.ORDER), (5, 9, RevisionCause.SCRAP)]
    store.drop_news("CNC-01")
    assert store.news("CNC-01") == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_before_entries_takes_them(tmp_path: Path, version: int) -> None:
    path = tmp_path / "oee.db"
    old = open_store(StoreKind("the store of oee", OEE_STORE.steps[:version]), path, NOON_MS)
    old.connection.execute("INSERT INTO device VALUES ('CNC-01', 1, 2, 3, 'v')")
    old.close()
    new = open_store(OEE_STORE, path, NOON_MS)
    assert (tmp_path / f"oee.db.copy-of-version-{version}").exists()
    store = EntryStore(new.connection)
    store.save(placed(scrap(1, 1))[0])
    assert [each.entry.id for each in store.all()] == ["s"]
    assert Store(new.connection).devices()["CNC-01"].settled_ms == 3
    new.close()
