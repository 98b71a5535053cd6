"""Everything is copied, put back and lost in any order: what was numbered is stored, or the ledger tells of it."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.messages import Ledger, decode
from millrace_contract.language.times import parse_timestamp
from millrace_contract.runtime.influx import Series
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_file import OutboxFile
from millrace_contract.store_forward.restored import Restored, read_restored, write_restored
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing import ManualClock
from millrace_contract.testing.outboxes import EPOCH_MS, SENDER, numbers, open_at, telemetry
from millrace_ingest.local_store import DiskLimits, LocalStore, open_local_store
from millrace_ingest.marks import Marks
from millrace_ingest.storage import Storage

TIMES = ("2025-10-09T07:00:00Z", "2025-10-09T08:00:00Z")


class FakeDatabase:
    """Points that ingest makes about the database, and what it stored of a sender: all of it can be copied."""

    def __init__(self) -> None:
        self.points: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {"outbox_mark": {}, "store_identity": {}}
        self.stored: dict[tuple[str, int], bytes] = {}
        self.starts = 1

    def write(self, bucket: str, body: bytes) -> None:
        assert bucket == "production"
        for line in body.decode().splitlines():
            head, rest = line.split(" ", 1)
            fields, time_ns = rest.rsplit(" ", 1)
            assert time_ns == "0000000"
            measurement, *tags = head.split(",")
            values = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)', fields)
            self.points[measurement][tuple(tags)] = {
                name: json.loads(value) if name.endswith("_text") else float(value) for name, value in values
            }

    def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:
        assert (bucket, parameters) == ("production", {})
        measurement = influxql.split('FROM "')[1].split('"', maxsplit=1)[0]
        return [
            Series(measurement, dict(tag.split("=") for tag in tags), ("time", *values), [[0, *values.values()]])
            for tags, values in self.points[measurement].items()
        ]

    def started(self) -> str:
        return str(self.starts)

    def copy(self) -> dict[str, Any]:
        return {"points": {name: dict(points) for name, points in self.points.items()}, "stored": dict(self.stored)}

    def put_back(self, copy: dict[str, Any] | None) -> None:
        """None: an empty one."""
        self.points = {name: dict(copy["points"][name]) if copy else {} for name in self.points}
        self.stored = dict(copy["stored"]) if copy else {}
        self.starts += 1


class World:
    """A sender, an ingest and a database, each of which can be copied and put back."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(EPOCH_MS)
        self.database = FakeDatabase()
        self.given: set[tuple[str, int]] = set()
        self.uncounted: set[str | None] = set()  # told once, though an entry that is lost itself is not told again
        self.restores = 0
        self.edge, self.server = folder / "edge", folder / "server"
        for each in (self.edge, self.server):
            each.mkdir()
        self.file: OutboxFile
        self.local: LocalStore
        self.open_outbox()
        self.open_ingest()

    @property
    def outbox(self) -> Outbox:
        return self.file.outbox

    def open_outbox(self) -> None:
        self.file = open_at(self.edge / "outbox.db", self.clock.now_ms())
        self.note()

    def open_ingest(self) -> None:
        self.local, _ = open_local_store(self.server, DiskLimits(10**8, 10**8), self.clock.now_ms())
        storage = Storage(self.database, self.clock, patience_s=0, wait=self.clock.advance, beat=lambda: None)
        self.marks = Marks(storage, self.database, self.local, "1", read_restored(self.server))

    def note(self) -> None:
        rows = self.outbox.peek(0, 10**6)
        self.given |= {(row.stream, row.seq) for row in rows}
        entries = [decode(Ledger, row.payload) for row in rows if row.is_ledger]
        self.uncounted |= {entry.lost_stream for entry in entries if entry.at_least}

    def work(self, count: int) -> None:
        self.clock.advance(1)
        with transaction(self.outbox.connection):
            self.outbox.append([telemetry("A", self.clock.now_ms()) for _ in range(count)])
        self.note()

    def deliver(self, count: int, is_confirmed: Callable[[], bool] = lambda: True) -> None:
        for row in self.outbox.peek(0, count):
            self.database.stored[row.stream, row.seq] = row.payload if row.is_ledger else b""
            if is_confirmed():
                with transaction(self.outbox.connection):
                    self.outbox.confirm(row.stream, [(row.seq, row.seq)], self.clock.now_ms())

    def status(self) -> None:
        """The sender's status comes to ingest, and its answer back."""
        self.clock.advance(11)
        self.marks.heard(SENDER, self.outbox.sent())
        for _, answer in self.marks.turn(self.clock.now_ms(), self.clock.monotonic_s()):
            assert answer.held is not None
            with transaction(self.outbox.connection):
                self.outbox.hear(answer.held, self.clock.now_ms())
        self.note()
        while self.outbox.is_taking_back:
            with transaction(self.outbox.connection):
                self.outbox.take_back(7)

    def forget(self, rows: int) -> None:
        """So many of those that are kept are too old, or there is no room for them."""
        with transaction(self.outbox.connection):
            outbox = self.outbox
            outbox._rows.drop_kept(rows, outbox._refill.first_to_take_back or outbox._next_id, outbox._entry_goes)
            outbox._save()

    def copy_file(self, source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
            one.backup(other)

    def put_back(self, part: str, copy: Any) -> None:
        if part == "database":
            self.database.put_back(copy)
        elif part == "outbox":
            self.put_back_outbox(copy)
        else:
            self.put_back_ingest(copy)

    def put_back_outbox(self, copy: Path | None) -> None:
        self.file.close()
        self._put_back(self.edge, "outbox.db", copy)
        self.open_outbox()

    def put_back_ingest(self, copy: Path | None) -> None:
        self.local.close()
        self._put_back(self.server, "ingest.sqlite", copy)
        self.open_ingest()

    def _put_back(self, folder: Path, name: str, copy: Path | None) -> None:
        for part in folder.iterdir():
            part.unlink()
        if copy is not None:
            shutil.copy(copy, folder / name)
            self.restores += 1
            write_restored(folder, Restored(str(self.restores), "b", *TIMES))

    def settle(self) -> None:
        """With everything well, all of it is stored or told."""
        for _ in range(6):
            self.status()
            self.deliver(10**6)
        assert self.outbox.depth == 0

    def unexplained(self) -> set[tuple[str, int]]:
        """What was numbered once, and is neither stored nor told."""
        entries = [decode(Ledger, payload) for payload in self.database.stored.values() if payload]
        told = {(entry.lost_stream, number) for entry in entries for number in numbers(entry.lost_seqs)}
        uncounted = self.uncounted
        mine = {stream for _, stream in self.outbox._streams._all}
        return {
            (stream, seq)
            for stream, seq in self.given - told - self.database.stored.keys()
            if stream not in uncounted and (stream in mine or not uncounted)  # Another's whose outbox is gone: one entry tells it.
        }

    def close(self) -> None:
        self.file.close()
        self.local.close()


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_database_that_is_put_back_is_filled_again(world: World) -> None:
    world.work(20)
    world.deliver(20)
    world.settle()
    copy = world.database.copy()
    world.work(30)
    world.settle()
    world.database.put_back(copy)
    assert len(world.database.stored) == 20
    world.settle()
    assert len(world.database.stored) == 50
    assert not [row for row in world.database.stored.values() if row], "no entry of the ledger"
    [problem] = world.marks.problems
    assert problem.startswith("the database was put back to 2025-10-09T08:54:")


def test_so_is_one_that_was_copied_a_moment_before(world: World) -> None:
    world.work(20)
    world.settle()
    copy = world.database.copy()
    world.work(5)
    world.deliver(5)
    world.database.put_back(copy)
    world.settle()
    assert len(world.database.stored) == 25


def test_a_lost_database_is_filled_again_and_told(world: World) -> None:
    world.work(20)
    world.settle()
    world.clock.advance(60)
    world.settle()
    world.database.put_back(None)
    world.clock.advance(60)
    world.settle()
    assert len(world.database.stored) == 20
    [problem] = world.marks.problems
    assert problem.startswith("the database is empty; the one before it was known since 2025-10-09T08:53:")


@pytest.mark.parametrize("is_ownerless", [True, False], ids=["with a sensor of its own", "gateways only"])
def test_what_no_outbox_holds_is_one_entry_of_unknown_count(world: World, *, is_ownerless: bool) -> None:
    if is_ownerless:
        world.marks.ownerless()
    world.settle()
    copy = world.database.copy()
    noted_ms = world.clock.now_ms()
    world.clock.advance(3_600)
    world.settle()
    world.database.put_back(copy)
    world.settle()
    entries = [loss.ledger(key, "ingest", "1") for key, loss in world.local.losses.entries(10)]
    assert [(entry.cause, entry.count, entry.at_least, entry.lost_stream) for entry in entries] == (
        [("restored", 0, True, None)] if is_ownerless else []
    )
    for entry in entries:
        assert entry.first is not None
        assert abs(parse_timestamp(entry.first) - noted_ms) < 60_000


def test_what_is_not_kept_is_told_exactly(world: World) -> None:
    world.work(20)
    world.settle()
    copy = world.database.copy()
    world.work(30)
    world.settle()
    world.forget(35)
    world.database.put_back(copy)
    world.settle()
    [entry] = [decode(Ledger, payload) for payload in world.database.stored.values() if payload]
    assert (entry.cause, entry.lost_seqs, entry.count, entry.at_least) == ("restored", [(21, 35)], 15, False)
    assert world.unexplained() == set()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_put_back_nothing_is_lost_in_silence(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    world = World(tmp_path)
    copies: dict[str, list[Any]] = {"database": [], "outbox": [], "ingest": []}
    for step in range(45):
        match chance.choice(["work", "work", "deliver", "deliver", "status", "status", "forget", "copy", "put back", "restart"]):
            case "work":
                world.work(chance.randrange(1, 9))
            case "deliver":
                world.deliver(chance.randrange(1, 12), lambda: chance.random() < 0.8)
            case "status":
                world.status()
            case "forget":
                world.forget(chance.randrange(1, 9))
            case "restart":
                world.database.starts += 1
            case "copy":
                copies["database"].append(world.database.copy())
                for name, source in (("outbox", world.edge / "outbox.db"), ("ingest", world.server / "ingest.sqlite")):
                    copies[name].append(tmp_path / f"{name}-{step}")
                    world.copy_file(source, copies[name][-1])
            case "put back":
                world.status()  # Two misfortunes at once, before anybody has heard of the first, are beyond what is promised.
                world.status()
                at = chance.choice([*range(len(copies["database"])), None])
                parts = chance.choice([["database"], ["database"], ["outbox"], ["ingest"], ["database", "outbox", "ingest"]])
                for part in parts:
                    world.put_back(part, None if at is None else copies[part][at])
                if at is None and len(parts) > 1:
                    world.given.clear()  # Of what is gone everywhere nobody can tell; the next are numbered anew.
                world.status()
                world.status()
                world.status()
    world.settle()
    assert world.unexplained() == set()
    world.close()
