"""Whatever a sensor sends, and whatever its profile says, a message becomes readings, bad ones, or a refusal in words."""

from __future__ import annotations

import json
import math
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.plant import Device, Profile
from millrace_gateway.sensors.payload import Unreadable
from millrace_gateway.sensors.reader import MessageReader, SensorMessage
from millrace_gateway.sensors.times import NoTime, measured_at

NOW_MS = 1_760_000_000_000
TOPIC = "s"
SIGNALS: dict[str, dict[str, Any]] = {
    "plain": {"path": "v"},
    "scaled": {"path": "v", "scale": 1e29, "offset": -0.1},
    "divided": {"path": "v", "divisor": 3},
    "limited": {"path": "v", "minimum": -5, "maximum": 5, "invalid": [4]},
    "bit": {"path": "v", "type": "bool", "words": {"ON": 1, "OFF": 0}},
    "words": {"path": "v", "words": {"ON": 7}},
    "text": {"path": "v", "type": "text"},
    "second": {"path": "v.1"},
}


def reader(signals: dict[str, dict[str, Any]] = SIGNALS, **form: Any) -> MessageReader:
    facts = {"name": "p", "title": "p", "source": "t", "verified": "t", "groups": {"g": {"interval_s": 1}}}
    profile = Profile.model_validate({**facts, "message": form, "signals": signals})
    connection = {"transport": "mqtt", "topic": TOPIC}
    device = Device.model_validate({"id": "S-1", "line": "line1", "profile": "p", "connection": connection})
    return MessageReader(device, profile, ZoneInfo("Europe/Berlin"))


def read(value: Any, signal: dict[str, Any]) -> SensorMessage:
    return reader({"it": {"path": "v", **signal}}).read(TOPIC, json.dumps({"v": value}).encode(), NOW_MS)


TEXTS = st.text(max_size=30) | st.sampled_from(["1e999", "-5", "9" * 5000, "0x10", "1_000", "٣", " 7 ", ".5", "5.", "+", "NaN"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**299, 10**310, -(10**400), 2**63, 2**64, 1e308, 5e-324])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ALL = reader(time="at", time_zone="plant", quality="q")


@given(value=VALUES, at=VALUES, quality=VALUES)
def test_any_json_is_read_or_refused_in_words(value: Any, at: Any, quality: Any) -> None:
    payload = json.dumps({"v": value, "at": at, "q": quality}).encode()
    try:
        message = ALL.read(TOPIC, payload, NOW_MS)
    except Unreadable:
        return
    for reading in message.snapshot.readings.values():
        assert isinstance(reading, str) or math.isfinite(reading)
    assert message.snapshot.quality.keys() <= SIGNALS.keys()
    assert message.own_ms is None or message.own_ms <= NOW_MS + 60_000


@given(payload=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_words(payload: bytes) -> None:
    try:
        message = reader({"it": {"path": "."}}).read(TOPIC, payload, NOW_MS)
    except Unreadable:
        return
    assert message.raw.keys() == {"it"}


@pytest.mark.parametrize(
    ("value", "signal", "reading"),
    [
        (2301, {"scale": 0.1}, 230.1),
        ("2301", {"scale": 0.1}, 230.1),
        ("-4.5", {}, -4.5),
        (True, {"type": "bool"}, 1),
        (0, {"type": "bool"}, 0),
        ("ON", {"type": "bool", "words": {"ON": 1}}, 1),
        ("idle", {"words": {"idle": 3}}, 3),
        ("V1.2", {"type": "text"}, "V1.2"),
        (1.25, {"type": "text"}, "1.25"),
    ],
)
def test_a_value_becomes_the_reading_of_its_signal(value: Any, signal: dict[str, Any], reading: float | str) -> None:
    assert read(value, signal).snapshot.readings == {"it": reading}


@pytest.mark.parametrize(
    ("value", "signal", "reason"),
    [
        (None, {}, "v: the message holds null, which is no value"),
        ("21,5", {}, "v: '21,5' is no number"),
        ("9" * 5000, {}, "is no number that can be stored"),
        (True, {}, "v: true is no number: a profile says type: bool for it"),
        (-127, {"invalid": [-127]}, "v: the message holds -127, the device's mark for no value"),
        ("open", {"words": {"idle": 3}}, "v: 'open' is none of its words: idle"),
        (2, {"type": "bool"}, "v: 2 is no bool: true, false, 0 or 1, or a text of `words`"),
        (10**299, {"scale": 1e29}, "v: the value times its scale is no number that can be stored"),
        ("", {"type": "text"}, "v: the message holds an empty text"),
        ("x" * 1025, {"type": "text"}, "v: a text of 1025 bytes; at most 1024 are a reading"),
        ({"a": 1}, {}, 'v: {"a":1} is no number'),
    ],
)
def test_what_is_no_value_is_bad_and_says_why(value: Any, signal: dict[str, Any], reason: str) -> None:
    snapshot = read(value, signal).snapshot
    assert (snapshot.readings, snapshot.quality) == ({}, {"it": "bad"})
    assert reason in snapshot.reasons["it"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "no time in seconds or milliseconds since 1970"),
        (True, "must be text like 2026-03-01T12:00:00Z, not true"),
        ("2025-10-09T08:53:20", "has no zone: write time_zone into the profile, or end it in Z"),
        ("2025-02-30T08:53:20Z", "is no real date and time"),
        ("2025-10-09T10:53:20Z", "7200 s ahead of this computer's clock"),
        ("1970-01-01T00:00:09Z", "is before 2000: the sensor's clock is not set"),
    ],
)
def test_a_time_that_cannot_be_believed_says_what_to_do(value: Any, reason: str) -> None:
    with pytest.raises(NoTime) as refused:
        measured_at(value, None, NOW_MS)
    assert reason in str(refused.value)
