"""Timestamps: other offsets become UTC, digits beyond milliseconds are cut, and what is no time is said in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.language.times import format_timestamp, parse_timestamp


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2025-10-15T13:45:02Z", "2025-10-15T13:45:02.000Z"),
        ("2025-10-15T15:45:02.1+02:00", "2025-10-15T13:45:02.100Z"),
        ("2025-10-15 13:45:02.123999Z", "2025-10-15T13:45:02.123Z"),
        ("2025-10-15T13:45:02,5-0330", "2025-10-15T17:15:02.500Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_offsets_become_utc_and_digits_are_cut(text: str, utc: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == utc


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2025-10-15T13:45:02", "has no time zone"),
        ("yesterday", "is not of the form"),
        ("2025-02-30T13:45:02Z", "is not a real date"),
        ("2025-10-15T25:45:02Z", "is not a real date"),
        ("1760535902", "is not of the form"),
        ("", "is not of the form"),
    ],
)
def test_what_is_no_time_is_said_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_timestamp(text)


@given(st.integers(-30_000_000_000_000, 253_402_300_799_999))
def test_formatting_and_parsing_are_inverse(epoch_ms: int) -> None:
    assert parse_timestamp(format_timestamp(epoch_ms)) == epoch_ms
