"""Files that the first version wrote, from a plant of thirteen machines without a database: nothing in them is lost.

`version-0.tar.xz` holds them as its processes left them, those of gateway and oee with the log of a kill beside them.
"""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millrace_alerts.feed import Cursor
from millrace_alerts.store import ALERTS_STORE, Reader
from millrace_alerts.store import Store as AlertsStore
from millrace_contract.language.messages import Ledger, decode
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Row
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_file import OUTBOX_STORE, outbox_in
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.store_forward.store_file import APPLICATION_ID, open_beside_owner, open_store
from millrace_contract.testing import wait_until
from millrace_contract.testing.outboxes import telemetry
from millrace_ingest.dead_letters import Selection
from millrace_ingest.disk import INGEST_STORE
from millrace_ingest.local_store import Changes, DiskLimits, open_local_store
from millrace_oee.engine import Engine
from millrace_oee.plan import load_plan
from millrace_oee.results import Results
from millrace_oee.store import OEE_STORE
from millrace_oee.store import Store as OeeStore

ROOT = Path(__file__).parents[2]
KINDS = {"outbox.sqlite": OUTBOX_STORE, "oee.db": OEE_STORE, "alerts.db": ALERTS_STORE, "ingest.sqlite": INGEST_STORE}
SENDERS = {"outbox.sqlite": "edge-1", "oee.db": "oee-1", "alerts.db": "alerts-1"}
NOW_MS = 1_796_100_000_000

Rows = dict[str, list[Any]]


@pytest.fixture
def landed(tmp_path: Path) -> Path:
    """A folder with the files."""
    with tarfile.open(Path(__file__).parent / "fixtures" / "version-0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def rows(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'").fetchall()
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for (table,) in tables}


def waiting_in(path: Path) -> list[Row]:
    """What an outbox holds, beside its owner."""
    connection = open_beside_owner(OUTBOX_STORE, path)
    held = Outbox(connection, "edge-1", ledger_topic="l", encode_loss=ledger_encoder("g", "1")).peek(0, 10_000)
    connection.close()
    return held


@pytest.mark.parametrize("name", KINDS)
def test_every_row_is_still_there(landed: Path, name: str) -> None:
    aside = landed / "aside"
    aside.mkdir()
    for part in landed.glob(f"{name}*"):
        (aside / part.name).write_bytes(part.read_bytes())
    before = rows(aside / name)
    assert sum(len(each) for each in before.values()) > 70
    store = open_store(KINDS[name], landed / name, NOW_MS)
    assert store.set_aside is None
    assert store.connection.execute("PRAGMA user_version").fetchone() == (KINDS[name].version,)
    # The first version sets aside what has another number here: a plant that goes back would begin anew.
    assert store.connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    store.close()
    after = rows(landed / name)
    for table, lines in before.items():
        assert [line[: len(lines[0])] for line in after[table]] == lines if lines else not after[table]
    open_store(KINDS[name], landed / name, NOW_MS).close()


@pytest.mark.parametrize("name", SENDERS)
def test_what_was_not_sent_waits_and_numbers_go_on(landed: Path, name: str) -> None:
    store = open_store(KINDS[name], landed / name, NOW_MS)
    outbox, _ = outbox_in(store, SENDERS[name], ledger_topic="l", encode_loss=ledger_encoder("g", "1"), now_ms=NOW_MS)
    waiting = outbox.peek(0, 10_000)
    assert len(waiting) == outbox.depth > 10
    with transaction(store.connection):
        [row] = outbox.append([telemetry("CNC-01", NOW_MS)])
    assert (row.stream, row.seq) == (waiting[-1].stream, waiting[-1].seq + 1)
    store.close()


@pytest.mark.long
def test_what_a_gateway_had_not_sent_is_delivered(landed: Path) -> None:
    path = landed / "outbox.sqlite"
    published: set[tuple[str, int]] = set()

    def publish(_topic: str, payload: bytes) -> int:
        message = json.loads(payload)
        if "stream" in message:  # A message of the drafts above says nothing of it.
            published.add((message["stream"], message["seq"]))
        return len(published)

    thread = OutboxThread(path, "edge-1", publish, ledger_topic="l", encode_loss=ledger_encoder("g", "1"), clock=SystemClock())
    thread.start()
    numbered = {(row.stream, row.seq) for row in waiting_in(path) if b'"stream"' in row.payload}
    assert len(numbered) == 286
    thread.connected()
    wait_until(lambda: numbered <= published, "every message")
    for stream in {row.stream for row in waiting_in(path)}:
        thread.confirmed(stream, [(1, 1_000)])
    wait_until(lambda: thread.stats().depth == 0, "an empty outbox")
    assert thread.stop()
    assert waiting_in(path) == []


def test_the_ledger_of_a_gateway_is_told(landed: Path) -> None:
    store = open_store(OUTBOX_STORE, landed / "outbox.sqlite", NOW_MS)
    outbox, _ = outbox_in(store, "edge-1", ledger_topic="l", encode_loss=ledger_encoder("g", "1"), now_ms=NOW_MS)
    [entry] = [decode(Ledger, row.payload) for row in outbox.peek(0, 10_000) if row.is_ledger]
    assert (entry.cause, entry.count, entry.lost_seqs, entry.at_least) == ("memory_full", 3, [(3, 5)], False)
    store.close()


