"""Orders and products: each part meets the ideal time of the order in force when it was made (oee.md A12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.entries import OrderEntry, decode_entry
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_oee.entries import time_of
from millrace_oee.order_windows import order_spans
from millrace_oee.orders import RunningOrder, order_changes, orders_over
from millrace_oee.plan import load_plan

from .test_valid_from import START_MS, replayed

MINUTE_MS = 60_000
SLOW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entry(action: str, order: str, minute: int, number: int = 1, version: int = 1, **values: Any) -> dict[str, Any]:
    at = format_timestamp(START_MS + minute * MINUTE_MS)
    return {
        "id": f"o{number}",
        "kind": "order",
        "version": version,
        "timestamp": format_timestamp(START_MS + (1_000 + number) * MINUTE_MS),
        "values": {"action": action, "order": order, "at": at, **values},
    }


def in_order(*entries: dict[str, Any]) -> list[OrderEntry]:
    decoded = [decode_entry(json.dumps(each).encode()) for each in entries]
    return sorted((each for each in decoded if isinstance(each, OrderEntry)), key=lambda each: time_of(each).start_ms)


def over(entries: list[OrderEntry], from_minute: int, to_minute: int) -> list[tuple[int, int, str | None]]:
    found = orders_over(entries, START_MS + from_minute * MINUTE_MS, START_MS + to_minute * MINUTE_MS)
    return [
        ((a - START_MS) // MINUTE_MS, (b - START_MS) // MINUTE_MS, None if order is None else order.order) for a, b, order in found
    ]


class TestOrderInForce:
    def test_a_start_takes_the_order_before_out_of_force(self) -> None:
        entries = in_order(entry("start", "A", 10), entry("start", "B", 20, 2), entry("end", "A", 30, 3))
        assert over(entries, 0, 60) == [(0, 10, None), (10, 20, "A"), (20, 60, "B")]

    def test_an_order_that_is_paused_goes_on_with_its_product(self) -> None:
        entries = in_order(
            entry("start", "A", 0, product="small"),
            entry("pause", "A", 10, 2),
            entry("start", "B", 20, 3),
            entry("end", "B", 30, 4),
            entry("resume", "A", 40, 5),
        )
        assert over(entries, 0, 60) == [(0, 10, "A"), (10, 20, None), (20, 30, "B"), (30, 40, None), (40, 60, "A")]
        assert orders_over(entries, START_MS + 50 * MINUTE_MS, START_MS + 60 * MINUTE_MS)[0][2] == RunningOrder("A", "small")

    def test_an_end_and_a_start_at_one_instant_mean_the_same_in_either_order(self) -> None:
        start_a, end_a, start_b = entry("start", "A", 0), entry("end", "A", 10, 2), entry("start", "B", 10, 3)
        assert over(in_order(start_a, end_a, start_b), 0, 20) == over(in_order(start_a, start_b, end_a), 0, 20)

    def test_a_window_is_covered_from_end_to_end(self) -> None:
        entries = in_order(entry("start", "A", 10), entry("end", "A", 20, 2))
        assert over(entries, 12, 15) == [(12, 15, "A")]
        assert over(entries, 20, 25) == [(20, 25, None)]
        assert over([], 0, 5) == [(0, 5, None)]

    def test_a_cycle_of_several_parts_is_a_rate(self) -> None:
        entries = in_order(entry("start", "A", 0, ideal_cycle={"parts": 3, "seconds": 10}))
        assert orders_over(entries, START_MS, START_MS + 1)[0][2] == RunningOrder("A", None, 3_333_333_333)


said = st.lists(
    st.tuples(
        st.sampled_from(["start", "start", "pause", "resume", "end"]),
        st.sampled_from(["A", "B", "C"]),
        st.integers(-60, 500),
        st.sampled_from([None, "small", "twin", "nobody-knows"]),
    ),
    max_size=12,
)


def _events(entries: list[dict[str, Any]]) -> list[str]:
    topic = "factory/line1/CNC-01/context/event"
    numbered = ({**each, "stream": "alerts-1.x", "seq": n, "prev": n - 1 or None} for n, each in enumerate(entries, start=1))
    return [json.dumps({"topic": topic, "payload": each}) for each in numbered]


def _running() -> list[str]:
    """Eight hours, a part every two seconds but for a stop of 20 minutes, read each minute."""
    events = []
    for minute in range(485):
        stands = 100 <= minute < 120
        parts = 30 * (minute if minute < 100 else max(100, minute - 20))
        payload = {
            "timestamp": format_timestamp(START_MS + minute * MINUTE_MS),
            "readings": {"run_status": 2 if stands else 1, "cycle_count": parts % 65536, "defect_count": parts // 50},
            "stream": "edge-1.r",
            "seq": minute + 1,
            "hold_s": 90,
        }
        events.append(json.dumps({"topic": "factory/line1/CNC-01/telemetry", "payload": payload}))
    return events


def _with_products(folder: Path, small_s: float = 1.5) -> Path:
    cycles = {"small": {"ideal_cycle_s": small_s}, "twin": {"ideal_cycle_s": 2.0, "parts": 2}}
    products = {name: {"machines": {"CNC-01": cycle}} for name, cycle in cycles.items()}
    (folder / "products.yaml").write_text(yaml.safe_dump({"products": products}))
    return folder


def _entries(history: list[tuple[str, str, int, str | None]]) -> list[dict[str, Any]]:
    found = []
    for number, (action, order, minute, product) in enumerate(history):
        each = entry(action, order, minute, number)
        if product and action == "start":
            each["values"]["product"] = product
        found.append(each)
    return found


@pytest.mark.long
@SLOW
@given(history=said, shuffled=st.randoms())
def test_in_whatever_order_and_how_often_entries_come_the_figures_are_the_same(  # P3, P4
    plant_folder: Callable[..., Path], history: list[tuple[str, str, int, str | None]], shuffled: Any
) -> None:
    config = _with_products(plant_folder({"CNC-01": 2.0}, shifts={"day": {"start": "06:00", "end": "14:00"}}))
    events = [*_running(), *_events(_entries(history))]
    first = replayed(config, events)
    events += shuffled.choices(events, k=20)
    shuffled.shuffle(events)
    assert replayed(config, events) == first
    hours = [each for each in first if each["window"]["kind"] == "hour" and each.get("device_id")]
    [shift] = [each for each in first if each["window"]["kind"] == "shift" and each.get("device_id")]
    assert sum(each["ideal_ms"] for each in hours) == shift["ideal_ms"]  # P5
    for each in [*hours, shift]:
        by_product = each.get("products", [])
        for key in ("total", "good", "scrap", "rework") if by_product else ():
            assert sum(product[key] for product in by_product) == each["parts"][key], each["window"]
    spans = order_changes(in_order(*_entries(history)))
    for each in first:
        if each["window"]["kind"] == "order" and each.get("device_id") and each["final"]:
            own_ms = sum(b - a for a, b in order_spans(spans, each["window"]["id"], START_MS + 2_000 * MINUTE_MS))
            assert each["ms"]["all"] == own_ms


@pytest.mark.long
@SLOW
@given(history=said, small_s=st.sampled_from([0.5, 1.0, 3.0]))
def test_another_ideal_cycle_leaves_availability_and_parts(  # P9
    plant_folder: Callable[..., Path], history: list[tuple[str, str, int, str | None]], small_s: float
) -> None:
    events = [*_running(), *_events(_entries(history))]
    plain = replayed(_with_products(plant_folder({"CNC-01": 2.0}, name="one")), events)
    other = replayed(_with_products(plant_folder({"CNC-01": 2.0}, name="other"), small_s), events)
    for one, two in zip(plain, other, strict=True):
        assert (one["availability"], one["parts"], one["ms"]) == (two["availability"], two["parts"], two["ms"])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "CNC-01",
            "CNC-1",
            "products.yaml:4: products.small.machines.CNC-1: no device 'CNC-1' (did you mean CNC-01?) in plant.yaml",
        ),
        ("1.5", "0.1", "products.small.machines.CNC-01.ideal_cycle_s: a part every 0.1 s is faster than cycle_count may count"),
        ("1.5", "1.5, parts: 8", "a part every 0.1875 s is faster than cycle_count may count in profile test-cnc"),
        ("1.5", "1.5, changes: [{valid_from: 2025-10-15, parts: 2}, {valid_from: 2025-10-15, parts: 3}]", "stands twice"),
        ("1.5", "-1", "is not allowed"),
        ("products:", "product:", "product: is not a key here (did you mean products?)"),
    ],
)
def test_a_mistake_in_products_is_named_with_its_place(
    plant_folder: Callable[..., Path], old: str, new: str, expected: str
) -> None:
    folder = plant_folder()
    text = "products:\n  small:\n    machines:\n      CNC-01: {ideal_cycle_s: 1.5}\n"
    (folder / "products.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigurationProblems) as refused:
        load_plan(folder)
    assert expected in str(refused.value)


def test_a_new_cycle_of_a_product_counts_from_its_date_on(plant_folder: Callable[..., Path]) -> None:
    folder = plant_folder()
    change = {"valid_from": "2025-10-15 12:00", "parts": 2}
    product = {"machines": {"CNC-01": {"ideal_cycle_s": 1.5, "changes": [change]}}}
    (folder / "products.yaml").write_text(yaml.safe_dump({"products": {"small": product}}))
    machine, order = load_plan(folder).machines["CNC-01"], RunningOrder("A", "small")
    assert machine.at(parse_timestamp("2025-10-15T11:59:59Z")).part_ns(order) == 1_500_000_000
    assert machine.at(parse_timestamp("2025-10-15T12:00:00Z")).part_ns(order) == 750_000_000
    assert machine.part_ns(RunningOrder("A", "another")) == machine.ideal_ns
