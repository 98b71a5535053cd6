"""Is there room, and for how long?"""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.messages import Status
from millrace_contract.runtime import disk_space
from millrace_contract.runtime.disk_space import low_bytes

from .evidence import DiskFacts, Evidence
from .finding import Finding, act, fine, note

FULL_BYTES = 32_000_000
"""An outbox and SQLite need so much to work at all."""
FEW_INODES = 1_000
SOON_H = 72.0
SHORT_OUTAGE_H = 8.0
LEFT_H = "disk_left_h"


def findings(facts: Evidence) -> Iterator[Finding]:
    told = [found for disk in facts.disks for found in _of_disk(facts, disk)]
    told += [found for status in facts.all_statuses() if status.alive for found in _of_status(status)]
    yield from told
    if facts.disks and not told:
        least = min(facts.disks, key=lambda disk: disk.free_bytes)
        elsewhere = ", no less elsewhere" if len(facts.disks) > 1 else ""
        yield fine("disks", f"{least.free_bytes / 1e9:,.1f} GB are free where {least.part} keeps its data{elsewhere}")


def _of_disk(facts: Evidence, disk: DiskFacts) -> Iterator[Finding]:
    mend, free, total = _mend(facts, disk.part), disk.free_bytes, disk.total_bytes
    if free < min(FULL_BYTES, total / 2):
        yield act(disk.part, f"its disk is full: {free / 1e6:,.0f} of {total / 1e6:,.0f} MB are free", mend)
    elif disk.inodes_free is not None and disk.inodes_free < FEW_INODES:
        yield act(disk.part, f"its disk takes hardly any more files: {disk.inodes_free:,} and no more", mend)
    elif free < disk.may_grow_bytes:
        cause = f"{free / 1e6:,.0f} MB of its disk are free, and its outbox may still grow by {disk.may_grow_bytes / 1e6:,.0f} MB"
        yield act(disk.part, cause, "free some, or set a smaller MILLRACE_OUTBOX_MAX_MB in /etc/millrace/edge.env and restart it")
    elif free < low_bytes(total) and not any(disk.part in status.service for status in facts.all_statuses()):
        # A service says that of its own disk itself.
        yield act(disk.part, f"its disk is nearly full: {free / 1e6:,.0f} of {total / 1e6:,.0f} MB are free", mend)


def _mend(facts: Evidence, part: str) -> str:
    if part == "influxdb":
        return f"free room, or keep raw readings for less time (MILLRACE_RETENTION_RAW, then {facts.commands.up})"
    return "free room on it; the part goes on by itself then"


def _of_status(status: Status) -> Iterator[Finding]:
    """What is urgent is among the problems of the status."""
    name = f"{status.service} {status.instance}" if status.service == "gateway" else status.service
    for figure, left_h in status.figures.items():
        if figure.endswith(LEFT_H) and SOON_H > left_h >= disk_space.SOON_H:
            whose = figure.removesuffix(LEFT_H).rstrip("_") or "its"
            yield note(name, f"{whose} disk is full in {left_h:.0f} hours at the present rate", "free room before that")
    holds_h = status.figures.get("outbox_holds_h")
    if holds_h is not None and holds_h < SHORT_OUTAGE_H:
        cause = f"its outbox would hold {holds_h:.1f} hours of readings at the present rate, then drop the oldest"
        yield note(name, cause, "more room on its disk, or a greater MILLRACE_OUTBOX_MAX_MB")
