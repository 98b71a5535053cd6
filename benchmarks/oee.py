"""What figures cost: CPU and memory of the oee service, as a process between a real broker and a real database.

`live`: a queue of messages at the broker, up to now, drained as fast as it goes. `backlog`: the same, and as many older ones, which
their gateway held back, among them. `paced`: machines that speak once a second, while they do. `month`: `recompute` of days of a
machine at one message a second, put into the database as ingest's lines. Prints a JSON object for each measurement.

usage: python benchmarks/oee.py [--case live,backlog,paced,month] [--devices N] [--lines N] [--messages N] [--seconds S] [--days N]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from _measuring import GATEWAY, ROOT, Cost, start_service
from _oee_plant import device_of, line_of, said, seconds_of, write_oee_plant

from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.messages import Status, decode
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.testing import Influxd, Mosquitto, wait_until
from millrace_oee.engine import Engine
from millrace_oee.plan import load_plan
from millrace_oee.results import Results
from millrace_oee.store import OEE_STORE, Store

BROKER = "allow_anonymous true\nmax_inflight_messages 2000\nmax_queued_bytes 1000000000\nmax_queued_messages 0"
TOPICS = Topics(ROOT)
DAY_S = 86_400
BODY_LINES = 10_000

Messages = Iterable[tuple[str, bytes]]


class Plant:
    """Messages of machines that all speak once a second, each in a chain of its own."""

    def __init__(self, devices: int, lines: int, readings: int) -> None:
        self.devices = devices
        self._lines = lines
        self._readings = readings
        self._seqs = dict.fromkeys(range(devices), 0)

    def second(self, second: int, at_ms: int) -> Iterator[tuple[str, bytes]]:
        return (self.message(number, second, at_ms) for number in range(self.devices))

    def begin(self, folder: Path, hours: float, step_s: int, until_ms: int) -> None:
        """The store of an oee that heard them for hours, in the same rhythm as later or a coarser one."""
        data = folder / "oee"
        data.mkdir()
        plan, opened = load_plan(folder / "config"), open_store(OEE_STORE, data / "oee.db", until_ms)
        with transaction(opened.connection):
            engine = Engine(plan, Store(opened.connection), Results(opened.connection, lambda _topic, _message: None))
            start_ms = until_ms - round(hours * 3_600_000)
            for at_ms in range(start_ms, until_ms, step_s * 1000) if hours else ():
                for number in range(self.devices):
                    _, payload = self.message(number, (at_ms - start_ms) // 1000, at_ms, None if step_s == 1 else 3.0 * step_s)
                    engine.accept(device_of(number), decode_telemetry(payload, until_ms), until_ms)
            engine.save()
        for device in plan.machines:
            with transaction(opened.connection):
                engine.evaluate(device, as_of_ms=until_ms, ended_ms=until_ms)
                engine.tidy(device, until_ms)
                engine.save()
        opened.close()

    def message(self, number: int, second: int, at_ms: int, hold_s: float | None = None) -> tuple[str, bytes]:
        device, seq = device_of(number), self._seqs[number] + 1
        self._seqs[number] = seq
        payload = said(
            device, second, at_ms + number % 1000, readings=self._readings, seq=seq, prev=seq - 1 or None,
            stream=f"{GATEWAY}.{device}", hold_s=hold_s,
        )  # fmt: skip
        return TOPICS.telemetry(line_of(number, self._lines), device), payload


class Bench:
    """Broker, and oee on a plant; its database is away unless a case needs one."""

    def __init__(self, folder: Path, options: argparse.Namespace, plant: Plant, start_ms: int, stack: ExitStack) -> None:
        self.broker = Mosquitto(folder / "mosquitto", BROKER)
        self.broker.start()
        stack.callback(self.broker.stop)
        write_oee_plant(folder / "config", devices=options.devices, lines=options.lines)
        self.received: dict[str, float] = {}
        self.sent = self.taken = 0
        self.session = LeanSession(
            self.broker.settings(),
            "bench",
            Callbacks(message=self._hear, published=self._published),
            filters=[TOPICS.status("oee", "1")],
        )
        self.session.start()
        stack.callback(self.session.stop)
        wait_until(lambda: self.session.is_connected, "the broker", 30)
        plant.begin(folder, options.hours, options.step, start_ms)
        self.process = start_service("oee", folder, self.broker, influx_url="http://127.0.0.1:1", influx_token="none")
        stack.callback(self._end)
        wait_until(lambda: self.received, "oee", 60)

    def publish(self, everything: Messages) -> None:
        """Returns when the broker has them all."""
        for topic, payload in everything:
            while self.session.publish(topic, payload) is None:
                time.sleep(0.002)
            self.sent += 1
        wait_until(lambda: self.taken == self.sent, "the broker to take all", 240)

    def figures(self) -> dict[str, float]:
        return self.received

    def _published(self, _token: int, is_taken: bool) -> None:
        self.taken += is_taken

    def _hear(self, received: Received) -> None:
        status = decode(Status, received.payload)
        if status.alive:
            self.received = dict(status.figures)

    def _end(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        self.process.wait(60)


def drain(
    options: argparse.Namespace, plant: Plant, start_ms: int, everything: Callable[[], Messages], warm: Callable[[], Messages]
) -> dict[str, object]:
    """CPU of oee for each message of a queue that waits at the broker."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(Path(folder), options, plant, start_ms, stack)
        before_all = messages_of(Path(folder))
        bench.publish(warm())
        wait_until(lambda: messages_of(Path(folder)) >= before_all + bench.sent, "the first messages", 120)
        time.sleep(options.settle)
        os.kill(bench.process.pid, signal.SIGSTOP)
        warm_count = bench.sent
        ready = list(everything())
        bench.publish(ready)
        count = bench.sent - warm_count
        before, began_s = Cost.of(bench.process.pid), time.monotonic()
        os.kill(bench.process.pid, signal.SIGCONT)
        wait_until(lambda: messages_of(Path(folder)) >= before_all + bench.sent, "all messages", 500)
        drained_s, taken = time.monotonic() - began_s, Cost.of(bench.process.pid)
        time.sleep(options.settle)
        settled = Cost.of(bench.process.pid)
        return {
            "messages": count,
            "us_a_message": round((taken.cpu_s - before.cpu_s) / count * 1e6, 1),
            "messages_per_cpu_s": round(count / (taken.cpu_s - before.cpu_s)),
            "us_with_what_follows": round((settled.cpu_s - before.cpu_s) / count * 1e6, 1),
            "drained_s": round(drained_s, 1),
            "mb": round(settled.rss_mb),
        }