def test_oee_goes_on_with_its_samples_gaps_and_results(landed: Path) -> None:
    store = open_store(OEE_STORE, landed / "oee.db", NOW_MS)
    outbox, _ = outbox_in(store, "oee-1", ledger_topic="l", encode_loss=ledger_encoder("oee", "1"), now_ms=NOW_MS)
    results = Results(store.connection, lambda _topic, _message: None)
    samples = OeeStore(store.connection)
    engine = Engine(load_plan(ROOT / "config"), samples, results)
    assert len(engine.gaps()) == 4
    assert len(list(samples.samples("CNC-02", 0))) == 972
    windows = list(results.windows())
    assert {document.window.kind for document in windows} == {"hour"}
    assert len(windows) == 4
    outstanding = store.connection.execute("SELECT count(*) FROM result WHERE outstanding IS NOT NULL").fetchone()[0]
    assert outstanding == outbox.depth == 57
    with transaction(store.connection):
        for row in outbox.peek(0, 1_000):
            results.confirmed(outbox.ids(row.stream, [(row.seq, row.seq)]))
            outbox.confirm(row.stream, [(row.seq, row.seq)], NOW_MS)
    assert outbox.depth == 0
    assert store.connection.execute("SELECT count(*) FROM result WHERE outstanding IS NOT NULL").fetchone() == (0,)
    store.close()


def test_alerts_goes_on_with_its_alerts_and_events(landed: Path) -> None:
    store = AlertsStore(landed / "alerts.db", NOW_MS)
    saved = store.load()
    assert sum(alert.is_shown for alert in saved.alerts.values()) == 13
    assert len(saved.devices) == 13
    assert store.last_event_seq() == 13
    reader = Reader(landed / "alerts.db")
    assert [stored.event.event_seq for stored in reader.events(0, 100)] == list(range(1, 14))
    # Who followed the feed with a bare number goes on with it.
    assert [reader.where_to_go_on(Cursor(None, seq)) for seq in range(14)] == [None] * 14
    assert str(reader.where_to_go_on(Cursor(None, 14))) == f"{reader.feed().epoch}-13"
    assert reader.answer("lead", "k-1") is not None
    [window] = reader.oee_windows("line1", "CNC-02", "hour", range(NOW_MS), 10)
    assert window.device_id == "CNC-02"
    with pytest.raises(sqlite3.IntegrityError, match="events are never deleted"):
        store.connection.execute("DELETE FROM event")
    store.close()


def test_alerts_of_version_1_begin_an_epoch_in_which_bare_numbers_go_on(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).parent / "fixtures" / "alerts-version-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    store = AlertsStore(tmp_path / "alerts.db", NOW_MS)
    assert (store.was_restored, store.last_event_seq()) == (False, 3)
    reader = Reader(tmp_path / "alerts.db")
    assert [stored.event.event_seq for stored in reader.events(0, 100)] == [1, 2, 3]
    assert reader.where_to_go_on(Cursor(None, 3)) is None
    assert reader.where_to_go_on(reader.feed().cursor(3)) is None
    assert (tmp_path / "alerts.db.copy-of-version-1").exists()
    store.close()


def test_ingest_goes_on_with_dead_letters_spool_and_losses(landed: Path) -> None:
    local, set_aside = open_local_store(landed, DiskLimits(10**9, 10**9), NOW_MS)
    assert set_aside is None
    assert len(local.dead_letters.select(Selection(), 10)) == local.dead_letters.count == 4
    assert local.spool.count == 1_014
    assert [loss.count for _, loss in local.losses.entries(10)] == [2, 256]
    waiting = local.spool.peek(2_000, 10**9)
    assert len(waiting) == 1_014
    assert local.apply(Changes(unspool=[key for key, _ in waiting]), NOW_MS)
    assert local.spool.count == 0
    local.close()


@pytest.mark.parametrize("name", ["oee.db", "alerts.db"])
def test_what_a_damaged_store_had_not_sent_is_sent_and_the_rest_is_told(landed: Path, name: str) -> None:
    path = landed / name
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        table = {"oee.db": "sample", "alerts.db": "device"}[name]
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        waiting = connection.execute("SELECT count(*) FROM outbox_message").fetchone()[0]
    with path.open("r+b") as raw:
        raw.seek((root - 1) * page)
        raw.write(b"\xff" * page)
    store = open_store(KINDS[name], path, NOW_MS)
    assert store.set_aside is not None
    outbox, adopted = outbox_in(store, SENDERS[name], ledger_topic="l", encode_loss=ledger_encoder("s", "1"), now_ms=NOW_MS)
    assert adopted == waiting
    [entry] = [decode(Ledger, row.payload) for row in outbox.peek(0, 10_000) if row.is_ledger]
    assert (entry.cause, entry.count, entry.at_least) == ("store_set_aside", 0, True)
    store.close()
    again = open_store(KINDS[name], path, NOW_MS)
    outbox, adopted = outbox_in(again, SENDERS[name], ledger_topic="l", encode_loss=ledger_encoder("s", "1"), now_ms=NOW_MS)
    assert (again.set_aside, adopted, outbox.depth) == (None, 0, waiting + 1)
    again.close()


def test_every_store_with_an_outbox_has_each_version_of_its_tables() -> None:
    """A new version of the outbox's tables needs a step of each store that holds them; this one says which was forgotten."""
    found: dict[str, set[str]] = {}
    for name, kind in KINDS.items():
        statements = {statement for step in kind.steps for statement in step}
        found[name] = {statement for step in OUTBOX_STORE.steps for statement in step} - statements
    assert {name for name, missing in found.items() if missing} == {"ingest.sqlite"}
