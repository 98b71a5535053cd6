"""Makes room on the database's disk before it is full: the oldest raw readings go, and the ledger says so (decision 0017).

InfluxDB gives room back only by the shard, the stretch in which a bucket is stored. So its retention is made shorter until the
oldest shard is gone, and put back. What is rolled up stays, and so do results, the ledger and the archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from millrace_contract.language.field_names import SEQ_FIELD
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.messages import Ledger
from millrace_contract.language.points import ledger_line
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.disk_space import Room
from millrace_contract.runtime.files import replace_file
from millrace_contract.runtime.influx import BucketRetention, Queries, quoted
from millrace_contract.runtime.logs import get_logger

from . import raw

CAUSE = "disk_full"
SHED_SHARE = 0.05
SHED_MOST_BYTES = 1_000_000_000
"""Half of what a disk has when it is said to be nearly full."""
PATIENCE_MS = 45 * 60_000
"""InfluxDB looks for what is too old every half hour, or as often as its start script says."""
DAY_MS = 86_400_000
FILE_NAME = "shedding.json"

_log = get_logger(__name__)


class SheddingDatabase(Queries, Protocol):
    """What is needed of InfluxDB."""

    def write(self, bucket: str, body: bytes) -> None:
        """Lines in nanoseconds. Raises Unavailable, BadLines, PartialWrite or Refused."""

    def retention(self, bucket: str) -> BucketRetention:
        """How long it keeps what is in it. Raises Unavailable, Refused or QueryFailed."""

    def set_retention(self, bucket: str, retention: BucketRetention) -> None:
        """Raises as `retention`."""


class Shed(msgspec.Struct, frozen=True):
    """A shedding that has begun: readings of [begin_ms, end_ms) go; the retention is `short_s` meanwhile, else `kept_s`."""

    noted_ms: int
    begin_ms: int
    end_ms: int
    count: int
    is_known: bool
    kept_s: int
    short_s: int
    shard_s: int


@dataclass(frozen=True, slots=True)
class SheddingRule:
    """`beyond_days`: younger readings are never shed; 0: none are."""

    beyond_days: float

    def is_wanted(self, room: Room) -> bool:
        """Whether the disk is so full that the oldest must go."""
        threshold = min(SHED_SHARE * room.total_bytes, SHED_MOST_BYTES)
        return self.beyond_days > 0 and room.refusal is None and room.free_bytes < threshold

    def may_go(self, end_ms: int, now_ms: int) -> bool:
        """Whether everything before `end_ms` is old enough."""
        return now_ms - end_ms >= self.beyond_days * DAY_MS


class Shedding:
    """Used by the thread of the roll-ups. Raises what the database raises; the next turn goes on from there."""

    def __init__(self, database: SheddingDatabase, data: Path, rule: SheddingRule, *, service: str, instance: str) -> None:
        self.problem: str | None = None
        self.shed = 0
        self._database = database
        self._path = data / FILE_NAME
        self._rule = rule
        self._service = service
        self._instance = instance
        self._open = self._load()

    def turn(self, room: Room, rolled_until_ms: int, now_ms: int) -> None:
        """`room`: of the database's disk. `rolled_until_ms`: what is younger is not in the roll-ups yet."""
        if self._open is not None:
            self._look_after(self._open, now_ms)
        elif self._rule.is_wanted(room):
            self._begin(rolled_until_ms, now_ms)
        else:
            self.problem = None

    def _begin(self, rolled_until_ms: int, now_ms: int) -> None:
        sources = raw.sources(self._database)
        begin_ms = raw.oldest_ms(self._database, {source.measurement for source in sources})
        kept = self._database.retention(TELEMETRY_BUCKET)
        if begin_ms is None or not kept.shard_s:
            return
        end_ms = begin_ms + kept.shard_s * 1000
        if end_ms > rolled_until_ms or not self._rule.may_go(end_ms, now_ms):
            self.problem = (
                "the disk of influxdb is nearly full, and nothing on it is old enough to be given up: readings of the last "
                f"{self._rule.beyond_days:g} days stay (MILLRACE_SHED_BEYOND_DAYS); make room, or give it a larger disk"
            )
            return
        count, is_known = self._count(sources, begin_ms, end_ms)
        short_s = max((now_ms - end_ms) // 1000, kept.shard_s)
        shed = Shed(now_ms, begin_ms, end_ms, count, is_known, kept.kept_s, short_s, kept.shard_s)
        self._keep(shed)
        self._note(shed)
        self._change(shed, kept.kept_s, short_s)
        _log.warning("readings_shed", first=format_timestamp(begin_ms), before=format_timestamp(end_ms), count=count)

    def _look_after(self, shed: Shed, now_ms: int) -> None:
        """Put the retention back once the readings are gone, and note what went: all of a shard, and not more."""
        oldest_ms = raw.oldest_ms(self._database, {source.measurement for source in raw.sources(self._database)})
        is_gone = oldest_ms is None or oldest_ms > shed.begin_ms
        if not is_gone and 0 <= now_ms - shed.noted_ms < PATIENCE_MS:
            self._change(shed, shed.kept_s, shed.short_s)  # for who was killed before it
            return
        self._change(shed, shed.short_s, shed.kept_s)
        if is_gone:
            end_ms = shed.end_ms if oldest_ms is None else min(oldest_ms, shed.end_ms)
            self._note(msgspec.structs.replace(shed, end_ms=end_ms))
            self.shed += shed.count
            self.problem = None
        else:
            self._note(msgspec.structs.replace(shed, count=0, is_known=True))
            self.problem = "InfluxDB did not give up its oldest readings although its disk is nearly full; make room on it"
            _log.error("readings_not_shed", problem=self.problem)
        self._path.unlink(missing_ok=True)
        self._open = None

    def _change(self, shed: Shed, before_s: int, after_s: int) -> None:
        """Unless somebody has given the bucket another retention meanwhile."""
        if self._database.retention(TELEMETRY_BUCKET).kept_s == before_s:
            self._database.set_retention(TELEMETRY_BUCKET, BucketRetention(after_s, shed.shard_s))

    def _count(self, sources: Sequence[raw.RawSource], begin_ms: int, end_ms: int) -> tuple[int, bool]:
        """The numbered messages, and whether these are all."""
        counted: dict[raw.RawSource, int] = {}
        for measurement in {source.measurement for source in sources}:
            text = (
                f"SELECT count({quoted(SEQ_FIELD)}) FROM {quoted(measurement)} "  # noqa: S608 - quoted, numbers
                f"WHERE time >= {begin_ms}ms AND time < {end_ms}ms GROUP BY device"
            )
            for one in self._database.query(TELEMETRY_BUCKET, text):
                counted[raw.RawSource(measurement, one.tags["device"])] = int(one.rows[0][1])
        return sum(counted.values()), all(counted.get(source) for source in sources)

    def _note(self, shed: Shed) -> None:
        """The same entry again where more is known: it has one time."""
        entry = Ledger(
            timestamp=format_timestamp(shed.noted_ms),
            service=self._service,
            instance=self._instance,
            count=shed.count,
            at_least=not shed.is_known,
            cause=CAUSE,
            first=format_timestamp(shed.begin_ms),
            last=format_timestamp(shed.end_ms),
        )
        self._database.write(PRODUCTION_BUCKET, ledger_line(entry))

    def _load(self) -> Shed | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Shed)
        except (OSError, msgspec.MsgspecError):
            return None  # `up` puts the retention back, too

    def _keep(self, shed: Shed) -> None:
        """Known before anything happens: who is killed now goes on from here. A disk of ours that is full costs that only."""
        self._open = shed
        try:
            replace_file(self._path, msgspec.json.encode(shed))
        except OSError as error:
            _log.warning("shedding_not_kept", problem=error.strerror)
