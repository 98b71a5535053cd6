"""What the gateway's measurements share: devices, the plant that describes them, a subscriber that confirms, and one run."""

from __future__ import annotations

import random
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from _measuring import BROKER, GATEWAY, ROOT, Cost, start_service
from _modbus_server import ModbusServer, Polls

from millrace_contract.language.messages import Status, Stored, encode
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.store_forward.ranges import merge_ranges
from millrace_contract.testing import Mosquitto, free_port, wait_until

TOPICS: Final = Topics(ROOT)
TAKING: Final = TOPICS.status("ingest", "1")
CONFIRM_S: Final = 0.25
SETTLE_S: Final = 3.0
NUMBER: Final = re.compile(rb'"stream":"([^"]+)","seq":(\d+)')


class Place(NamedTuple):
    """A signal: name, zero-based address, type."""

    name: str
    address: int
    type: str


CONTIGUOUS: Final = tuple(Place(f"s{number:03}", 2 * number, "float32") for number in range(100))
"""100 float32 in 200 registers."""


def scattered(seed: int = 1) -> tuple[Place, ...]:
    """100 signals of mixed types with gaps of 0 to 12 registers between them."""
    chance = random.Random(seed)
    places: list[Place] = []
    address = 0
    for number in range(100):
        kind = chance.choice(("int16", "uint16", "int32", "uint32", "float32"))
        places.append(Place(f"s{number:03}", address, kind))
        address += (1 if kind.endswith("16") else 2) + chance.randint(0, 12)
    return tuple(places)


@dataclass(frozen=True)
class Device:
    name: str
    host: str
    port: int
    gateway: str
    signals: tuple[Place, ...]


def devices(
    count: int, port: int, *, signals: tuple[Place, ...] = CONTIGUOUS, gateways: Sequence[str] = (GATEWAY,)
) -> list[Device]:
    """Each on an address of its own, the gateways in turn."""
    return [
        Device(f"D{number:04}", f"127.0.{1 + number // 200}.{1 + number % 200}", port, gateways[number % len(gateways)], signals)
        for number in range(count)
    ]


def write_plant(folder: Path, members: Sequence[Device], interval_s: float) -> None:
    """A folder for MILLRACE_CONFIG with these devices, all of one profile."""
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "bench.yaml").write_text(
        f"title: Bench\nsource: benchmarks\nverified: simulator\ngroups: {{all: {{interval_s: {interval_s}}}}}\nsignals:\n"
        + "".join(f"  {each.name}: {{address: {each.address}, type: {each.type}}}\n" for each in members[0].signals)
    )
    (folder / "plant.yaml").write_text(
        f"root: {ROOT}\ntime_zone: Europe/Berlin\nlines:\n  line1:\n    devices:\n"
        + "".join(
            f"      {each.name}:\n        profile: bench\n        gateway: {each.gateway}\n"
            f"        connection: {{host: {each.host}, port: {each.port}}}\n"
            for each in members
        )
    )


class Subscriber:
    """Counts messages, and confirms those of a gateway as ingest would."""

    def __init__(self, broker: Mosquitto) -> None:
        self.messages = 0
        self.backfill = 0
        self.devices: set[str] = set()
        self._seqs: dict[str, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()
        callbacks = Callbacks(message=self._take, connected=self._connected)
        filters = [*TOPICS.filters(Kind.TELEMETRY), "telegraf/#"]
        self.session = LeanSession(broker.settings(), "ingest-1", callbacks, filters=filters, receive_maximum=10_000)
        self.session.start()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._confirm, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.session.stop()

    def _connected(self) -> None:
        self.session.publish(TAKING, encode(Status(service="ingest", instance="1", alive=True, taking=True)), retain=True)

    def _take(self, received: Received) -> None:
        self.messages += 1
        self.devices.add(received.topic)
        end = received.payload[-160:]
        found = NUMBER.search(end)
        if found is not None:  # Telegraf numbers nothing.
            seq = int(found[2])
            self.backfill += b'"backfill"' in end
            with self._lock:
                self._seqs.setdefault(found[1].decode(), []).append((seq, seq))

    def _confirm(self) -> None:
        while not self._stopping.wait(CONFIRM_S):
            with self._lock:
                taken, self._seqs = self._seqs, {}
            for stream, seqs in taken.items():
                sender = stream.rpartition(".")[0]
                self.session.publish(TOPICS.stored(sender), encode(Stored(stream=stream, seqs=merge_ranges(seqs))))


class Stage:
    """A broker, a Modbus server and a subscriber, for one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.broker = Mosquitto(folder / "mosquitto", BROKER)
        self.broker.start()
        self.server = ModbusServer(self.port)
        self.subscriber = Subscriber(self.broker)

    def close(self) -> None:
        self.subscriber.stop()
        self.server.stop()
        self.broker.stop()


@contextmanager
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        opened = Stage(Path(folder))
        try:
            yield opened
        finally:
            opened.close()


def start_gateways(on: Stage, members: Sequence[Device], interval_s: float) -> list[subprocess.Popen[bytes]]:
    """One process for each gateway that the devices name."""
    write_plant(on.folder / "config", members, interval_s)
    return [
        start_service("gateway", on.folder, on.broker, instance=name, data=on.folder / name)
        for name in sorted({device.gateway for device in members})
    ]


@dataclass(frozen=True)
class Run:
    """What one system did between two moments. CPU in seconds per million signals that it read."""

    signals_per_s: float
    """That arrived."""
    polls: Polls
    cpu_s_per_million: float
    broker_s_per_million: float
    cores: float
    rss_mb: float
    backfill: int


Start = Callable[[Stage], list[subprocess.Popen[bytes]]]


def measure(on: Stage, start: Start, *, expected: int, signals: int, seconds: float, then: Callable[[], None] | None = None) -> Run:
    """Start the system, wait until messages of `expected` devices came, let it settle, and count for some seconds."""
    processes = start(on)

    def cost(pids: Sequence[int]) -> tuple[float, float]:
        costs = [Cost.of(pid) for pid in pids]
        return sum(each.cpu_s for each in costs), sum(each.rss_mb for each in costs)

    try:
        wait_until(
            lambda: len(on.subscriber.devices) >= expected or any(process.poll() is not None for process in processes),
            f"messages of {expected} devices",
            90,
        )
        assert all(process.poll() is None for process in processes), "it ended by itself"
        time.sleep(SETTLE_S)
        pids = [process.pid for process in processes]
        on.server.polls()
        began_s, messages, (cpu_s, _), (broker_s, _) = time.monotonic(), on.subscriber.messages, cost(pids), cost([on.broker.pid])
        time.sleep(seconds)
        polls = on.server.polls()
        count = (on.subscriber.messages - messages) * signals
        spent_s, (after_s, rss_mb), (broker_after_s, _) = time.monotonic() - began_s, cost(pids), cost([on.broker.pid])
        if then is not None:
            then()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)
    millions = max(polls.count() * signals, 1) / 1e6
    return Run(
        signals_per_s=count / spent_s,
        polls=polls,
        cpu_s_per_million=(after_s - cpu_s) / millions,
        broker_s_per_million=(broker_after_s - broker_s) / millions,
        cores=(after_s - cpu_s) / spent_s,
        rss_mb=rss_mb,
        backfill=on.subscriber.backfill,
    )
