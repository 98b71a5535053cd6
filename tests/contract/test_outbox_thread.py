"""The outbox's thread: group commits, disks that refuse or break, what is dropped and told, and a real broker that dies."""

import json
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.messages import Ledger, decode
from millrace_contract.language.streams import Stamp
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.store_forward.disk_trouble import DiskTrouble
from millrace_contract.store_forward.forwarder import Publish
from millrace_contract.store_forward.inbox import Inbox
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.outbox import WrongSender
from millrace_contract.store_forward.outbox_figures import OutboxFigures
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.store_forward.ranges import merge_ranges
from millrace_contract.store_forward.reserve import Reserve
from millrace_contract.store_forward.sqlite import DiskRefused, transaction
from millrace_contract.store_forward.store_file import InUse
from millrace_contract.testing import Broker, ManualClock, wait_until
from millrace_contract.testing.outboxes import EPOCH_MS, LEDGER, SENDER, numbers, open_at, telemetry
from millrace_contract.testing.uplinks import CountingIngest, SessionType, Uplink

pytestmark = pytest.mark.process


class Wire:
    """Takes what is published; by default a broker and an ingest that confirm it at once."""

    def __init__(self) -> None:
        self.outbox: OutboxThread | None = None
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.payloads: list[bytes] = []
        self.is_confirming = True
        self._token = 0

    def publish(self, topic: str, payload: bytes) -> int:
        self._token += 1
        message = json.loads(payload)
        self.messages.append((topic, message))
        self.payloads.append(payload)
        if self.outbox is not None and self.is_confirming:
            self.outbox.published(self._token, True)
            self.outbox.confirmed(message["stream"], [(message["seq"], message["seq"])])
        return self._token

    def seqs(self) -> list[int]:
        return [message["seq"] for topic, message in self.messages if topic != LEDGER]

    def ledger(self) -> list[Ledger]:
        return [
            decode(Ledger, payload) for (topic, _), payload in zip(self.messages, self.payloads, strict=True) if topic == LEDGER
        ]


Start = Callable[..., OutboxThread]


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def start(tmp_path: Path, wire: Wire) -> Iterator[Start]:
    """Start an outbox thread at tmp_path / outbox.db, connected; it is stopped at the end."""
    started: list[OutboxThread] = []

    def _start(
        *, clock: Clock | None = None, limits: Limits | None = None, publish: Publish | None = None, path: Path | None = None
    ) -> OutboxThread:
        outbox = OutboxThread(
            path or tmp_path / "outbox.db",
            SENDER,
            publish or wire.publish,
            ledger_topic=LEDGER,
            encode_loss=ledger_encoder("gateway", "1"),
            clock=clock or SystemClock(),
            limits=limits,
        )
        wire.outbox = outbox
        outbox.start()
        started.append(outbox)
        outbox.connected()
        return outbox

    yield _start
    for outbox in started:
        outbox.stop()


def drafts(count: int, first: int = 0, device: str = "A", filler: str = "") -> list[Draft]:
    return [telemetry(device, EPOCH_MS + first + n, filler) for n in range(count)]


def has_published(outbox: OutboxThread, count: int) -> bool:
    return outbox.stats().published > count


def disk(outbox: OutboxThread) -> sqlite3.Connection:
    """The sender's own connection, to make its disk refuse."""
    assert outbox._file is not None
    return outbox._file.outbox.connection


def test_message_is_committed_published_confirmed_and_deleted(start: Start, wire: Wire, tmp_path: Path) -> None:
    outbox = start()
    outbox.append(drafts(100))
    wait_until(lambda: outbox.stats().confirmed == 100, "all confirmed")
    assert wire.seqs() == list(range(1, 101))
    wait_until(lambda: outbox.stats().depth == 0, "an empty outbox")
    assert outbox.stop()
    file = open_at(tmp_path / "outbox.db")
    assert file.outbox.depth == 0
    file.close()


def test_nothing_is_published_before_it_is_committed(start: Start, tmp_path: Path) -> None:
    missing: list[int] = []

    def publish(_topic: str, payload: bytes) -> int:
        seq = json.loads(payload)["seq"]
        reader = sqlite3.connect(tmp_path / "outbox.db")
        if reader.execute("SELECT 1 FROM outbox_message WHERE id = ?", (seq,)).fetchone() is None:
            missing.append(seq)
        reader.close()
        return int(seq)

    outbox = start(publish=publish)
    outbox.append(drafts(50))
    wait_until(lambda: outbox.stats().published == 50, "all published")
    assert missing == []


