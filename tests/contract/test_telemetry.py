"""Telemetry: one corpus proves that the JSON Schema and the decoder agree; values come back as the database returns them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.errors import Malformed
from millrace_contract.language import schemas
from millrace_contract.language.telemetry import canonical, decode_telemetry, encode_telemetry

CORPUS = Path(__file__).parent / "corpus"
NOW_MS = 1_800_000_000_000
GOOD = [json.loads(line) for line in (CORPUS / "good.jsonl").read_text().splitlines()]
BAD = [json.loads(line) for line in (CORPUS / "bad.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schemas.schema("telemetry"))


@pytest.mark.parametrize("message", GOOD)
def test_good_messages_pass_schema_and_decoder(message: Any, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(message)
    decode_telemetry(json.dumps(message).encode(), NOW_MS)


@pytest.mark.parametrize(("code", "message"), BAD)
def test_bad_messages_fail_schema_and_decoder(code: str, message: Any, validator: jsonschema.Draft202012Validator) -> None:
    with pytest.raises(Malformed) as refused:
        decode_telemetry(json.dumps(message).encode(), NOW_MS)
    assert refused.value.code == code
    # A missing zone is allowed by the pattern, so that the decoder can say it in words; everything else fails both.
    if message and (message.get("timestamp") if isinstance(message, dict) else None) != "2025-10-15T13:45:02":
        assert not validator.is_valid(message)


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        ("not_json", b"hello"),
        ("not_json", b'{"timestamp":"2025-10-15T13:45:02Z","readings":{"a":"NaN}}'),
        ("sensor", b'{"timestamp":"2025-10-15T13:45:02Z","refused":"tele/x: the message is empty","payload":""}'),
        ("not_json", b'{"timestamp":"2025-10-15T13:45:02Z","readings":{"a\xff":1}}'),
        ("schema", b'{"timestamp":"2025-10-15T13:45:02Z","readings":{"a":1e999}}'),
        ("too_large", b" " * 1_000_000),
        ("future", b'{"timestamp":"2099-10-15T13:45:02Z","readings":{"a":1}}'),
        ("past", b'{"timestamp":"1999-10-15T13:45:02Z","readings":{"a":1}}'),
        ("device", b'{"device_id":"X","timestamp":"2025-10-15T13:45:02Z","readings":{"a":1}}'),
    ],
)
def test_what_json_schema_cannot_say_is_refused_with_its_reason(code: str, payload: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        decode_telemetry(payload, NOW_MS, device="CNC-01")
    assert refused.value.code == code
    assert refused.value.reason


@pytest.mark.parametrize("nothing", ["null", "NaN", "nan", "-nan", "Infinity", "-inf"])
def test_what_is_no_number_costs_only_its_own_reading(nothing: str) -> None:
    text = '{"timestamp":"2025-10-15T13:45:02Z","readings":{"a":%s,"b":1.5,"nan":"inf \\" NaN"}}' % nothing  # noqa: UP031
    message = decode_telemetry(text.encode(), NOW_MS)
    assert message.readings == {"b": 1.5, "nan": 'inf " NaN'}
    assert message.quality == {"a": "bad"}


@pytest.mark.parametrize(
    ("message", "way_out"),
    [
        ({"timestamp": 1760535902, "readings": {"a": 1}}, "the timestamp must be text like 2026-03-01T12:00:00Z"),
        ({"readings": {"a": 1}}, "the timestamp must be text like 2026-03-01T12:00:00Z"),
        ({"timestamp": "2025-10-15T13:45:02Z", "readings": [1]}, "readings must be an object of numbers, booleans or texts"),
        ({"timestamp": "2025-10-15T13:45:02Z"}, 'they stand by signal, as {"temperature": 68.7}'),
    ],
)
def test_a_refusal_says_what_to_change(message: Any, way_out: str) -> None:
    with pytest.raises(Malformed) as refused:
        decode_telemetry(json.dumps(message).encode(), NOW_MS)
    assert way_out in refused.value.reason


def test_the_articles_form_is_one_reading() -> None:
    message = decode_telemetry(json.dumps(GOOD[5]).encode(), NOW_MS)
    assert message.readings == {"spindle_temperature": 68.7}
    assert message.tags == {"station": "ST3", "asset_class": "motor"}


def test_unknown_keys_are_named() -> None:
    assert decode_telemetry(json.dumps(GOOD[7]).encode(), NOW_MS).unknown_keys == {"an unknown key"}
    assert decode_telemetry(json.dumps(GOOD[0]).encode(), NOW_MS).unknown_keys == frozenset()


def test_generated_schemas_are_committed(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    committed = Path(__file__).parents[2] / "docs" / "schemas"
    for path in tmp_path.iterdir():
        assert (committed / path.name).read_text() == path.read_text(), "run: make schemas"


@given(
    readings=st.dictionaries(
        st.from_regex(r"\A[a-z][a-z0-9]{0,20}\Z"),
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**64 - 1), st.booleans(), st.text(max_size=50)
        ),
        max_size=8,
    ),
    timestamp_ms=st.integers(946_684_800_000, NOW_MS),
    seq=st.integers(0, 2**53),
)
def test_encode_then_decode_gives_canonical_readings(readings: dict[str, Any], timestamp_ms: int, seq: int) -> None:
    readings = {name: value for name, value in readings.items() if name != "time"}
    payload = encode_telemetry(
        device_id="D", timestamp_ms=timestamp_ms, readings=readings, quality={}, tags={}, stream="g-1.ab", seq=seq, prev=None
    )
    message = decode_telemetry(payload, NOW_MS, "D")
    assert message.timestamp_ms == timestamp_ms
    assert message.readings == {name: canonical(value) for name, value in readings.items()}
    assert (message.stream, message.seq) == ("g-1.ab", seq)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_reading(value: float) -> None:
    with pytest.raises(ValueError, match="not a number"):
        canonical(value)
