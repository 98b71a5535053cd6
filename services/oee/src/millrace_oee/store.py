"""The service's SQLite tables, and what its engine keeps in them: accepted samples, devices, chains and gaps; results.py the rest.

Samples of finished hours are packed into blobs of a few bytes a sample; late ones lie beside them as rows until the next
packing. Nothing here begins or commits a transaction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from heapq import merge
from itertools import groupby

from millrace_contract.plant.machine_states import Band
from millrace_contract.store_forward.outbox_steps import OUTBOX_STEPS
from millrace_contract.store_forward.sqlite import Connection
from millrace_contract.store_forward.store_file import open_in_memory
from millrace_contract.store_forward.store_form import StoreKind

from .counts import Baseline
from .entry_store import ENTRY_STEP
from .gaps import ChainEnd, Gap
from .machine import ROLES
from .revisions import REVISION_STEP
from .samples import Sample, merged, pack, unpack

HOUR_MS = 3_600_000
QUICK = 1
"""zlib's level for what is soon forgotten again."""
_WAS_RUNNING = "was_running:"
"""Facts of this name: of a machine whose state is a quantity, whether it ran before its first sample."""

_VERSION_1 = (
    *OUTBOX_STEPS[0],
    "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS device (
        id TEXT PRIMARY KEY, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, settled_ms INTEGER NOT NULL,
        version TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS sample (
        device TEXT NOT NULL, ts_ms INTEGER NOT NULL, state, total INTEGER, good INTEGER, reject INTEGER, hold_ms INTEGER,
        PRIMARY KEY (device, ts_ms)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS sample_hour (
        device TEXT NOT NULL, hour_ms INTEGER NOT NULL, samples BLOB NOT NULL, PRIMARY KEY (device, hour_ms)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS baseline (
        device TEXT NOT NULL, role TEXT NOT NULL, value INTEGER NOT NULL, ts_ms INTEGER NOT NULL,
        PRIMARY KEY (device, role)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS chain (
        device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, ts_ms INTEGER NOT NULL,
        PRIMARY KEY (device, stream)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS gap (
        device TEXT NOT NULL, stream TEXT NOT NULL, after_seq INTEGER NOT NULL, after_ms INTEGER NOT NULL,
        before_seq INTEGER NOT NULL, before_ms INTEGER NOT NULL, missing_seq INTEGER,
        PRIMARY KEY (device, stream, before_seq)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS result (
        scope TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
        topic TEXT NOT NULL, revision INTEGER NOT NULL, digest BLOB NOT NULL, message BLOB NOT NULL, sums BLOB,
        outstanding INTEGER, waiting BLOB, waiting_cause TEXT, PRIMARY KEY (scope, kind, id)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS result_outstanding ON result (outstanding) WHERE outstanding IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS result_time ON result (scope, end_ms)",
)
_VERSION_2 = OUTBOX_STEPS[1]
_VERSION_3 = ENTRY_STEP
_VERSION_4 = REVISION_STEP
STORE = "oee.db"
"""Its name in the folder of what the service must remember."""
OEE_STORE = StoreKind("the store of oee", (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4))
_SAMPLES = "SELECT ts_ms, state, total, good, reject, hold_ms FROM sample WHERE device = ? "
_LAST_GOOD = {
    "total": "SELECT total, ts_ms FROM sample WHERE device = ? AND ts_ms < ? AND total >= 0 ORDER BY ts_ms DESC LIMIT 1",
    "good": "SELECT good, ts_ms FROM sample WHERE device = ? AND ts_ms < ? AND good >= 0 ORDER BY ts_ms DESC LIMIT 1",
    "reject": "SELECT reject, ts_ms FROM sample WHERE device = ? AND ts_ms < ? AND reject >= 0 ORDER BY ts_ms DESC LIMIT 1",
}


@dataclass(slots=True)
class Known:
    """What is known of a device. Every figure and interval before `settled_ms` is up to date with the samples, computed
    under configuration `version`."""

    first_ms: int
    last_ms: int
    settled_ms: int
    version: str


def connect_in_memory() -> Connection:
    """A database that ends with the process: for replay and recompute."""
    return open_in_memory(OEE_STORE)


class Store:
    """One thread's view of the tables. New samples are buffered until `flush`, which every read does by itself."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._new: dict[str, list[Sample]] = {}

    # Samples

    def append(self, device: str, sample: Sample) -> None:
        """A sample later than all of its device."""
        self._new.setdefault(device, []).append(sample)

    def insert(self, device: str, sample: Sample) -> bool:
        """A sample anywhere in time; returns whether it changed anything (a repeated message does not)."""
        self.flush()
        old = self._at(device, sample.ts_ms)
        new = sample if old is None else merged(old, sample)
        if new == old:
            return False
        self.connection.execute("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?, ?, ?)", (device, *_row(new)))
        return True

    def flush(self) -> None:
        """Write what `append` buffered."""
        if self._new:
            self.connection.executemany(
                "INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(device, *_row(sample)) for device, samples in self._new.items() for sample in samples],
            )
            self._new.clear()

    def discard_buffer(self) -> None:
        """The transaction was rolled back."""
        self._new.clear()

    def samples(self, device: str, from_ms: int) -> Iterator[Sample]:
        """All samples from then on, in order of event time."""
        self.flush()
        rows = self.connection.execute(_SAMPLES + "AND ts_ms >= ? ORDER BY ts_ms", (device, from_ms))
        packed = (sample for sample in self._packed(device, from_ms) if sample.ts_ms >= from_ms)
        return _merged_in_order(packed, (Sample(*row) for row in rows))

    def baselines(self, device: str, before_ms: int, roles: Sequence[str]) -> dict[str, Baseline]:
        """The last good reading of each of these counters before then, however long ago."""
        self.flush()
        found = {
            role: Baseline(value, ts_ms)
            for role, value, ts_ms in self.connection.execute("SELECT role, value, ts_ms FROM baseline WHERE device = ?", (device,))
            if role in roles and ts_ms < before_ms
        }
        for role in roles:
            row = self.connection.execute(_LAST_GOOD[role], (device, before_ms)).fetchone()
            if row is not None and (role not in found or row[1] > found[role].ts_ms):
                found[role] = Baseline(*row)
        self._look_into_hours(device, before_ms, roles, found)
        return found

    def was_running(self, device: str, before_ms: int, band: Band) -> bool | None:
        """On which side of the band the state's last reading before then was that was not within it."""
        self.flush()
        row = self.connection.execute(
            """SELECT state, ts_ms FROM sample
            WHERE device = ? AND ts_ms < ? AND typeof(state) = 'real' AND (state > ? OR state < ?) ORDER BY ts_ms DESC LIMIT 1""",
            (device, before_ms, band.above, band.below),
        ).fetchone()
        found: bool | None = None if row is None else bool(row[0] > band.above)
        found_ms = -1 if row is None else int(row[1])
        for hour_ms, blob in self.connection.execute(
            "SELECT hour_ms, samples FROM sample_hour WHERE device = ? AND hour_ms < ? ORDER BY hour_ms DESC", (device, before_ms)
        ):
            if found_ms >= hour_ms + HOUR_MS:
                break
            for sample in unpack(blob):
                if found_ms < sample.ts_ms < before_ms and isinstance(sample.state, float) and band.state_of(sample.state):
                    found, found_ms = sample.state > band.above, sample.ts_ms
        if found is None:
            kept = self.fact(_WAS_RUNNING + device)
            return None if kept is None else kept == "1"
        return found

    def keep_running(self, device: str, *, was_running: bool) -> None:
        """Remember on which side of its band a quantity was before all samples that are kept."""
        self.set_fact(_WAS_RUNNING + device, str(int(was_running)))

    def read_before(self, device: str, before_ms: int, roles: Sequence[str]) -> dict[str, int]:
        """When each of these counters was last read well before then."""
        return {role: baseline.ts_ms for role, baseline in self.baselines(device, before_ms, roles).items()} if roles else {}

    def pack(self, device: str, before_ms: int, limit: int = 4) -> int:
        """Pack the samples of at most `limit` whole hours before then; returns how many hours were packed."""
        self.flush()
        return self._pack_rows(device, before_ms, limit)

    def pack_new(self, device: str, before_ms: int) -> None:
        """Pack what `append` buffered of whole hours before then, without making rows of it."""
        new = self._new.pop(device, [])
        while new and (hour_ms := new[0].ts_ms - new[0].ts_ms % HOUR_MS) + HOUR_MS <= before_ms:
            end = bisect_left(new, hour_ms + HOUR_MS, key=_ts_ms)
            samples, new = new[:end], new[end:]
            if not self._is_begun(device, hour_ms):
                self.connection.execute("INSERT INTO sample_hour VALUES (?, ?, ?)", (device, hour_ms, pack(samples, QUICK)))
            else:
                self._new[device] = samples
                self.flush()
                self._pack_hour(device, hour_ms)
        if new:
            self._new[device] = new
        self._pack_rows(device, before_ms)

    def _pack_rows(self, device: str, before_ms: int, limit: int = 1_000) -> int:
        count = 0
        for _ in range(limit):
            row = self.connection.execute("SELECT min(ts_ms) FROM sample WHERE device = ?", (device,)).fetchone()
            if row[0] is None or (hour_ms := row[0] - row[0] % HOUR_MS) + HOUR_MS > before_ms:
                break
            self._pack_hour(device, hour_ms)
            count += 1
        return count

    def _is_begun(self, device: str, hour_ms: int) -> bool:
        """Whether something of an hour is written."""
        row = self.connection.execute(
            """SELECT EXISTS (SELECT 1 FROM sample WHERE device = ? AND ts_ms >= ? AND ts_ms < ?)
            OR EXISTS (SELECT 1 FROM sample_hour WHERE device = ? AND hour_ms = ?)""",
            (device, hour_ms, hour_ms + HOUR_MS, device, hour_ms),
        ).fetchone()
        return bool(row[0])

    def prune(self, device: str, before_ms: int, roles: Collection[str] = ROLES) -> None:
        """Forget packed hours before then; the last good readings among them of its counters stay as baselines."""
        hours = self.connection.execute(
            "SELECT samples FROM sample_hour WHERE device = ? AND hour_ms + ? <= ? ORDER BY hour_ms DESC",
            (device, HOUR_MS, before_ms),
        )
        missing = set(roles)
        for (blob,) in hours if missing else ():
            for sample in reversed(unpack(blob)):
                told = {role for role in missing if sample.count(role) is not None}
                if told:
                    self.keep_baseline(device, sample)
                    missing -= told
                    if not missing:
                        break
            if not missing:
                break
        self.connection.execute("DELETE FROM sample_hour WHERE device = ? AND hour_ms + ? <= ?", (device, HOUR_MS, before_ms))

    def keep_baseline(self, device: str, sample: Sample) -> None:
        """Remember the counters of a sample that is not kept itself; a later one replaces an earlier one."""
        for role in ROLES:
            if (value := sample.count(role)) is not None:
                self.connection.execute(
                    """INSERT INTO baseline VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
                    SET value = excluded.value, ts_ms = excluded.ts_ms WHERE excluded.ts_ms >= ts_ms""",
                    (device, role, value, sample.ts_ms),
                )

    def _at(self, device: str, ts_ms: int) -> Sample | None:
        row = self.connection.execute(_SAMPLES + "AND ts_ms = ?", (device, ts_ms)).fetchone()
        if row is not None:
            return Sample(*row)
        hour = self.connection.execute(
            "SELECT samples FROM sample_hour WHERE device = ? AND hour_ms = ?", (device, ts_ms - ts_ms % HOUR_MS)
        ).fetchone()
        return next((sample for sample in unpack(hour[0]) if sample.ts_ms == ts_ms), None) if hour else None

    def _packed(self, device: str, from_ms: int) -> Iterator[Sample]:
        for (blob,) in self.connection.execute(
            "SELECT samples FROM sample_hour WHERE device = ? AND hour_ms > ? ORDER BY hour_ms", (device, from_ms - HOUR_MS)
        ).fetchall():
            yield from unpack(blob)

    def _look_into_hours(self, device: str, before_ms: int, roles: Sequence[str], found: dict[str, Baseline]) -> None:
        """Improve `found` by what the packed hours before know, the newest hour first, as long as it can be later."""
        hours = self.connection.execute(
            "SELECT hour_ms, samples FROM sample_hour WHERE device = ? AND hour_ms < ? ORDER BY hour_ms DESC", (device, before_ms)
        )
        for hour_ms, blob in hours:
            if all(role in found and found[role].ts_ms >= hour_ms + HOUR_MS for role in roles):
                break
            for sample in unpack(blob):
                if sample.ts_ms >= before_ms:
                    break
                for role in roles:
                    value = sample.count(role)
                    if value is not None and (role not in found or sample.ts_ms > found[role].ts_ms):
                        found[role] = Baseline(value, sample.ts_ms)

    def _pack_hour(self, device: str, hour_ms: int) -> None:
        where = (device, hour_ms, hour_ms + HOUR_MS)
        rows = self.connection.execute(_SAMPLES + "AND ts_ms >= ? AND ts_ms < ? ORDER BY ts_ms", where).fetchall()
        old = self.connection.execute(
            "SELECT samples FROM sample_hour WHERE device = ? AND hour_ms = ?", (device, hour_ms)
        ).fetchone()
        samples = _merged_in_order(unpack(old[0]) if old else [], (Sample(*row) for row in rows))
        self.connection.execute("INSERT OR REPLACE INTO sample_hour VALUES (?, ?, ?)", (device, hour_ms, pack(samples)))
        self.connection.execute("DELETE FROM sample WHERE device = ? AND ts_ms >= ? AND ts_ms < ?", where)

    # Devices, chains, gaps, facts

    def devices(self) -> dict[str, Known]:
        rows = self.connection.execute("SELECT id, first_ms, last_ms, settled_ms, version FROM device")
        return {row[0]: Known(*row[1:]) for row in rows}

    def save_devices(self, devices: Iterable[tuple[str, Known]]) -> None:
        self.connection.executemany(
            "INSERT OR REPLACE INTO device VALUES (?, ?, ?, ?, ?)",
            ((device, known.first_ms, known.last_ms, known.settled_ms, known.version) for device, known in devices),
        )

    def chains(self) -> dict[tuple[str, str], ChainEnd]:
        rows = self.connection.execute("SELECT device, stream, seq, ts_ms FROM chain")
        return {(device, stream): ChainEnd(seq, ts_ms) for device, stream, seq, ts_ms in rows}

    def save_chains(self, chains: Iterable[tuple[str, str, ChainEnd]]) -> None:
        self.connection.executemany(
            "INSERT OR REPLACE INTO chain VALUES (?, ?, ?, ?)",
            ((device, stream, end.seq, end.ts_ms) for device, stream, end in chains),
        )

    def rename(self, device: str, to: str) -> None:
        """Keep all that is known of a device under another name, which nobody has."""
        self.flush()
        for table, column in (("device", "id"), ("sample", "device"), ("sample_hour", "device"), ("baseline", "device")):
            self.connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (to, device))  # noqa: S608 - our words

    def drop_chains(self, before_ms: int) -> None:
        """Forget streams of which nothing came since."""
        self.connection.execute("DELETE FROM chain WHERE ts_ms < ?", (before_ms,))

    def gaps(self) -> list[Gap]:
        rows = self.connection.execute(
            "SELECT device, stream, after_seq, after_ms, before_seq, before_ms, missing_seq FROM gap ORDER BY before_ms"
        )
        return [Gap(*row) for row in rows]

    def save_gap(self, gap: Gap) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?, ?, ?, ?)",
            (gap.device, gap.stream, gap.after_seq, gap.after_ms, gap.before_seq, gap.before_ms, gap.missing_seq),
        )

    def drop_gap(self, gap: Gap) -> None:
        self.connection.execute(
            "DELETE FROM gap WHERE device = ? AND stream = ? AND before_seq = ?", (gap.device, gap.stream, gap.before_seq)
        )

    def fact(self, name: str) -> str | None:
        row = self.connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def facts(self, prefix: str) -> list[tuple[str, str]]:
        """Names and values of the facts whose names begin so."""
        return [
            (str(name), str(value))
            for name, value in self.connection.execute("SELECT name, value FROM fact")
            if name.startswith(prefix)
        ]

    def drop_fact(self, name: str) -> None:
        self.connection.execute("DELETE FROM fact WHERE name = ?", (name,))

    def set_fact(self, name: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def _row(sample: Sample) -> tuple[int, float | str | None, int | None, int | None, int | None, int | None]:
    return sample.ts_ms, sample.state, sample.total, sample.good, sample.reject, sample.hold_ms


def _merged_in_order(packed: Iterable[Sample], rows: Iterable[Sample]) -> Iterator[Sample]:
    """Both in order of time; of one instant the row, which is later, wins signal by signal."""
    for _, same in groupby(merge(packed, rows, key=_ts_ms), key=_ts_ms):
        yield reduce(merged, same)


def _ts_ms(sample: Sample) -> int:
    return sample.ts_ms