def test_messages_left_one_by_one_share_commits(start: Start, tmp_path: Path) -> None:
    outbox = start(publish=lambda _topic, _payload: None)
    for draft in drafts(2_000):
        outbox.append([draft])
    wait_until(lambda: outbox.stats().committed == 2_000, "all committed")
    outbox.stop()
    reader = sqlite3.connect(tmp_path / "outbox.db")
    (changes,) = reader.execute("SELECT version FROM outbox_state").fetchone()
    reader.close()
    assert changes < 100


def test_stop_commits_what_waits_and_may_be_repeated(start: Start, tmp_path: Path) -> None:
    outbox = start(publish=lambda _topic, _payload: None)
    outbox.append(drafts(5_000))
    assert outbox.stop()
    assert outbox.stop()
    file = open_at(tmp_path / "outbox.db")
    assert file.outbox.depth == 5_000
    file.close()


def test_heartbeat_beats_while_nothing_happens(tmp_path: Path) -> None:
    beats = threading.Semaphore(0)
    outbox = OutboxThread(
        tmp_path / "outbox.db",
        SENDER,
        lambda _topic, _payload: None,
        ledger_topic=LEDGER,
        encode_loss=ledger_encoder("gateway", "1"),
        clock=SystemClock(),
        heartbeat=beats.release,
    )
    outbox.start()
    assert all(beats.acquire(timeout=2.0) for _ in range(4))
    outbox.stop()


def test_full_disk_holds_messages_in_memory_and_loses_none(start: Start, wire: Wire) -> None:
    outbox = start()
    outbox.append(drafts(10))
    wait_until(lambda: outbox.stats().confirmed == 10, "the first ten")
    wire.is_confirming = False
    (pages,) = disk(outbox).execute("PRAGMA page_count").fetchone()
    disk(outbox).execute(f"PRAGMA max_page_count = {pages}")
    outbox.append(drafts(200, 10, filler="x" * 4_000))
    wait_until(lambda: outbox.stats().disk_problem, "the full disk noticed")
    assert "full" in (outbox.stats().disk_problem or "")
    wait_until(lambda: outbox.stats().held == 200, "messages in memory")
    disk(outbox).execute("PRAGMA max_page_count = 1000000")
    wait_until(lambda: outbox.stats().committed == 210, "all committed")
    assert wire.seqs() == list(range(1, 211))
    assert outbox.stats().dropped == 0


@pytest.fixture
def small_disk(small_file_system: Callable[[int], Path]) -> Path:
    """A file system of 12 MB of which another program has 7."""
    disk = small_file_system(12)
    (disk / "other").write_bytes(b"x" * 7_000_000)
    return disk


def test_disk_that_stays_full_goes_on_with_what_was_confirmed(start: Start, wire: Wire, small_disk: Path) -> None:
    wire.is_confirming = False
    limits = Limits(max_bytes=3_000_000, held_messages=200)  # the reserve takes 3 MB, too
    outbox = start(path=small_disk / "outbox.db", limits=limits)
    total = 0
    while not outbox.stats().disk_problem and total < 5_000:
        outbox.append(drafts(50, total, filler="x" * 2_000))
        total += 50
        wait_until(lambda: len(outbox._inbox) < 200 or outbox.stats().disk_problem, "the disk to take some")
    outbox.append(drafts(500, total, filler="x" * 2_000))
    total += 500
    assert "full" in (outbox.stats().disk_problem or "")
    wire.is_confirming = True
    outbox.disconnected()
    outbox.connected()
    wait_until(lambda: outbox.stats().depth == 0 and not outbox.stats().held, "all confirmed on a full disk", 60)
    outbox.stop()
    told = sum({entry.seq: entry.count for entry in wire.ledger()}.values())
    assert told >= 200
    assert len(set(wire.seqs())) + told == total


