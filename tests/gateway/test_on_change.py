from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from millrace_contract.plant import RegisterSignal
from millrace_gateway.decoder import Snapshot
from millrace_gateway.on_change import ChangeFilter


def signal(name: str, **more: Any) -> RegisterSignal:
    return RegisterSignal.model_validate({"name": name, "address": 0, "type": "float32", **more})


def changes() -> ChangeFilter:
    rule = {"deadband": 0.5, "heartbeat_s": 60}
    return ChangeFilter([signal("temperature", on_change=rule), signal("speed"), signal("mode", on_change={"heartbeat_s": 60})])


def read(**readings: float | str) -> Snapshot:
    return Snapshot(readings=dict(readings))


def test_a_signal_within_its_deadband_is_no_news_and_others_always_are() -> None:
    filtered = changes()
    for at, temperature, reported in ((0, 20.0, True), (1, 20.5, False), (2, 20.51, True), (3, 20.1, False), (4, 20.0, True)):
        news = filtered.news(read(temperature=temperature, speed=7), at)
        assert news is not None
        assert news.readings == ({"temperature": temperature, "speed": 7} if reported else {"speed": 7})


def test_slow_drift_is_seen_because_it_is_measured_from_the_last_report() -> None:
    filtered = changes()
    news = [filtered.news(read(temperature=20 + 0.1 * step), step) for step in range(13)]
    assert [step for step, each in enumerate(news) if each is not None] == [0, 6, 12]


def test_the_heartbeat_reports_what_has_not_moved() -> None:
    filtered = changes()
    assert filtered.news(read(temperature=20.0), 0) is not None
    assert filtered.news(read(temperature=20.0), 59) is None
    assert filtered.news(read(temperature=20.0), 59.98) is not None
    assert filtered.news(read(temperature=20.0), 61) is None


def test_quality_is_news_when_it_changes() -> None:
    filtered = changes()
    bad = Snapshot(quality={"temperature": "bad"}, reasons={"temperature": "why"})
    assert filtered.news(read(temperature=20.0), 0) is not None
    first = filtered.news(Snapshot(quality={"temperature": "bad"}), 1)
    assert first is not None
    assert first.quality == {"temperature": "bad"}
    assert filtered.news(bad, 2) is None
    assert bad.reasons == {}
    again = filtered.news(read(temperature=20.0), 3)
    assert again is not None
    assert again.readings == {"temperature": 20.0}


def test_text_is_news_when_it_differs() -> None:
    filtered = changes()
    assert [filtered.news(read(mode=text), at) is not None for at, text in enumerate("aab")] == [True, False, True]


def test_after_forgetting_everything_is_news() -> None:
    filtered = changes()
    assert filtered.news(read(temperature=20.0), 0) is not None
    filtered.forget()
    assert filtered.news(read(temperature=20.0), 1) is not None


def test_a_signal_of_another_group_keeps_its_last_report() -> None:
    filtered = changes()
    assert filtered.news(read(temperature=20.0), 0) is not None
    assert filtered.news(read(speed=1), 1) is not None
    assert filtered.news(read(temperature=20.1), 2) is None


@pytest.mark.parametrize("exempt", [{"counter": {"max_rate_per_s": 5}}, {"values": {0: "stopped"}}])
def test_counters_and_states_are_exempt(exempt: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="OEE needs every reading"):
        signal("parts", on_change={}, **exempt)
