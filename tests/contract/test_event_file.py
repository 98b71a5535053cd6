"""Event files: what a line may be, byte for byte; what is wrong with one in words; files as they come from disks and editors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.errors import CannotStart
from millrace_contract.language.event_file import MAX_LINE_BYTES, ArrivalClock, BrokenLine, Event, encode_event, read_line
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.runtime.recording import Recording

NOON_MS = parse_timestamp("2025-10-15T12:00:00Z")
payloads = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=30).map(str.encode),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.long
@given(topic=st.text(min_size=1, max_size=20), payload=payloads, late_ms=st.integers(0, 10**9), retained=st.booleans())
def test_any_message_comes_back_byte_for_byte(topic: str, payload: bytes, late_ms: int, retained: bool) -> None:
    line = encode_event(topic, payload, NOON_MS + late_ms, retained=retained)
    assert line.count(b"\n") == 1
    assert read_line(line, 3, 99) == Event(3, 99, topic, payload, NOON_MS + late_ms, retained)


@pytest.mark.parametrize(
    ("payload", "stands_as"),
    [
        (b'{"a": 1,  "b": [2]}', b'"payload":{"a": 1,  "b": [2]}'),
        (b"21.5", b'"payload":"21.5"'),
        (b"", b'"payload":""'),
        (b'"quoted"', b'"payload":"\\"quoted\\""'),
        (b'{"a":\n1}', b'"payload":"{\\"a\\":\\n1}"'),
        (b"{broken}", b'"payload":"{broken}"'),
        (b"\xff\x00", b'"payload_base64":"/wA="'),
    ],
)
def test_a_recorded_message_stands_as_json_as_text_or_as_bytes(payload: bytes, stands_as: bytes) -> None:
    assert stands_as in encode_event("t", payload, NOON_MS)


@pytest.mark.long
def test_no_message_that_the_broker_lets_through_is_too_long_for_a_line() -> None:
    for payload in (b"\x00" * 2_000_000, b"\xff" * 2_000_000, b"[" + b"1," * 999_999 + b"1]"):
        line = encode_event("t", payload, NOON_MS)
        assert len(line) <= MAX_LINE_BYTES
        found = read_line(line, 1, 1)
        assert isinstance(found, Event)
        assert found.payload == payload


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 7 is no"),
        ('{"topic": "a"}', "has no payload"),
        ('{"payload": {}}', "missing required field `topic`"),
        ('{"topic": "", "payload": {}}', "length >= 1"),
        ('{"topic": 1, "payload": {}}', "`$.topic`"),
        ('{"topic": "a", "payload": {"a": 1', "truncated"),
        ('{"topic": "a", "payload": ' + "[" * 9999 + "]" * 9999 + "}", "recursion"),
        ('{"topic": "a", "payload": "\\ud800"}', "line 7 is no"),
        ('{"topic": "a", "payload_base64": "*"}', "line 7 is no"),
        ('{"topic": "a", "payload": {}, "received": "yesterday"}', "is not of the form"),
        ('{"topic": "a", "payload": "' + "x" * MAX_LINE_BYTES + '"}', "longer than 4 MiB"),
        ("[]", "got `array`"),
    ],
)
def test_a_line_that_is_no_event_is_told_in_words(line: str, words: str) -> None:
    found = read_line(line.encode(), 7, 0)
    assert isinstance(found, BrokenLine)
    assert words in str(found)
    assert len(str(found)) < 300


def test_empty_lines_and_what_editors_add_are_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "plant.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"topic": "a", "payload": {}}\r\n\r\n  \n{"topic": "b", "payload": "", "more": 1}')
    recording = Recording(path)
    assert [(event.topic, event.payload, event.line) for event in recording.events()] == [("a", b"{}", 1), ("b", b"", 4)]
    assert recording.report({}) == 0


def test_a_file_goes_on_behind_the_place_where_reading_stopped_packed_or_not(tmp_path: Path) -> None:
    lines = [encode_event(f"t/{n}", b"{}", NOON_MS) for n in range(4)]
    lines.insert(2, b"no event\n")
    plain, packed = tmp_path / "plant.jsonl", tmp_path / "plant.jsonl.gz"
    plain.write_bytes(b"".join(lines))
    packed.write_bytes(gzip.compress(b"".join(lines)))
    for path in (plain, packed):
        events = list(Recording(path).events())
        assert [event.line for event in events] == [1, 2, 4, 5]
        again = Recording(path)
        assert list(again.events(events[1].end_offset)) == events[2:]
        assert again.broken == 1
        assert list(Recording(path).events(events[-1].end_offset)) == []


def test_a_packed_file_that_ends_too_early_gives_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = b"".join(encode_event(f"t/{n}", str(n * 7919).encode(), NOON_MS + n * 997) for n in range(2000))
    path = tmp_path / "plant.jsonl.gz"
    path.write_bytes(gzip.compress(content)[:-4000])
    recording = Recording(path)
    assert 0 < len(list(recording.events())) < 2000
    assert recording.report({}) == 1
    assert "the packed file is damaged" in capsys.readouterr().err


def test_a_line_without_end_is_read_in_pieces_and_only_it_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "plant.jsonl"
    with path.open("wb") as file:
        file.write(encode_event("before", b"{}", NOON_MS))
        file.write(b"x" * (MAX_LINE_BYTES * 3) + b"\n")
        file.write(encode_event("after", b"{}", NOON_MS))
    recording = Recording(path)
    events = list(recording.events())
    assert [(event.topic, event.line) for event in events] == [("before", 1), ("after", 3)]
    assert (recording.broken, events[-1].end_offset) == (1, path.stat().st_size)


@pytest.mark.parametrize("as_json", [False, True])
def test_many_broken_lines_are_counted_and_the_first_of_them_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    path = tmp_path / "plant.jsonl"
    path.write_text("no\n" * 1000)
    recording = Recording(path)
    assert list(recording.events()) == []
    assert recording.report({"not_json": 1, "no_oee": 2}, as_json=as_json) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 20 + 1 + 2
    if as_json:
        assert {"file": str(path), "broken_lines": 1000} in map(json.loads, said)
    else:
        assert said[0].startswith(f"{path}: line 1 is no ")
        assert said[-3:] == [
            f"{path}: 1000 lines left out; everything else was used",
            f"{path}: 2 messages ignored: no_oee",
            f"{path}: 1 message ignored: not_json",
        ]


def test_a_dash_is_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plant.jsonl.gz"
    path.write_bytes(gzip.compress(encode_event("a", b"{}", NOON_MS) + b"no\n"))
    with path.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        recording = Recording(Path("-"))
        assert [event.topic for event in recording.events()] == ["a"]
        assert recording.broken == 1


def test_a_file_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(CannotStart, match="cannot be read"):
            list(Recording(path).events())


def _event(told_ms: int | None, received_ms: int | None = None) -> Event:
    payload = b"{}" if told_ms is None else json.dumps({"timestamp": format_timestamp(told_ms)}).encode()
    return Event(1, 1, "t", payload, received_ms)


def test_an_event_arrived_when_the_file_says_or_with_the_newest_time_that_messages_tell() -> None:
    clock = ArrivalClock(NOON_MS)
    assert clock.hear(_event(None)) == 0
    assert clock.hear(_event(1_000)) == 1_000
    assert clock.hear(_event(500)) == 1_000
    assert clock.hear(_event(500, received_ms=9_000)) == 9_000
    assert (clock.now_ms, clock.told_ms) == (9_000, 1_000)
    assert clock.hear(_event(2_000)) == 9_000
    assert clock.hear(_event(NOON_MS + 60_001)) == 9_000, "what lies in the future moves no clock"
    assert clock.hear(_event(NOON_MS, received_ms=10_000)) == 10_000
    assert clock.told_ms == 2_000, "nor what lay in the future when it arrived"