def test_message_that_cannot_be_encoded_stops_no_other(start: Start, wire: Wire) -> None:
    def broken(_stamp: Stamp) -> bytes:
        raise UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed")

    outbox = start()
    outbox.append([*drafts(3), Draft("factory/line1/B/telemetry", "B", EPOCH_MS, broken), *drafts(3, 3)])
    wait_until(lambda: len(wire.seqs()) == 6 and wire.ledger(), "the others and the ledger")
    [entry] = wire.ledger()
    assert (entry.cause, entry.device_id, entry.count) == ("encoding_failed", "B", 1)
    assert [message["timestamp_ms"] - EPOCH_MS for topic, message in wire.messages if topic != LEDGER] == list(range(6))


def test_read_only_disk_drops_the_oldest_beyond_memory_and_tells_exactly(start: Start, wire: Wire) -> None:
    outbox = start(limits=Limits(held_messages=10))
    outbox.append(drafts(2))
    wait_until(lambda: outbox.stats().confirmed == 2, "the first two")
    disk(outbox).execute("PRAGMA query_only = 1")  # a real SQLITE_READONLY
    outbox.append(drafts(1, 2))
    wait_until(lambda: outbox.stats().disk_problem, "the read-only disk noticed")
    outbox.append(drafts(14, 3))
    outbox.append(drafts(6, 100, device="B"))
    assert outbox.stats().held <= 10
    disk(outbox).execute("PRAGMA query_only = 0")
    wait_until(lambda: len(wire.ledger()) == 1, "the ledger entry")
    [entry] = wire.ledger()
    assert (entry.cause, entry.device_id, entry.count, entry.lost_seqs) == ("memory_full", "A", 11, [])
    assert (entry.first, entry.last) == ("2025-10-09T08:53:20.002Z", "2025-10-09T08:53:20.012Z")
    wait_until(lambda: outbox.stats().confirmed == 2 + 1 + 10, "the rest")
    assert [message["timestamp_ms"] for topic, message in wire.messages[2:] if topic != LEDGER] == [
        *(EPOCH_MS + n for n in range(13, 17)),
        *(EPOCH_MS + n for n in range(100, 106)),
    ]
    assert outbox.stats().dropped == 11


def test_file_system_that_is_read_only_at_the_start_is_used_when_it_can_be_written(
    start: Start, wire: Wire, small_disk: Path
) -> None:
    file = open_at(small_disk / "outbox.db")
    with transaction(file.outbox.connection):
        file.outbox.append(drafts(20))
    file.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    outbox = start(path=small_disk / "outbox.db", limits=Limits(max_bytes=1_000_000))
    outbox.append(drafts(10, 20))
    wait_until(lambda: "read-only" in (outbox.stats().disk_problem or "").lower(), "the read-only file system noticed")
    wait_until(lambda: outbox.stats().held == 10, "messages in memory")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    wait_until(lambda: outbox.stats().confirmed == 30, "all confirmed")
    assert sorted(wire.seqs()) == list(range(1, 31))
    assert outbox.stats().dropped == 0


def test_inbox_that_cannot_be_emptied_keeps_the_newest() -> None:
    inbox = Inbox(3)
    inbox.put(drafts(5))
    inbox.put_back(drafts(2, 100))
    assert [draft.created_ms for draft in inbox.take(10)] == [EPOCH_MS + n for n in (2, 3, 4)]
    assert inbox.take_dropped()["A", "memory_full"] == (4, EPOCH_MS, EPOCH_MS + 101)
    assert inbox.dropped_count == 4


def test_disk_that_comes_late_is_used_when_it_is_there(start: Start, wire: Wire, tmp_path: Path) -> None:
    outbox = start(path=tmp_path / "volume" / "outbox.db")
    outbox.append(drafts(5))
    wait_until(lambda: outbox.stats().disk_problem, "the missing disk noticed")
    (tmp_path / "volume").mkdir()
    wait_until(lambda: outbox.stats().confirmed == 5, "all confirmed")
    assert wire.seqs() == [1, 2, 3, 4, 5]


