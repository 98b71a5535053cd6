"""What was written as a point is read back as the message that it was: from the lines themselves, and from a real database."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.errors import Malformed
from millrace_contract.language.field_names import quality_field, text_field
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.stored_points import message_fields, reading_fields, stored_messages
from millrace_contract.language.telemetry import Telemetry, decode_telemetry, encode_telemetry
from millrace_contract.language.words import Quality
from millrace_contract.runtime.influx import Influx, quoted
from millrace_contract.testing import Influxd

NOW_MS = int(time.time()) * 1000
NAME = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12) | st.sampled_from(
    ["text", "quality", "a,b=c", "with space", 'quo"te', "textual", "x_1", "hold_ms", "seq"]
)
VALUE = st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=12)


@st.composite
def messages(draw: st.DrawFn) -> Telemetry:
    """Any message that the contract lets in, as its function decodes it."""
    stream = draw(st.none() | st.sampled_from(["edge-1.8f3c", "edge-1.8f3c+2"]))
    seq = None if stream is None else draw(st.integers(1, 2**53))
    payload = encode_telemetry(
        device_id="D-1",
        timestamp_ms=NOW_MS - draw(st.integers(0, 3_600_000)),
        readings=draw(st.dictionaries(NAME, VALUE, max_size=5)),
        quality=draw(st.dictionaries(NAME, st.sampled_from(Quality), max_size=3)),
        tags=draw(st.dictionaries(st.sampled_from(["hall", "a b"]), st.sampled_from(["1", "x=y, z"]))),
        stream=stream,
        seq=seq,
        prev=None if seq is None else draw(st.none() | st.integers(0, seq - 1)),
        hold_s=draw(st.none() | st.sampled_from([0.5, 12.0, 600.0])),
        unreachable=draw(st.booleans()),
    )
    try:
        return decode_telemetry(payload, NOW_MS, "D-1")
    except Malformed:
        return draw(st.nothing())  # A name that the contract refuses.


def what_is_stored(message: Telemetry) -> Telemetry:
    """What the database keeps of a message (stored_points.py says what it does not)."""
    return msgspec.structs.replace(message, tags={}, device_id=None, backfill=False, unknown_keys=frozenset())


@given(message=messages())
def test_any_message_comes_back_from_its_line(message: Telemetry) -> None:
    columns, row = _parsed(telemetry_line("m", "line1", "D-1", message))
    assert list(stored_messages(columns, [row])) == [what_is_stored(message)]


@pytest.mark.influx
def test_messages_come_back_from_the_database(shared_influxd: Influxd) -> None:
    names = ["plain", "a,b=c", 'quo"te', "back\\slash", "x_1"]
    sent = [
        Telemetry(
            timestamp_ms=NOW_MS + number,
            readings={name: float(number) / 3 for name in names[:number]} | ({"label": 'x "y" \\ ü'} if number == 2 else {}),
            quality={names[number]: Quality.BAD, "plain": Quality.UNCERTAIN} if number % 2 else {},
            tags={"hall": "1"},
            stream=None if number == 3 else "g-1.ab+1",
            seq=None if number == 3 else 2**53 - number,
            prev=7 if number == 4 else None,
            hold_ms=1500 if number else None,
            unreachable=number == 3,
        )
        for number in range(5)
    ]
    signals = sorted({signal for message in sent for signal in {**message.readings, **message.quality}})
    with Influx(shared_influxd.settings()) as influx:
        influx.write(TELEMETRY_BUCKET, b"\n".join(telemetry_line("stored points", "line1", "D-1", each) for each in sent))
        for fields in ("*::field", ", ".join(map(quoted, message_fields(signals)))):
            (series,) = influx.query(TELEMETRY_BUCKET, f'SELECT {fields} FROM "stored points"')
            assert list(stored_messages(series.columns, series.rows)) == [what_is_stored(each) for each in sent]


def test_a_quality_of_a_newer_version_is_not_good() -> None:
    [message] = stored_messages(("time", "t", quality_field("t")), [[1, 2.0, "estimated"]])
    assert message.quality == {"t": Quality.UNCERTAIN}


def test_each_signal_is_asked_for_once() -> None:
    assert reading_fields(["a", "b", "a"]) == ["a", text_field("a"), quality_field("a"), "b", text_field("b"), quality_field("b")]


def _parsed(line: bytes) -> tuple[list[str], list[Any]]:
    """Columns and row that the database would answer: line protocol taken apart, by its own rules of escaping."""
    head, _, time_ns = line.decode().rpartition(" ")
    fields = re.split(r"(?<!\\) ", head, maxsplit=1)[1]
    columns: list[str] = ["time"]
    row: list[Any] = [int(time_ns) // 1_000_000]
    for name, text, number in re.findall(r'((?:\\.|[^\\,= ])+)=(?:"((?:\\.|[^"\\])*)"|([^,]+))(?:,|$)', fields, re.DOTALL):
        columns.append(re.sub(r"\\([,= ])", r"\1", name))
        row.append(float(number) if number else re.sub(r'\\(["\\])', r"\1", text))
    return columns, row
