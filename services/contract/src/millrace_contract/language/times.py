"""Timestamps on the wire and in the code: text with a zone outside, integer milliseconds since the epoch (UTC) inside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|z|[+-]\d\d:?\d\d)?",
)
"""RFC 3339, a little wider; the zone is optional here so that its absence gets words of its own."""

EXAMPLE = "2026-03-01T12:00:00Z"
"""What a timestamp looks like, for who sends one that is none."""

OLDEST_MS = 946_684_800_000
"""2000-01-01: an earlier timestamp is a clock that was never set."""

FUTURE_LIMIT_MS = 60_000
"""A timestamp further ahead than this is a dead letter and never moves a clock of ours (contracts.md 2.3)."""


def parse_timestamp(text: str) -> int:
    """Milliseconds since the epoch. Other offsets become UTC, digits beyond milliseconds are cut.

    Raises ValueError, in words for a person, when the form is not RFC 3339 or the zone is missing.
    """
    # Our own form, over and over within a few seconds: only its milliseconds are new.
    if len(text) == 24 and text[19] == "." and text[23] == "Z" and (fraction := text[20:23]).isdecimal() and fraction.isascii():
        return _parse(f"{text[:19]}Z") + int(fraction)
    return _parse(text)


@lru_cache(maxsize=4_096)
def _parse(text: str) -> int:
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"timestamp {text[:40]!r} is not of the form 2025-10-15T13:45:02.123Z")
    date, time, fraction, zone = match.groups()
    if zone is None:
        raise ValueError(f"timestamp {text[:40]!r} has no time zone; end it in Z for UTC or in an offset like +02:00")
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError as error:
        raise ValueError(f"timestamp {text[:40]!r} is not a real date and time") from error
    return (moment - _EPOCH) // _MILLISECOND + int((fraction or "0")[:3].ljust(3, "0"))


def format_timestamp(epoch_ms: int) -> str:
    """`2025-10-15T13:45:02.123Z`, always UTC, always three digits."""
    seconds, ms = divmod(epoch_ms, 1000)
    return f"{_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """Messages of one second come together, and `strftime` costs as much as the rest of one."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def from_datetime(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware datetime."""
    return (moment - _EPOCH) // _MILLISECOND