def test_a_store_that_comes_late_and_is_newer_is_left_alone_and_said(start: Start, tmp_path: Path) -> None:
    sender = start(path=tmp_path / "volume" / "outbox.db")
    sender.append(drafts(5))
    wait_until(lambda: sender.stats().disk_problem, "the missing disk noticed")
    (tmp_path / "other").mkdir()
    open_at(tmp_path / "other" / "outbox.db").close()
    other = sqlite3.connect(tmp_path / "other" / "outbox.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    (tmp_path / "other").rename(tmp_path / "volume")
    wait_until(lambda: "of version 99" in (sender.stats().disk_problem or ""), "the refusal")
    assert sender.stats().held == 5
    assert {path.name for path in (tmp_path / "volume").iterdir()} == {"outbox.db", "outbox.db.lock"}


def test_file_damaged_while_working_is_set_aside_and_nothing_readable_is_lost(start: Start, wire: Wire, tmp_path: Path) -> None:
    wire.is_confirming = False
    outbox = start()
    outbox.append(drafts(200, filler="x" * 3_000))
    wait_until(lambda: outbox.stats().committed == 200, "all committed")
    path = tmp_path / "outbox.db"
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as raw:
        raw.seek(8192 * 10)
        raw.write(b"\xff" * 8192 * 10)
    other.execute("PRAGMA user_version = 1")  # so that the outbox's connection forgets its pages
    other.commit()
    other.close()
    first_stream = wire.messages[0][1]["stream"]
    wire.is_confirming = True
    outbox.disconnected()
    outbox.connected()
    wait_until(lambda: outbox.stats().set_aside == 1, "the file set aside")
    outbox.append(drafts(5, 1_000))
    wait_until(lambda: len(wire.ledger()) == 1 and outbox.stats().depth == 0, "all confirmed")
    [entry] = wire.ledger()
    assert (entry.cause, entry.lost_stream) == ("outbox_set_aside", first_stream)
    again = {m["seq"] for _, m in wire.messages[200:] if m["stream"] == first_stream}
    assert again | numbers(entry.lost_seqs) == set(range(1, 201))
    assert entry.count == len(numbers(entry.lost_seqs)) < 60
    assert len(list(tmp_path.glob("outbox.db.set-aside-*Z"))) == 1


def test_file_removed_while_working_is_written_anew(start: Start, wire: Wire, tmp_path: Path) -> None:
    wire.is_confirming = False
    outbox = start()
    outbox.append(drafts(20))
    wait_until(lambda: outbox.stats().committed == 20, "all committed")
    for part in list(tmp_path.glob("outbox.db*")):
        part.unlink()
    wait_until((tmp_path / "outbox.db").exists, "the file written anew")
    outbox.append(drafts(1, 100))
    wait_until(lambda: outbox.stats().committed == 21, "the next message")
    outbox.stop()
    file = open_at(tmp_path / "outbox.db")
    assert [row.seq for row in file.outbox.peek(0, 100)] == list(range(1, 22))
    file.close()


def test_second_sender_on_one_file_is_refused(start: Start, tmp_path: Path) -> None:
    start()
    with pytest.raises(InUse):
        start()


def test_outbox_of_another_sender_is_refused(start: Start, tmp_path: Path) -> None:
    open_at(tmp_path / "outbox.db", sender="gateway-9").close()
    with pytest.raises(WrongSender):
        start()


def test_limit_drops_the_oldest_and_tells(start: Start, wire: Wire) -> None:
    wire.is_confirming = False
    outbox = start(limits=Limits(max_bytes=100_000), publish=lambda _topic, _payload: None)
    outbox.append(drafts(100, filler="x" * 2_000))
    wait_until(lambda: outbox.stats().dropped, "the oldest dropped")
    dropped = outbox.stats().dropped
    assert outbox.stats().bytes <= 100_000
    outbox.stop()
    outbox = start()
    wait_until(wire.ledger, "the ledger entry")
    [entry] = wire.ledger()
    assert (entry.count, entry.lost_seqs, entry.cause) == (dropped, [(1, dropped)], "limit_bytes")


def test_clock_that_leaps_ahead_does_not_empty_the_outbox(start: Start, wire: Wire) -> None:
    wire.is_confirming = False
    clock = ManualClock(EPOCH_MS)
    outbox = start(clock=clock, limits=Limits(max_age_ms=86_400_000))

    def next_tick() -> OutboxFigures:
        clock.advance(2)
        return outbox.stats()

    outbox.append(drafts(10))
    wait_until(lambda: next_tick().committed == 10, "all committed")
    clock.advance(3_700)  # past the time after the start
    clock.step(10 * 365 * 86_400)
    outbox.append(drafts(1, 10 * 365 * 86_400_000))
    wait_until(lambda: next_tick().depth == 11 and next_tick().oldest_age_s > 10**8, "the new time seen")
    assert outbox.stats().dropped == 0
    clock.advance(3_700)
    wait_until(lambda: next_tick().dropped == 10, "believed after an hour")


def test_a_clock_set_ahead_between_two_runs_does_not_empty_the_outbox(start: Start, wire: Wire) -> None:
    wire.is_confirming = False
    outbox = start(limits=Limits(max_age_ms=86_400_000))
    outbox.append(drafts(10))
    wait_until(lambda: outbox.stats().committed == 10, "all committed")
    outbox.stop()
    clock = ManualClock(EPOCH_MS + 10 * 365 * 86_400_000)
    outbox = start(clock=clock, limits=Limits(max_age_ms=86_400_000))
    clock.advance(2)
    wait_until(lambda: outbox.stats().oldest_age_s > 10**8, "the new time seen")
    assert outbox.stats().dropped == 0
    clock.advance(3_700)
    wait_until(lambda: outbox.stats().dropped == 10, "believed after an hour")


@pytest.mark.parametrize("is_restarted", [False, True], ids=["running", "over a restart"])
@pytest.mark.parametrize("steps_s", [[86_400], [-30], [-3_600], [86_400, -86_400]], ids=str)
def test_a_clock_that_steps_loses_and_repeats_nothing(start: Start, wire: Wire, steps_s: list[int], *, is_restarted: bool) -> None:
    clock = ManualClock(EPOCH_MS)
    outbox = start(clock=clock)

    def append() -> None:
        before = len(wire.seqs())
        for _ in range(10):
            clock.advance(0.1)
            outbox.append([telemetry("A", clock.now_ms()), telemetry("B", clock.now_ms())])
        wait_until(lambda: len(wire.seqs()) == before + 20, "all published")

    append()
    for step_s in steps_s:
        clock.step(step_s)
        if is_restarted:
            outbox.stop()
            outbox = start(clock=clock)
        append()
    steps_back = sum(step_s < -60 for step_s in steps_s)
    assert [entry.cause for entry in wire.ledger()] == ["clock_step"] * steps_back
    streams: dict[str, list[dict[str, Any]]] = {}
    for _, message in wire.messages:
        streams.setdefault(message["stream"], []).append(message)
    assert len(streams) == 1 + steps_back
    for messages in streams.values():
        assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
        for device in ("A", "B"):
            times = [message["timestamp_ms"] for message in messages if message.get("device") == device]
            assert times == sorted(set(times))


def test_figures_say_how_long_the_outbox_lasts(start: Start, wire: Wire) -> None:
    wire.is_confirming = False
    clock = ManualClock(EPOCH_MS)
    outbox = start(clock=clock, limits=Limits(max_bytes=360_000_000, max_age_ms=10**12))
    wait_until(lambda: outbox._tally._tick is not None, "the first tick")
    outbox.append(drafts(100, filler="x" * 789))
    wait_until(lambda: outbox.stats().live_in_flight or len(wire.messages) == 100, "all published")
    clock.advance(10)
    wait_until(lambda: outbox.stats().depth == 100, "a tick")
    stats = outbox.stats()
    assert stats.messages_per_s == pytest.approx(10)
    assert stats.holds_h == pytest.approx(10, rel=0.05)  # 1,000 bytes a message, 10 KB/s, 360 MB
    assert stats.drain_s is None
    assert stats.oldest_age_s == pytest.approx(10, abs=0.2)
    assert stats.in_words == "holds 10 h at the present rate, 10 s queued, not getting less"
    clock.advance(600)
    wait_until(lambda: outbox.stats().oldest_age_s > 600, "ten minutes later")
    outbox.confirmed(wire.messages[0][1]["stream"], [(1, 50)])
    wait_until(lambda: disk(outbox).execute("SELECT depth FROM outbox_state").fetchone() == (50,), "half of them confirmed")
    clock.advance(10)
    wait_until(lambda: outbox.stats().depth == 50 and outbox.stats().drain_s, "a tick")
    assert outbox.stats().drain_s == pytest.approx(65, rel=0.05)  # 5 a second for 10 s weigh 0.77 a second; 50 are left
    assert outbox.stats().queued_h == pytest.approx(620 / 3600, rel=0.01)
    assert " queued, caught up in 65 s; what was confirmed is kept " in outbox.stats().in_words


@pytest.mark.parametrize(
    ("stats", "words"),
    [
        (OutboxFigures(), "empty so far, nothing queued"),
        (OutboxFigures(holds_h=61.2, oldest_age_s=1.0), "holds 61 h at the present rate, nothing queued"),
        (
            OutboxFigures(holds_h=61.2, oldest_age_s=3.2 * 3600, drain_s=14 * 60.0),
            "holds 61 h at the present rate, 3.2 h queued, caught up in 14 min",
        ),
        (
            OutboxFigures(holds_h=61.2, kept=5, reaches_h=48.1),
            "holds 61 h at the present rate, nothing queued; what was confirmed is kept 48 h back",
        ),
        (OutboxFigures(holds_h=720.0, oldest_age_s=42.0), "holds 30 days at the present rate, 42 s queued, not getting less"),
    ],
)
def test_figures_in_words(stats: OutboxFigures, words: str) -> None:
    assert stats.in_words == words


def test_a_small_disk_holds_less_than_the_limit_says(start: Start, wire: Wire, small_disk: Path) -> None:
    wire.is_confirming = False
    clock = ManualClock(EPOCH_MS)
    outbox = start(clock=clock, path=small_disk / "outbox.db", limits=Limits(max_bytes=2_000_000, max_age_ms=10**12))
    (small_disk / "another").write_bytes(b"x" * 1_500_000)
    wait_until(lambda: outbox._tally._tick is not None, "the first tick")
    outbox.append(drafts(100, filler="x" * 789))
    wait_until(lambda: outbox.stats().live_in_flight or len(wire.messages) == 100, "all published")
    clock.advance(10)
    wait_until(lambda: outbox.stats().depth == 100, "a tick")
    free = shutil.disk_usage(small_disk).free + outbox.stats().bytes
    assert free < 2_000_000
    assert outbox.stats().holds_h == pytest.approx(free / 10_000 / 3600, rel=0.05)


@pytest.mark.broker
def test_every_message_arrives_although_the_broker_is_killed(fresh_broker: Broker, start: Start, session_type: SessionType) -> None:
    uplink = Uplink(fresh_broker.settings(), session_type)
    outbox = uplink.outbox = start(publish=uplink.session.publish)
    outbox.disconnected()
    ingest = CountingIngest(fresh_broker.settings(), session_type)
    ingest.start()
    uplink.session.start()
    clock = SystemClock()
    for round_number in range(1, 4):
        for _ in range(100):
            outbox.append([telemetry(f"D{n}", clock.now_ms()) for n in range(5)])
        sent = 550 * round_number - 300
        wait_until(partial(has_published, outbox, sent), "some on their way", 60)
        fresh_broker.kill()
        outbox.append([telemetry("D9", clock.now_ms()) for _ in range(50)])
        fresh_broker.start()
    wait_until(lambda: outbox.stats().committed == 1_650 and outbox.stats().depth == 0, "an empty outbox", 120)
    [seqs] = ingest.seen.values()
    assert merge_ranges((seq, seq) for seq in seqs) == [(1, 1_650)]
    uplink.session.stop()
    ingest.stop()


def test_disk_trouble_tries_less_and_less_often_and_ends_after_a_while() -> None:
    trouble = DiskTrouble("outbox.db")
    trouble.refused("disk full", 100.0, held=5)
    assert (trouble.problem, trouble.commit_rows, trouble.is_waiting(100.0)) == ("disk full", 500, False)
    trouble.refused("disk full", 100.0, held=5)
    assert (trouble.commit_rows, trouble.is_waiting(100.9), trouble.is_waiting(101.0)) == (125, True, False)
    trouble.accepted(125, 101.0, held=0)
    assert (trouble.problem, trouble.needs_room, trouble.commit_rows) == ("disk full", False, 250)
    trouble.accepted(0, 109.9, held=0)
    assert trouble.problem == "disk full"
    trouble.accepted(0, 110.0, held=0)
    assert trouble.problem is None


def test_reserve_takes_its_room_and_gives_it_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 1_000_000)
    for _ in range(2):
        reserve.hold()
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1_000_000
    for _ in range(2):
        reserve.release()
        assert not (tmp_path / "reserve").exists()


def test_reserve_without_room_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskRefused, match="that must stay to be able to delete"):
        Reserve(tmp_path / "reserve", 2**60).hold()
    assert not (tmp_path / "reserve").exists()
