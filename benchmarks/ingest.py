"""What it costs to bring messages from the broker into InfluxDB: ours, Telegraf's two parsers, and the database alone, one after
the other with the same messages.

Drained: the consumer is halted while the broker's queue for it fills, then all is stored as fast as it goes. Live: it runs while
the messages are published. What is stored is counted in the database. Prints a JSON object for each measurement, then a table.

usage: python benchmarks/ingest.py [--readings N] [--sizes 20,100] [--live] [--away SECONDS]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from _consumers import OURS, Consumer, consumers
from _measuring import GATEWAY, ROOT, Cost, write_plant

from millrace_contract.language.messages import Status, decode
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import decode_telemetry, encode_telemetry
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.testing import Influxd, Mosquitto, wait_until

DEVICES = 100
LAST_DEVICE = "D000"
"""It sends the last message of all, as long as there are as many of each device."""
TOPICS = Topics(ROOT)
STATUS = TOPICS.status("ingest", "1")
BROKER = "allow_anonymous true\nmax_inflight_messages 20000\nmax_queued_bytes 1000000000\nmax_queued_messages 0"
"""As mosquitto/mosquitto.conf, without accounts, with room for a whole run in the queue and for Telegraf's window."""
BODY_LINES = 5_000
STEP_MS = 100
BEFORE_MS = 3_600_000
"""So much older are the messages that only warm up."""

Messages = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Result:
    """CPU in seconds for a million readings; memory at its most, in MB."""

    who: str
    readings_a_message: int
    messages: int
    stored: int
    readings_per_s: int
    cpu_s: float
    influxd_s: float
    mosquitto_s: float
    rss_mb: int
    influxd_mb: int
    load: float


def messages(count: int, size: int, end_ms: int, stream: str) -> Iterator[tuple[str, bytes]]:
    """`count` messages of `size` readings, each device's STEP_MS apart and the last of them at `end_ms`."""
    start_ms = end_ms - count // DEVICES * STEP_MS
    names = [f"s{number:03}" for number in range(size)]
    for seq in range(1, count + 1):
        device = f"D{seq % DEVICES:03}"
        yield (
            TOPICS.telemetry("line1", device),
            encode_telemetry(
                device_id=device,
                timestamp_ms=start_ms + seq // DEVICES * STEP_MS,
                readings={name: round(20 + (seq * 7 + place) % 1000 / 10, 1) for place, name in enumerate(names)},
                quality={},
                tags={},
                stream=stream,
                seq=seq,
                prev=seq - DEVICES if seq > DEVICES else None,
            ),
        )


class Publisher:
    """Fills the queue, and hears whether ingest takes data."""

    def __init__(self, broker: Mosquitto) -> None:
        self.sent = 0
        self.taken = 0
        self.is_ingest_taking = False
        callbacks = Callbacks(message=self._hear, published=self._published)
        self.session = LeanSession(broker.settings(), "bench", callbacks, filters=[STATUS])
        self.session.start()
        assert self.session.wait_connected(10)

    def publish(self, everything: Messages) -> None:
        """Returns when the broker has them all."""
        for topic, payload in everything:
            while self.session.publish(topic, payload) is None:
                time.sleep(0.005)
        self.sent += len(everything)
        wait_until(lambda: self.taken == self.sent, "the broker to take all", 120)

    def _published(self, _token: int, is_taken: bool) -> None:
        self.taken += is_taken

    def _hear(self, received: Received) -> None:
        self.is_ingest_taking = bool(decode(Status, received.payload).taking)


class Bench:
    """Broker, database and one consumer, warmed up."""

    def __init__(self, folder: Path, consumer: Consumer, size: int, stack: ExitStack) -> None:
        self.consumer = consumer
        self.broker, self.database = Mosquitto(folder / "mosquitto", BROKER), Influxd(folder / "influxd")
        for server in (self.broker, self.database):
            server.start()
            stack.callback(server.stop)
        write_plant(folder / "config", devices=DEVICES, signals=size, interval_s=1)
        self.publisher = Publisher(self.broker)
        stack.callback(self.publisher.session.stop)
        self.influx = stack.enter_context(Influx(self.database.settings()))
        self.process = consumer.start(folder, self.broker, self.database)
        stack.callback(self._end)
        self._warm_up(size)

    def _warm_up(self, size: int) -> None:
        end_ms = int(time.time() * 1000) - BEFORE_MS
        some = list(messages(2_000, size, end_ms, f"{GATEWAY}.warm"))
        deadline_s = time.monotonic() + 120
        while not self.stored(0):  # what is published before the consumer has subscribed, nobody hears
            assert time.monotonic() < deadline_s, f"{self.consumer.name} stores nothing"
            self.publisher.publish(some)
            time.sleep(1.0)

    def stored(self, since_ms: int, device: str = "") -> int:
        """Messages in the database; those of one device are counted at no cost worth mentioning."""
        only = f" AND device = '{device}'" if device else ""
        query = f'SELECT count("{self.consumer.field}") FROM "bench" WHERE time >= {since_ms}ms{only}'
        found = self.influx.query("telemetry", query)
        return int(found[0].rows[0][1]) if found else 0

    def _end(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        self.process.wait(30)


def consume(consumer: Consumer, size: int, everything: Messages, first_ms: int, *, live: bool) -> Result:
    """Until the database has every message."""
    total = len(everything) * size
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), consumer, size, stack)
        pids = (bench.process.pid, bench.database.pid, bench.broker.pid)
        if not live:
            os.kill(bench.process.pid, signal.SIGSTOP)
            bench.publisher.publish(everything)
        before = [Cost.of(pid) for pid in pids]
        began_s = time.monotonic()
        if live:
            bench.publisher.publish(everything)
        else:
            os.kill(bench.process.pid, signal.SIGCONT)
        while bench.stored(first_ms, LAST_DEVICE) < len(everything) // DEVICES and time.monotonic() < began_s + 300:
            time.sleep(0.1)
        duration_s = time.monotonic() - began_s
        after = [Cost.of(pid) for pid in pids]
        stored = bench.stored(first_ms)
        cpu_s, influxd_s, mosquitto_s = (end.per_million(start, total) for start, end in zip(before, after, strict=True))
        return Result(
            who=consumer.name,
            readings_a_message=size,
            messages=len(everything),
            stored=stored,
            readings_per_s=round(stored * size / duration_s),
            cpu_s=cpu_s,
            influxd_s=influxd_s,
            mosquitto_s=mosquitto_s,
            rss_mb=round(after[0].rss_mb),
            influxd_mb=round(after[1].rss_mb),
            load=round(os.getloadavg()[0], 1),
        )


