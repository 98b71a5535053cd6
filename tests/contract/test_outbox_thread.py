"""The outbox's thread: group commits, what is dropped and told, clocks, and a real broker that dies."""

import json
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.runtime.clock import SystemClock
from millrace_contract.store_forward.database_files import InUse
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox import WrongSender
from millrace_contract.store_forward.outbox_figures import OutboxFigures
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.store_forward.ranges import merge_ranges
from millrace_contract.testing import Broker, ManualClock, wait_until
from millrace_contract.testing.outboxes import EPOCH_MS, LEDGER, SENDER, open_at, telemetry
from millrace_contract.testing.uplinks import CountingIngest, SessionType, Uplink

from .outbox_wire import Start, Wire, disk, drafts, has_published

pytestmark = pytest.mark.process


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
