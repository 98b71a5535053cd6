"""The outbox over a real mosquitto that drops what it has acknowledged, hangs, or comes back without its sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.runtime.clock import SystemClock
from millrace_contract.store_forward import forwarder
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.store_forward.ranges import merge_ranges
from millrace_contract.testing import Mosquitto, wait_until
from millrace_contract.testing.outboxes import LEDGER, SENDER, telemetry
from millrace_contract.testing.uplinks import CountingIngest, Uplink

pytestmark = pytest.mark.broker


class Line:
    """An outbox, a broker and an ingest that counts."""

    def __init__(self, broker: Mosquitto, folder: Path) -> None:
        self.broker = broker
        self.ingest = CountingIngest(broker.settings())
        self.uplink = Uplink(broker.settings(), keepalive_s=2)
        self.outbox = self.uplink.outbox = OutboxThread(
            folder / "outbox.db",
            SENDER,
            self.uplink.session.publish,
            ledger_topic=LEDGER,
            encode_loss=ledger_encoder("gateway", "1"),
            clock=SystemClock(),
        )
        self.appended = 0

    def start(self) -> None:
        self.outbox.start()
        self.ingest.start()
        self.uplink.session.start()
        assert self.uplink.session.wait_connected(10)

    def stop(self) -> None:
        self.outbox.stop()
        self.uplink.session.stop()
        self.ingest.stop()

    def append(self, count: int) -> None:
        self.outbox.append([telemetry(f"D{n % 5}", SystemClock().now_ms()) for n in range(count)])
        self.appended += count

    def wait_published(self) -> None:
        wait_until(lambda: self.outbox.stats().published >= self.appended, "all on their way")

    def wait_stored(self) -> None:
        """Every message reached the ingest, and none is held any more; nothing was told as lost."""
        wait_until(lambda: self.outbox.stats().committed == self.appended and self.outbox.stats().depth == 0, "an empty outbox", 40)
        [seqs] = self.ingest.seen.values()
        assert merge_ranges((seq, seq) for seq in seqs) == [(1, self.appended)]
        assert self.outbox.stats().dropped == 0


@pytest.fixture
def line(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Line]:
    made = Line(mosquitto, tmp_path)
    yield made
    made.stop()


def _limit_the_queue(broker: Mosquitto) -> None:
    """From now on the broker acknowledges what it has no room for, and drops it."""
    broker.stop()
    broker.configuration += "\nallow_anonymous true\nmax_queued_messages 20"
    broker.start()


def test_a_broker_that_drops_what_comes_while_ingest_is_away(line: Line) -> None:
    _limit_the_queue(line.broker)
    line.start()
    line.append(10)
    line.wait_stored()
    line.ingest.stop()
    line.append(300)
    line.wait_published()
    line.ingest = CountingIngest(line.broker.settings())
    line.ingest.seen = {line.outbox.stats().stream: list(range(1, 11))}
    line.ingest.start()
    line.wait_stored()
    assert line.outbox.stats().resent >= 250  # The broker had room for 20 of the 300.


def test_a_broker_that_drops_while_ingest_is_slow(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "OVERDUE_S", 0.3)
    _limit_the_queue(line.broker)
    line.ingest = CountingIngest(line.broker.settings(), receive_maximum=10)
    line.start()
    line.ingest.hold()
    line.append(300)
    line.wait_published()
    line.ingest.go_on()

    def is_caught_up() -> bool:
        line.append(1)  # What is confirmed later shows what was dropped.
        return line.outbox.stats().resent >= 200 and line.outbox.stats().depth <= 20

    wait_until(is_caught_up, "what was dropped, sent again", 40)
    line.wait_stored()


def test_a_broker_that_hangs(line: Line) -> None:
    line.start()
    line.append(50)
    line.wait_stored()
    line.broker.pause()
    try:
        line.append(200)
        wait_until(lambda: not line.uplink.session.is_connected, "the session to notice")
        line.append(200)
        wait_until(lambda: line.outbox.stats().committed == line.appended, "all committed meanwhile")
    finally:
        line.broker.resume()
    line.wait_stored()


def test_a_broker_that_comes_back_without_its_sessions(line: Line) -> None:
    line.start()
    line.append(50)
    line.wait_stored()
    for _ in range(2):
        line.append(200)
        line.broker.kill()
        (line.broker.folder / "mosquitto.db").unlink(missing_ok=True)
        line.append(200)
        line.broker.start()
    line.wait_stored()
