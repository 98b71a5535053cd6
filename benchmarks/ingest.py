"""What it costs to bring messages from the broker into InfluxDB: a queue of prebuilt messages is drained as fast as it goes.

ingest is halted while the broker's queue for it fills, so that only the draining is measured. What is stored is counted in the
database. Prints one JSON object a size of message.

usage: python benchmarks/ingest.py [--readings N] [--sizes 20,100]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from _measuring import BROKER, GATEWAY, ROOT, Cost, start_service, write_plant

from millrace_contract.messages import Status, Stored, decode
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.session import Callbacks, Received
from millrace_contract.runtime.wire_session import WireSession
from millrace_contract.telemetry import encode_telemetry
from millrace_contract.testing import Influxd, Mosquitto, wait_until
from millrace_contract.topics import Topics

DEVICES = 100
TOPICS = Topics(ROOT)
STATUS = TOPICS.status("ingest", "1")


def messages(count: int, size: int, stream: str) -> Iterator[tuple[str, bytes]]:
    """`count` messages of `size` readings, each device's 100 ms apart and the last of them now."""
    start_ms = int(time.time() * 1000) - count // DEVICES * 100
    names = [f"s{number:03}" for number in range(size)]
    for seq in range(1, count + 1):
        device = f"D{seq % DEVICES:03}"
        yield (
            TOPICS.telemetry("line1", device),
            encode_telemetry(
                device_id=device,
                timestamp_ms=start_ms + seq // DEVICES * 100,
                readings={name: round(20 + (seq * 7 + place) % 1000 / 10, 1) for place, name in enumerate(names)},
                quality={},
                tags={},
                stream=stream,
                seq=seq,
                prev=seq - DEVICES if seq > DEVICES else None,
            ),
        )


class Publisher:
    """Fills the queue and hears what is confirmed."""

    def __init__(self, broker: Mosquitto) -> None:
        self.taken = 0
        self.confirmed = 0
        self.confirmed_s = 0.0
        self.is_ingest_taking = False
        callbacks = Callbacks(message=self._take, published=self._published)
        self.session = WireSession(broker.settings(), "bench", callbacks, filters=[TOPICS.stored(GATEWAY), STATUS])
        self.session.start()
        assert self.session.wait_connected(10)

    def publish(self, everything: list[tuple[str, bytes]]) -> None:
        for topic, payload in everything:
            while self.session.publish(topic, payload) is None:
                time.sleep(0.005)
        wait_until(lambda: self.taken == len(everything), "the broker to take all", 60)
        self.taken = 0

    def _published(self, _token: int, is_taken: bool) -> None:
        self.taken += is_taken

    def _take(self, received: Received) -> None:
        if received.topic == STATUS:
            self.is_ingest_taking = bool(decode(Status, received.payload).taking)
            return
        self.confirmed += sum(last - first + 1 for first, last in decode(Stored, received.payload).seqs)
        self.confirmed_s = time.monotonic()


def measure(folder: Path, size: int, readings: int) -> dict[str, object]:
    broker, database = Mosquitto(folder / "mosquitto", BROKER), Influxd(folder / "influxd")
    broker.start()
    database.start()
    write_plant(folder / "config", devices=DEVICES, signals=size, interval_s=1)
    settings = database.settings()
    ingest = start_service(
        "ingest", folder, broker, influx_url=settings.influx_url, influx_token=settings.influx_token.get_secret_value()
    )
    publisher = Publisher(broker)
    try:
        warm_up = 2_000
        wait_until(lambda: publisher.is_ingest_taking, "ingest to listen", 60)
        publisher.publish(list(messages(warm_up, size, f"{GATEWAY}.warm")))
        wait_until(lambda: publisher.confirmed >= warm_up, "the first messages to be stored", 60)
        everything = list(messages(readings // size, size, f"{GATEWAY}.bench"))
        os.kill(ingest.pid, signal.SIGSTOP)
        publisher.publish(everything)
        pids = {"ingest": ingest.pid, "influxd": database.pid, "mosquitto": broker.pid}
        before = {name: Cost.of(pid) for name, pid in pids.items()}
        publisher.confirmed = 0
        began_s = time.monotonic()
        os.kill(ingest.pid, signal.SIGCONT)
        wait_until(lambda: publisher.confirmed >= len(everything), "all to be stored", 300)
        duration_s = publisher.confirmed_s - began_s
        after = {name: Cost.of(pid) for name, pid in pids.items()}
        with Influx(settings) as influx:
            (series,) = influx.query(
                "telemetry", 'SELECT count(_seq) FROM "bench" WHERE _stream = $stream', stream=f"{GATEWAY}.bench"
            )
    finally:
        os.kill(ingest.pid, signal.SIGCONT)
        ingest.terminate()
        ingest.wait(20)
        publisher.session.stop()
        broker.stop()
        database.stop()
    total = len(everything) * size
    return {
        "readings_a_message": size,
        "bytes_a_message": len(everything[-1][1]),
        "messages": len(everything),
        "stored": series.rows[0][1],
        "readings_per_s": round(total / duration_s),
        "cpu_s_per_million": {name: after[name].per_million(before[name], total) for name in pids},
        "rss_mb": {name: round(after[name].rss_mb) for name in pids},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=2_000_000)
    parser.add_argument("--sizes", default="20,100")
    options = parser.parse_args()
    for size in options.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Path(folder), int(size), options.readings)), flush=True)


if __name__ == "__main__":
    main()
