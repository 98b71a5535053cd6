"""How fast an hour of backlog leaves the gateway while it goes on reading, and what live messages notice.

The outbox is filled by its own code with an hour of messages (100 devices, 100 signals, one message a second each); then the
gateway starts on it and reads the same devices. Drained into a subscriber that only counts and confirms, and into InfluxDB
through ingest.
Live latency: from the read until the message is confirmed, for what is read after the first confirmation.

usage: python benchmarks/gateway_backlog.py [--into counter|influxdb] [--minutes N] [--json]
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from _measuring import GATEWAY, Cost, start_service
from _modbus_load import CONFIRM_S, CONTIGUOUS, NUMBER, TAKING, TOPICS, Stage, devices, stage, start_gateways
from gateway import Row, quantile, show

from millrace_contract.language.messages import Status, Stored, decode, encode
from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import encode_telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.topics import Kind
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.outbox_file import open_outbox
from millrace_contract.store_forward.ranges import RangeSet, merge_ranges
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing import Influxd, wait_until

DEVICES = 100
TIMESTAMP = re.compile(rb'"timestamp":"([^"]+)"')
LIMIT_S = 900


def fill(folder: Path, minutes: int) -> int:
    """An outbox as an outage of so many minutes leaves it; return how many messages it holds."""
    folder.mkdir(parents=True)
    now_ms = int(time.time() * 1000)
    encode_loss = ledger_encoder("gateway", GATEWAY)
    topic = TOPICS.ledger("gateway", GATEWAY)
    file = open_outbox(folder / "outbox.sqlite", GATEWAY, ledger_topic=topic, encode_loss=encode_loss, now_ms=now_ms)
    names = [each.name for each in CONTIGUOUS]

    def draft(second: int, number: int) -> Draft:
        device = f"D{number:04}"
        created_ms = now_ms - minutes * 60_000 + second * 1000 + number * 10

        def encoded(stamp: Stamp) -> bytes:
            readings = {name: 20 + (second * 7 + place) % 1000 / 7 for place, name in enumerate(names)}
            return encode_telemetry(
                device_id=device,
                timestamp_ms=stamp.timestamp_ms,
                readings=readings,
                quality={},
                tags={},
                stream=stamp.stream,
                seq=stamp.seq,
                prev=stamp.prev,
            )

        return Draft(TOPICS.telemetry("line1", device), device, created_ms, encoded)

    for second in range(0, minutes * 60, 20):
        with transaction(file.outbox.connection):
            file.outbox.append(draft(at, number) for at in range(second, second + 20) for number in range(DEVICES))
    count = file.outbox.depth
    file.close()
    return count


class Watcher:
    """Hears every message and every confirmation: how much of the backlog is confirmed, and how old live messages were then."""

    def __init__(self, on: Stage, backlog: int, *, confirms: bool) -> None:
        self.live_s: list[float] = []
        self.confirmed_s: float | None = None
        self._since_ms = math.inf
        self._backlog = backlog
        self._confirmed = RangeSet()
        self._live_ms: dict[int, int] = {}
        self._seqs: dict[str, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()
        self._confirms = confirms
        self._stopping = threading.Event()
        self.session = LeanSession(
            on.broker.settings(),
            "watcher",
            Callbacks(message=self._take, connected=self._connected),
            filters=[*TOPICS.filters(Kind.TELEMETRY), TOPICS.stored(GATEWAY)],
            receive_maximum=10_000,
        )
        self.session.start()
        self._thread = threading.Thread(target=self._confirm, daemon=True)
        self._thread.start()

    @property
    def share(self) -> float:
        """Of the backlog, confirmed."""
        return (
            sum(min(last, self._backlog) - first + 1 for first, last in self._confirmed if first <= self._backlog) / self._backlog
        )

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.session.stop()

    def _connected(self) -> None:
        if self._confirms:
            self.session.publish(TAKING, encode(Status(service="ingest", instance="1", alive=True, taking=True)), retain=True)

    def _take(self, received: Received) -> None:
        if received.topic == TOPICS.stored(GATEWAY):
            self._note(decode(Stored, received.payload))
            return
        found = NUMBER.search(received.payload[-160:])
        assert found is not None
        seq = int(found[2])
        if seq > self._backlog and (read_at := TIMESTAMP.search(received.payload)):
            read_ms = parse_timestamp(read_at[1].decode())
            if read_ms > self._since_ms:  # What was read before ingest was there waits for it, as the backlog does.
                self._live_ms[seq] = read_ms
        if self._confirms:
            with self._lock:
                self._seqs.setdefault(found[1].decode(), []).append((seq, seq))

    def _note(self, stored: Stored) -> None:
        now_ms = time.time() * 1000
        self._since_ms = min(self._since_ms, now_ms)
        for first, last in stored.seqs:
            self._confirmed.add(first, last)
            for seq in range(max(first, self._backlog + 1), last + 1):
                if (read_ms := self._live_ms.pop(seq, None)) is not None:
                    self.live_s.append((now_ms - read_ms) / 1000)
        if self.confirmed_s is None and self.share == 1:
            self.confirmed_s = time.monotonic()

    def _confirm(self) -> None:
        while not self._stopping.wait(CONFIRM_S):
            with self._lock:
                taken, self._seqs = self._seqs, {}
            for stream, seqs in taken.items():
                self.session.publish(TOPICS.stored(GATEWAY), encode(Stored(stream=stream, seqs=merge_ranges(seqs))))


def drain(into: str, minutes: int) -> Row:
    with stage() as on:
        on.subscriber.stop()
        count = fill(on.folder / GATEWAY, minutes)
        print(f"{count:,} messages in the outbox", file=sys.stderr)
        database = Influxd(on.folder / "influxd") if into == "influxdb" else None
        watcher = Watcher(on, count, confirms=database is None)
        began_s = time.monotonic()
        gateway, *_ = start_gateways(on, devices(DEVICES, on.port), 1.0)
        ingest: subprocess.Popen[bytes] | None = None
        try:
            if database is not None:
                database.start()
                settings = database.settings()
                token = settings.influx_token.get_secret_value()
                began_s = time.monotonic()
                ingest = start_service("ingest", on.folder, on.broker, influx_url=settings.influx_url, influx_token=token)
            _await(watcher)
            assert watcher.confirmed_s is not None
            spent_s = watcher.confirmed_s - began_s
            cost = Cost.of(gateway.pid)
        finally:
            for process in filter(None, (gateway, ingest)):
                process.terminate()
                process.wait(20)
            watcher.stop()
            if database is not None:
                database.stop()
        live_s = sorted(watcher.live_s)
        return {
            "into": into,
            "backlog": f"{count:,} messages, {count * 100:,} signals",
            "drained in s": round(spent_s, 1),
            "messages/s": f"{count / spent_s:,.0f}",
            "live messages": len(live_s),
            "live p50 s": round(quantile(live_s, 0.5), 2),
            "live p99 s": round(quantile(live_s, 0.99), 2),
            "gateway CPU s": round(cost.cpu_s, 1),
            "gateway MB": round(cost.rss_mb),
        }


def _await(watcher: Watcher) -> None:
    shown_s = time.monotonic()

    def is_done() -> bool:
        nonlocal shown_s
        if time.monotonic() - shown_s > 10:
            shown_s = time.monotonic()
            print(f"{watcher.share:.0%} confirmed", file=sys.stderr)
        return watcher.confirmed_s is not None

    wait_until(is_done, "the backlog to be confirmed", LIMIT_S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", choices=("counter", "influxdb"), help="default: both, one after the other")
    parser.add_argument("--minutes", type=int, default=60, help="length of the outage")
    parser.add_argument("--json", action="store_true", help="JSON, one object a line")
    options = parser.parse_args()

    def rows() -> Iterator[Row]:
        for into in [options.into] if options.into else ["counter", "influxdb"]:
            yield drain(into, options.minutes)

    show(rows(), as_json=options.json)


if __name__ == "__main__":
    main()
