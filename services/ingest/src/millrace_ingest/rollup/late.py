"""How ingest tells the roll-ups of late data: a point in the database for each device and hour, written before the message counts
as stored. So a kill of either process at any instant costs at most a roll-up made twice.

`noted` differs each time, and the roll-up writes down which one it has seen before it looked: an hour is due while the two differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from millrace_contract.language.measurements import PRODUCTION_BUCKET, ROLLUP_1H_BUCKET
from millrace_contract.language.points import late_data_line, rollup_line
from millrace_contract.runtime.influx import Queries, quoted

from .timing import HOUR_MS, LATE_AFTER_MS, floor_to

SEEN = "_late_seen"


class LateMarks:
    """The side of ingest; owned by its writer."""

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._noted = 0

    def lines(self, stored: Iterable[tuple[str, int]], now_ms: int) -> list[bytes]:
        """Marks for those of (device, event time) that are late at `now_ms`, after they were written."""
        late = {(device, floor_to(time_ms, HOUR_MS)) for device, time_ms in stored if now_ms - time_ms > LATE_AFTER_MS}
        if not late:
            return []
        self._noted = max(self._noted + 1, now_ms * 1000)
        return [late_data_line(device, self._instance, hour_ms + HOUR_MS, self._noted) for device, hour_ms in sorted(late)]


class Due(NamedTuple):
    """An hour of a device to be rolled up again, and the mark that says so."""

    device: str
    hour_ms: int
    instance: str
    noted: float


def due(reader: Queries, noted_after: float = 0.0, since_ms: int = 0) -> list[Due]:
    """What is to be rolled up again, the oldest hour first; without marks made before `noted_after` and hours before `since_ms`."""
    condition = f"noted > {noted_after:.0f} AND time >= {since_ms}ms"
    seen = set(_marks(reader, ROLLUP_1H_BUCKET, SEEN, condition))
    marks = _marks(reader, PRODUCTION_BUCKET, "late_data", condition)
    return sorted((mark for mark in marks if mark not in seen), key=lambda mark: mark.hour_ms)


def seen_line(mark: Due) -> bytes:
    """The hour was rolled up with everything that this mark stands for."""
    tags = (("device", mark.device), ("instance", mark.instance))
    return rollup_line(SEEN, tags, {"noted": mark.noted}, mark.hour_ms + HOUR_MS - 1)


def _marks(reader: Queries, bucket: str, measurement: str, condition: str) -> list[Due]:
    text = f"SELECT noted FROM {quoted(measurement)} WHERE {condition} GROUP BY device, instance"  # noqa: S608 - numbers, names of ours
    return [
        Due(one.tags["device"], floor_to(int(time_ms), HOUR_MS), one.tags["instance"], float(noted))
        for one in reader.query(bucket, text)
        for time_ms, noted in one.rows
    ]
