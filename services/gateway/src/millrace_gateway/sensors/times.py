"""When a sensor says that it measured: text with or without a zone, or seconds or milliseconds since 1970. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from millrace_contract.language.times import (
    EXAMPLE,
    FORM,
    FUTURE_LIMIT_MS,
    OLDEST_MS,
    format_timestamp,
    from_datetime,
    parse_timestamp,
)

from .payload import shown

_LATEST_MS: Final = 4_102_444_800_000
"""The year 2100: below it seconds and milliseconds since 1970 cannot be taken for each other."""


class NoTime(ValueError):
    """What stands there is no time that can be believed; the text says why, and what to do."""


def measured_at(value: Any, zone: ZoneInfo | None, arrived_ms: int) -> int:
    """Milliseconds since the epoch. Raises NoTime, also for what lies ahead of our clock or before 2000."""
    at_ms = _instant(value, zone, arrived_ms)
    if at_ms < OLDEST_MS:
        raise NoTime(f"the time {shown(value)} is before 2000: the sensor's clock is not set")
    if at_ms > arrived_ms + FUTURE_LIMIT_MS:
        ahead_s = (at_ms - arrived_ms) // 1000
        raise NoTime(
            f"the time {shown(value)} is {ahead_s} s ahead of this computer's clock ({format_timestamp(arrived_ms)}): "
            "one of the clocks is wrong, or time_zone"
        )
    return at_ms


def _instant(value: Any, zone: ZoneInfo | None, arrived_ms: int) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _since_1970(value)
    if not isinstance(value, str):
        raise NoTime(f"the timestamp must be text like {EXAMPLE}, not {shown(value)}")
    match = FORM.fullmatch(value.strip())
    if match is None:
        raise NoTime(f"the timestamp must be text like {EXAMPLE}, not {shown(value)}")
    if match[4] is not None:
        try:
            return parse_timestamp(value.strip())
        except ValueError:
            raise NoTime(f"the timestamp {shown(value)} is no real date and time") from None
    if zone is None:
        raise NoTime(f"the time {shown(value)} has no zone: write time_zone into the profile, or end it in Z, as {EXAMPLE}")
    return _local(match[1], match[2], match[3], zone, arrived_ms)


def _local(date: str, time: str, fraction: str | None, zone: ZoneInfo, arrived_ms: int) -> int:
    """In the hour that comes twice when summer time ends it is the one that lies nearer to the arrival."""
    try:
        moment = datetime.fromisoformat(f"{date}T{time}")
    except ValueError:
        raise NoTime(f"the timestamp {date} {time} is no real date and time") from None
    part_ms = int((fraction or "0")[:3].ljust(3, "0"))
    both = [from_datetime(moment.replace(tzinfo=zone, fold=fold)) + part_ms for fold in (0, 1)]
    return min(both, key=lambda each: abs(each - arrived_ms))


def _since_1970(value: float) -> int:
    if OLDEST_MS // 1000 <= value < _LATEST_MS // 1000:
        return round(value * 1000)
    if OLDEST_MS <= value < _LATEST_MS:
        return round(value)
    raise NoTime(f"the time {shown(value)} is no time in seconds or milliseconds since 1970: the sensor's clock is not set")