def write_alone(size: int, everything: Messages) -> Result:
    """The database's own limit: the same points as prebuilt bodies over one connection."""
    now_ms = int(time.time() * 1000)
    lines = []
    for topic, payload in everything:
        device = topic.split("/")[2]
        lines.append(telemetry_line("bench", "line1", device, decode_telemetry(payload, now_ms)))
    bodies = [b"\n".join(lines[start : start + BODY_LINES]) for start in range(0, len(lines), BODY_LINES)]
    total = len(everything) * size
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        database = Influxd(Path(folder) / "influxd")
        database.start()
        stack.callback(database.stop)
        influx = stack.enter_context(Influx(database.settings()))
        influx.write("telemetry", bodies[0])
        before, own = Cost.of(database.pid), time.process_time()
        began_s = time.monotonic()
        for body in bodies:
            influx.write("telemetry", body)
        duration_s = time.monotonic() - began_s
        after, own = Cost.of(database.pid), time.process_time() - own
        return Result(
            who="prebuilt bodies",
            readings_a_message=size,
            messages=len(lines),
            stored=len(lines),
            readings_per_s=round(total / duration_s),
            cpu_s=round(own / total * 1e6, 2),
            influxd_s=after.per_million(before, total),
            mosquitto_s=0.0,
            rss_mb=0,
            influxd_mb=round(after.rss_mb),
            load=round(os.getloadavg()[0], 1),
        )


def away(seconds: float) -> dict[str, object]:
    """Memory of ingest while messages go on at full rate: the database gone, then hanging, then the broker gone."""
    some = list(messages(200_000, 20, int(time.time() * 1000), f"{GATEWAY}.bench"))
    found: dict[str, object] = {"seconds_each": seconds}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), OURS, 20, stack)

        def publish(what: str) -> None:
            ends_s, published = time.monotonic() + seconds, 0
            while time.monotonic() < ends_s:
                bench.publisher.publish(some[published % len(some) :][:10_000])
                published += 10_000
            found[what] = {"messages_per_s": round(published / seconds), "most_rss_mb": round(Cost.of(bench.process.pid).rss_mb)}

        publish("all_is_well")
        bench.database.kill()
        publish("database_gone")
        bench.database.start()
        wait_until(lambda: bench.publisher.is_ingest_taking, "the database to be back", 60)
        bench.database.pause()
        publish("database_hangs")
        bench.database.resume()
        bench.broker.kill()
        time.sleep(seconds)
        found["broker_gone"] = {"most_rss_mb": round(Cost.of(bench.process.pid).rss_mb)}
        bench.broker.start()
    return found


def table(results: list[Result]) -> str:
    """Markdown; the ratios are to ours at the same size of message."""
    rows = [
        "| readings a message | who | readings/s | consumer s/M | times ours | influxd s/M | mosquitto s/M | consumer MB | load |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ours = {one.readings_a_message: one.cpu_s for one in results if one.who == OURS.name}
    for one in results:
        ratio = f"{one.cpu_s / ours[one.readings_a_message]:.1f}" if one.mosquitto_s else "-"
        rows.append(
            f"| {one.readings_a_message} | {one.who} | {one.readings_per_s:,} | {one.cpu_s} | {ratio} | {one.influxd_s} | "
            f"{one.mosquitto_s} | {one.rss_mb or '-'} | {one.load:.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=2_000_000)
    parser.add_argument("--sizes", default="20,100")
    parser.add_argument("--live", action="store_true", help="publish while the consumer runs")
    parser.add_argument("--away", type=float, metavar="SECONDS", help="only memory of ingest while database and broker are away")
    options = parser.parse_args()
    if options.away:
        print(json.dumps(away(options.away)), flush=True)
        return
    candidates = consumers()
    if len(candidates) == 1:
        print("Telegraf is not installed: only ours and the database alone are measured", file=sys.stderr)
    results: list[Result] = []
    for size in map(int, options.sizes.split(",")):
        end_ms = int(time.time() * 1000)
        everything = list(messages(options.readings // size, size, end_ms, f"{GATEWAY}.bench"))
        first_ms = end_ms - len(everything) // DEVICES * STEP_MS
        for consumer in candidates:
            results.append(consume(consumer, size, everything, first_ms, live=options.live))
            print(json.dumps(asdict(results[-1])), flush=True)
        results.append(write_alone(size, everything))
        print(json.dumps(asdict(results[-1])), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
