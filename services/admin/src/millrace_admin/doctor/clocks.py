"""Whose clock is off? Readings carry the clock of their gateway; the clock here is what the others are compared with."""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.times import FUTURE_LIMIT_MS, parse_timestamp

from .evidence import Evidence
from .finding import Finding, act, fine

OFF_MS = 5_000
"""A status is on its way for much less."""
WHOLE_SECOND_MS = 1_000
"""A Date header has no milliseconds."""
TIME_SERVER = "name the plant's time server on both computers (NTP= in /etc/systemd/timesyncd.conf)"


def findings(facts: Evidence) -> Iterator[Finding]:
    if facts.clock_synchronised is False:
        yield act("clock", "is not synchronised, and readings carry it", TIME_SERVER)
    elif facts.clock_synchronised:
        yield fine("clock", "is synchronised")
    compared, told = 0, False
    for one in facts.statuses or ():
        if not one.is_fresh or not one.status.alive or not one.status.timestamp:
            continue
        compared += 1
        off_ms = parse_timestamp(one.status.timestamp) - one.heard_ms
        if abs(off_ms) > OFF_MS:
            told = True
            yield _off(f"{one.status.service} {one.status.instance}", off_ms, is_gateway=one.status.service == "gateway")
    database = facts.database
    if database is not None and database.date_ms is not None and database.asked_ms is not None:
        compared += 1
        off_ms = database.date_ms - database.asked_ms
        if not -OFF_MS - WHOLE_SECOND_MS < off_ms < OFF_MS:
            told = True
            yield _off("database", off_ms, is_gateway=False)
    if compared and not told:
        yield fine("clocks", f"{compared} clocks agree with the one here to {OFF_MS // 1000} s")


def _off(name: str, off_ms: int, *, is_gateway: bool) -> Finding:
    ahead = "ahead of" if off_ms > 0 else "behind"
    cause = f"its clock is {_span(abs(off_ms))} {ahead} the one here"
    if is_gateway and off_ms > FUTURE_LIMIT_MS:
        cause += "; what it reads lies in the future and is kept as dead letters"
    elif is_gateway:
        cause += ", and so are its readings"
    return act(name, cause, TIME_SERVER)


def _span(ms: int) -> str:
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:,.1f} h"