def messages_of(folder: Path) -> int:
    """How many messages oee has committed, as its store says."""
    import sqlite3  # noqa: PLC0415 - only here, and only to look

    with sqlite3.connect(f"file:{folder / 'oee' / 'oee.db'}?mode=ro", uri=True, timeout=30) as connection:
        return int(connection.execute("SELECT coalesce(sum(seq), 0) FROM chain").fetchone()[0])


def live(options: argparse.Namespace) -> dict[str, object]:
    plant = Plant(options.devices, options.lines, options.readings)
    seconds = options.messages // options.devices
    start_ms = int(time.time() * 1000) // 1000 * 1000 - (seconds + 60) * 1000

    def messages(first: int, count: int) -> Iterator[tuple[str, bytes]]:
        return (each for second in range(first, first + count) for each in plant.second(second, start_ms + second * 1000))

    return drain(options, plant, start_ms, lambda: messages(20, seconds), lambda: messages(0, 20))


def backlog(options: argparse.Namespace) -> dict[str, object]:
    """Half of the messages are live; the other half the time before, in order, as an outbox sends it."""
    plant = Plant(options.devices, options.lines, options.readings)
    seconds = options.messages // options.devices // 2
    start_ms = int(time.time() * 1000) // 1000 * 1000 - (2 * seconds + 60) * 1000

    def both() -> Iterator[tuple[str, bytes]]:
        for second in range(seconds):
            for each in (seconds + 20 + second, second):
                yield from plant.second(each, start_ms + each * 1000)

    def first() -> Iterator[tuple[str, bytes]]:
        return (each for second in range(seconds, seconds + 20) for each in plant.second(second, start_ms + second * 1000))

    return drain(options, plant, start_ms, both, first)


