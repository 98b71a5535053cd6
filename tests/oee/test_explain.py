"""An explanation adds up to the document, whatever happened; and says so where it does not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millrace_oee.__main__ as oee
from millrace_contract.language.entries import Entry, OrderEntry, ReasonEntry, ReworkEntry, ScrapEntry, decode_entry
from millrace_contract.language.explanations import Explained
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import Leaf, UnknownPolicy, WindowKind
from millrace_oee.calendar import LineCalendar, TimeWindow
from millrace_oee.documents import device_document
from millrace_oee.entries import MachineEntries, time_of
from millrace_oee.explain import Asked, SamplesRead, explain
from millrace_oee.explain_source import against
from millrace_oee.explain_told import told_of_machine
from millrace_oee.explain_words import duration, in_words
from millrace_oee.explained import Explanation, checks
from millrace_oee.history import History, Seed
from millrace_oee.machine import UNREACHABLE_STATE, Machine
from millrace_oee.samples import Sample
from millrace_oee.windows import Sums

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
HOUR_MS = 3_600_000
WINDOW = TimeWindow(START_MS, START_MS + HOUR_MS, WindowKind.PERIOD, "hour")
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STATES: list[float | str] = [0.0, 1.0, 1.0, 2.0, 4.0, 77.0, "", UNREACHABLE_STATE]
LEAVES = {"planned/cleaning": Leaf.PLANNED_STOP, "no-order": Leaf.UNSCHEDULED}


def past_of(seed: int) -> tuple[list[Sample], list[Entry]]:
    """From half an hour before the window to half an hour after it: any states and steps, silence, and what people said of it."""
    rng = random.Random(seed)
    at_ms, total, reject = START_MS - HOUR_MS // 2, 65_000, 0
    samples: list[Sample] = []
    while at_ms < START_MS + 3 * HOUR_MS // 2:
        at_ms += rng.choice([1_000, 4_999, 60_000, 307_123, 1_000_001])
        total += rng.choice([0, 1, 7, 400, 9_000])
        reject += rng.randint(0, 2)
        state: float | str = rng.choice(STATES)
        samples.append(Sample(at_ms, state, total % 65_536, None, reject, hold_ms=rng.choice([None, 600_000])))
    entries: list[Entry] = []
    for number in range(rng.randint(0, 4)):
        start_ms = START_MS + 60_000 * rng.randint(-30, 70)
        start, end = format_timestamp(start_ms), format_timestamp(start_ms + 60_000 * rng.randint(0, 60))
        reason = rng.choice(["mechanical/jam", *LEAVES])
        said = said_of(rng.choice(["scrap", "rework", "choose", "split", "order"]), rng.randint(-9, 30), reason, start, end)
        entered = format_timestamp(START_MS + 2 * HOUR_MS + number)
        entries.append(decode_entry(json.dumps({"id": f"e{number}", "timestamp": entered, "actor": "anna", **said}).encode()))
    return samples, entries


def said_of(kind: str, count: int, reason: str, start: str, end: str) -> dict[str, Any]:
    if kind in {"scrap", "rework"}:
        return {"kind": kind, "values": {"count": count, "start": start, "end": end}}
    if kind == "order":
        cycle = {"seconds": 1 + abs(count) / 10}
        return {"kind": "order", "values": {"action": "start", "order": f"o{count}", "at": start, "ideal_cycle": cycle}}
    return {"kind": "reason", "values": {"action": kind, "reason": reason, "start": start, "end": end}}


def explained(machine: Machine, calendar: LineCalendar, samples: list[Sample], entries: list[Entry]) -> Explanation:
    reasons = tuple(each for each in entries if isinstance(each, ReasonEntry))
    quality = tuple(each for each in entries if isinstance(each, ScrapEntry | ReworkEntry))
    until_ms = max((time_of(each).end_ms for each in quality), default=-1)
    orders = tuple(sorted((each for each in entries if isinstance(each, OrderEntry)), key=lambda each: time_of(each).start_ms))
    said = MachineEntries(orders=orders, reasons=reasons, quality=quality, quality_until_ms=until_ms)
    history = History(machine, calendar, START_MS - HOUR_MS, Seed(), said)
    for sample in samples:
        history.add(sample)

    def tell(sums: Sums) -> OeeDocument:
        return device_document(machine, sums, WINDOW, as_of_ms=WINDOW.end_ms, coverage_min=0.0, versions={})

    asked = Asked(WINDOW, [(WINDOW.start_ms, WINDOW.end_ms)])
    return explain(history, SamplesRead(samples, {}), asked, START_MS + 2 * HOUR_MS, tell)


@pytest.fixture
def calendar(make_calendar: Callable[..., LineCalendar]) -> LineCalendar:
    pause = {"start": "06:10", "end": "06:25"}
    return make_calendar({"early": {"start": "05:45", "end": "06:50", "breaks": [pause]}}, zone="UTC")


@FEW
@given(
    seed=st.integers(0, 1_000_000),
    policy=st.sampled_from(list(UnknownPolicy)),
    ideal_ns=st.sampled_from([10**9, 1_234_567_891, None]),
)
def test_what_is_listed_adds_up_to_the_document(
    make_machine: Callable[..., Machine],
    calendar: LineCalendar,
    seed: int,
    policy: UnknownPolicy,
    ideal_ns: int | None,
) -> None:
    samples, entries = past_of(seed)
    found = explained(make_machine(unknown=policy, ideal_ns=ideal_ns, reason_leaves=LEAVES), calendar, samples, entries)
    assert [check for check in found.checks if not check.agrees] == []
    edges = [edge for each in found.stretches for edge in (each.start_ms, each.end_ms)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (WINDOW.start_ms, WINDOW.end_ms)
    assert len(found.reasons) + len(found.corrections) <= len(entries)
    assert list(in_words(found, UTC))[-1].startswith("It adds up: 3600000 ms")
    told = told_of_machine(found, UTC)
    assert msgspec.json.decode(msgspec.json.encode(told), type=Explained) == told


def a_busy_hour(make_machine: Callable[..., Machine], make_calendar: Callable[..., LineCalendar]) -> Explanation:
    samples = [Sample(START_MS + at * 1000, 1.0, at, None, 0) for at in range(0, 3_601, 5)]
    return explained(make_machine(), make_calendar(zone="UTC"), samples, [])


def test_a_line_too_few_is_noticed(make_machine: Callable[..., Machine], make_calendar: Callable[..., LineCalendar]) -> None:
    found = a_busy_hour(make_machine, make_calendar)
    assert found.adds_up
    wrong = [each for each in checks(found.stretches[1:], (), found.counters, found.document) if not each.agrees]
    assert {each.name for each in wrong} >= {"ms.all", "ms.run", "parts.total", "ideal_ms", "good_ms"}


def test_a_published_document_with_other_figures_is_said(
    make_machine: Callable[..., Machine], make_calendar: Callable[..., LineCalendar]
) -> None:
    found = a_busy_hour(make_machine, make_calendar)
    published = msgspec.structs.replace(found.document, good_ms=found.document.good_ms - 1, revision=4)
    compared = against(found, published)
    assert not compared.adds_up
    assert f"good_ms is {published.good_ms + 1} by what is listed, {published.good_ms} in the document" in "\n".join(
        in_words(compared, UTC)
    )
    assert against(found, None) == found


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0 s"), (60_000, "1 min"), (3_600_000, "1 h"), (3_723_250, "1 h 2 min 3.25 s"), (1, "0.001 s"), (61_000, "1 min 1 s")],
)
def test_a_duration_is_exact(ms: int, words: str) -> None:
    assert duration(ms) == words


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (["CNC-99", "--window", "2025-10-15/early"], "no device 'CNC-99' with OEE in the plant model; there are: CNC-01"),
        (["CNC-01", "--window", "2025-10-15/nigth"], "no window '2025-10-15/nigth'; of 2025-10-15 there are: 2025-10-15/early"),
        (["CNC-01", "--window", "early"], "'early' names no window; a shift, an hour, a day or an order"),
        (["CNC-01", "--window", "2025-10-15/early", "--kind", "day"], "there are: 2025-10-15"),
        (["--line", "line9", "--window", "2025-10-15/early"], "no line 'line9' with OEE in the plant model; there are: line1"),
        (["--window", "2025-10-15/early"], "say whose figures: a device, or --line LINE"),
        (["CNC-01", "--line", "line2", "--window", "2025-10-15/early"], "CNC-01 is in line1; leave --line out"),
        (["CNC-01"], "say which window, as 2025-10-15/early, or from and to"),
        (["CNC-01", "--from", "2025-10-15T06:00:00Z", "--to", "2025-10-15T06:00:00Z"], "is not after from"),
        (["CNC-01", "--from", "2025-10-01T06:00:00Z", "--to", "2025-10-15T06:00:00Z"], "longer than two days"),
        (["CNC-01", "--window", "2025-10-15/early"], "has no readings in 2025-10-15/early"),
    ],
)
def test_a_mistake_is_answered_with_the_way_out(
    plant_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str], asked: list[str], answer: str
) -> None:
    folder = plant_folder(shifts={"early": {"start": "06:00", "end": "14:00"}})
    nothing = folder / "events.jsonl"
    nothing.write_text("")
    assert oee.main(["explain", "--config", str(folder), "--file", str(nothing), "--now", "2025-11-01T00:00:00Z", *asked]) == 2
    assert answer in capsys.readouterr().err


def test_a_database_that_is_away_is_said(
    plant_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_INFLUX_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MILLRACE_INFLUX_TOKEN", "t")
    folder = plant_folder(shifts={"early": {"start": "06:00", "end": "14:00"}})
    assert oee.main(["explain", "CNC-01", "--config", str(folder), "--window", "2025-10-15/early"]) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