def paced(options: argparse.Namespace) -> dict[str, object]:
    """Machines that speak once a second, as it goes by."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plant = Plant(options.devices, options.lines, options.readings)
        bench = Bench(Path(folder), options, plant, int(time.time() * 1000) // 1000 * 1000 - 20_000, stack)
        before = Cost.of(bench.process.pid)
        began_s, most = time.monotonic(), 0
        for second in range(options.seconds + 10):
            at_ms = int(time.time() * 1000)
            for message in plant.second(second, at_ms - 1000):
                bench.session.publish(*message)
            if second == 9:
                before, began_s = Cost.of(bench.process.pid), time.monotonic()
            time.sleep(max(0.0, at_ms / 1000 + 1 - time.time()))
            most = max(most, int(bench.received.get("queue_messages", 0)))
        after, took_s = Cost.of(bench.process.pid), time.monotonic() - began_s
        return {
            "devices": options.devices,
            "cores": round((after.cpu_s - before.cpu_s) / took_s, 3),
            "queue_at_most": most,
            "mb": round(after.rss_mb),
        }


def month(options: argparse.Namespace) -> dict[str, object]:
    """`recompute` of whole days of one machine, one message a second."""
    from_ms = int(time.time()) // DAY_S * DAY_S * 1000 - (options.days + 2) * DAY_S * 1000
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        database = Influxd(folder / "influxd")
        database.start()
        stack.callback(database.stop)
        write_oee_plant(folder / "config", devices=1, lines=1)
        fill(database, from_ms - 6 * 3_600_000, (options.days * 24 + 12) * 3_600, options.readings)
        environment = {
            "MILLRACE_CONFIG": str(folder / "config"), "MILLRACE_DATA": str(folder / "oee"),
            "MILLRACE_INFLUX_URL": database.url, "MILLRACE_INFLUX_TOKEN": database.TOKEN,
        }  # fmt: skip
        period = ["--from", format_timestamp(from_ms), "--to", format_timestamp(from_ms + options.days * DAY_S * 1000)]
        command = [str(Path(sys.executable).with_name("millrace-oee")), "recompute", "--device", device_of(0), *period]
        told = subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True, timeout=600)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"days": options.days, "documents": told.stdout.count(b"\n"), **cost_of_child(used)}


def cost_of_child(used: resource.struct_rusage) -> dict[str, object]:
    return {"cpu_s": round(used.ru_utime + used.ru_stime, 1), "mb": round(used.ru_maxrss / 1024)}


def fill(database: Influxd, from_ms: int, seconds: int, readings: int) -> None:
    """The lines that ingest makes of a machine's messages."""
    now_ms = int(time.time() * 1000)
    with Influx(database.settings(), timeout_s=60) as influx:
        payloads = seconds_of(device_of(0), from_ms, seconds, readings=readings)
        while batch := list(islice(payloads, BODY_LINES)):
            lines = (telemetry_line("bench", line_of(0, 1), device_of(0), decode_telemetry(each, now_ms)) for each in batch)
            influx.write(TELEMETRY_BUCKET, b"\n".join(lines))


CASES = {"live": live, "backlog": backlog, "paced": paced, "month": month}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES))
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--lines", type=int, default=10)
    parser.add_argument("--hours", type=float, default=0, help="of these machines in oee's store before")
    parser.add_argument("--step", type=int, default=1, help="seconds between two messages of those hours")
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--readings", type=int, default=3, help="in each message, at least 3")
    parser.add_argument("--seconds", type=int, default=30, help="of `paced`")
    parser.add_argument("--settle", type=float, default=10.0, help="seconds in which `live` and `backlog` may finish their figures")
    parser.add_argument("--days", type=int, default=30, help="of `month`")
    options = parser.parse_args()
    for case in options.case.split(","):
        print(json.dumps({"case": case, **CASES[case](options), "load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
