"""A small plant of one gateway, and the messages that it sends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from millrace_contract.language.messages import Status, Stored, decode, encode
from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import encode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.runtime.status import Platform
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.testing import Broker, Influxd, Mosquitto, free_port

PLANT = """\
root: {root}
time_zone: Europe/Berlin
undeclared: {undeclared}
lines:
  line1:
    title: Machining
    devices:
{devices}
"""
DEVICE = """\
      {name}:
        title: Mill
        profile: acme-mill
        connection: {{host: 127.0.0.1}}
"""
PROFILE = """\
title: Mill
asset_class: cnc
source: tests
verified: simulator
groups: {fast: {interval_s: 1.0}}
signals:
  run_status: {table: holding, address: 10, type: uint16}
  temperature: {table: input, address: 100, type: float32}
"""


def _write_plant(folder: Path, *, root: str = "plant", undeclared: str = "store", devices: int = 20) -> Path:
    """A configuration folder with devices D-0, D-1 ... of gateway edge-1."""
    (folder / "profiles").mkdir(parents=True, exist_ok=True)
    (folder / "profiles" / "acme-mill.yaml").write_text(PROFILE)
    names = "".join(DEVICE.format(name=f"D-{number}") for number in range(devices))
    (folder / "plant.yaml").write_text(PLANT.format(root=root, undeclared=undeclared, devices=names))
    return folder


def _message(
    device: str = "D-0", timestamp_ms: int = 1_760_000_000_000, *, seq: int | None = 1, prev: int | None = None,
    stream: str | None = "edge-1.aa", temperature: float = 20.5,
) -> bytes:  # fmt: skip
    """What a gateway sends for one read."""
    return encode_telemetry(
        device_id=device,
        timestamp_ms=timestamp_ms,
        readings={"run_status": 1, "temperature": temperature},
        quality={},
        tags={"station": "ST3"},
        stream=stream if seq is not None else None,
        seq=seq,
        prev=prev,
    )


@pytest.fixture
def write_plant() -> Callable[..., Path]:
    """Writes a configuration folder: folder, root, undeclared, devices."""
    return _write_plant


@pytest.fixture
def message() -> Callable[..., bytes]:
    """Encodes telemetry: device, timestamp_ms, seq, prev, stream, temperature."""
    return _message


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return _write_plant(tmp_path / "config")


@pytest.fixture
def plant(config_dir: Path) -> PlantModel:
    return load_plant(config_dir)


class Ingest:
    """The service as a process of its own, killed and started again at will."""

    subcommand = "run"
    figures = "millrace_ingest_figure"

    def __init__(self, folder: Path, config: Path, broker: Broker, influxd: Influxd, **settings: str) -> None:
        self.folder = folder
        self.config = config
        self.broker = broker
        self.influxd = influxd
        self.port = free_port()
        self.environ = {
            **os.environ,
            "MILLRACE_CONFIG": str(config),
            "MILLRACE_DATA": str(folder / "data"),
            "MILLRACE_MQTT_PORT": str(broker.port),
            "MILLRACE_INFLUX_URL": influxd.url,
            "MILLRACE_INFLUX_TOKEN": influxd.TOKEN,
            "MILLRACE_HTTP_PORT": str(self.port),
            "MILLRACE_LOG_FORMAT": "json",
            "MILLRACE_INGEST_PATIENCE_S": "1",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "millrace_ingest", self.subcommand], env=self.environ, stderr=log, stdin=subprocess.DEVNULL
            )

    @property
    def log_file(self) -> Path:
        return self.folder / f"{'ingest' if self.subcommand == 'run' else self.subcommand}.log"

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._end(signal.SIGTERM)

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """Runs a command beside the service: exit status, standard output, standard error."""
        done = subprocess.run(
            [sys.executable, "-m", "millrace_ingest", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def logged(self, event: str) -> bool:
        return f'"event": "{event}"' in (self.log_file.read_text(errors="replace") if self.log_file.exists() else "")

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def figure(self, name: str) -> float:
        """A figure of the running service, at most a second or so old; -1 before there is one."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            return -1
        found = re.search(rf'^{self.figures}\{{figure="{name}"\}} (.+)$', text, re.MULTILINE)
        return float(found[1]) if found else -1

    def stored(self, measurement: str = "acme-mill", field: str = "temperature") -> dict[str, list[float]]:
        """Values of a field in the database, by device, in order of time; also those that are there twice."""
        with Influx(self.influxd.settings()) as influx:
            series = influx.query("telemetry", f'SELECT "{field}" FROM "{measurement}" GROUP BY device')
        return {one.tags["device"]: [row[1] for row in one.rows] for one in series}

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        status = self.process.wait(30)
        self.process = None
        return status


class RollupProcess(Ingest):
    """`millrace-ingest rollup`, beside an ingest."""

    subcommand = "rollup"
    figures = "millrace_rollup_figure"


class Gateway:
    """A sender with a real outbox: keeps each message until ingest has confirmed it."""

    def __init__(
        self, folder: Path, broker: Broker, root: str = "plant", instance: str = "edge-1", limits: Limits | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        topics = Topics(root)
        self.topics = topics
        self.sent: dict[str, list[int]] = {}
        self.taking: list[bool] = []
        self.session = PahoSession(
            broker.settings(),
            f"gateway-{instance}",
            Callbacks(self._received, self._connected, self._disconnected, self._published),
            filters=[topics.stored(instance), *topics.filters(Kind.STATUS)],
        )
        self.outbox = OutboxThread(
            folder / "outbox.sqlite",
            instance,
            self.session.publish,
            ledger_topic=topics.ledger("gateway", instance),
            encode_loss=ledger_encoder("gateway", instance),
            clock=SystemClock(),
            limits=limits,
        )
        self._status_topic = topics.status("gateway", instance)
        self._instance = instance
        self._platform = Platform()

    def start(self) -> None:
        self.outbox.start()
        self.session.start()

    def stop(self) -> None:
        self.session.stop()
        self.outbox.stop()

    def send(self, count: int, devices: int = 20) -> None:
        """`count` reads of devices in turn; each has its number as temperature, and a timestamp of its own."""
        now_ms = SystemClock().now_ms()
        drafts = []
        for place in range(count):
            device = f"D-{place % devices}"
            numbers = self.sent.setdefault(device, [])
            number = len(numbers)
            numbers.append(number)
            drafts.append(Draft(self.topics.telemetry("line1", device), device, now_ms, partial(_numbered, device, number)))
        self.outbox.append(drafts)

    def say_status(self) -> None:
        """As a gateway does every ten seconds."""
        status = Status(
            service="gateway",
            instance=self._instance,
            alive=True,
            timestamp=format_timestamp(SystemClock().now_ms()),
            sent=self.outbox.stats().sent,
        )
        self.session.publish(self._status_topic, encode(status), retain=True)

    @property
    def is_drained(self) -> bool:
        stats = self.outbox.stats()
        return stats.depth == 0 and stats.held == 0 and stats.confirmed >= sum(len(sent) for sent in self.sent.values())

    def _received(self, message: Received) -> None:
        topic = self.topics.parse(message.topic)
        if topic is None:
            return
        if topic.kind is Kind.STORED:
            stored = decode(Stored, message.payload)
            self.outbox.confirmed(stored.stream, stored.seqs, stored.held)
        elif (status := self._platform.apply(topic, message.payload)) is not None and status.service == "ingest":
            self.taking.append(status.alive and bool(status.taking))
            self.outbox.taking(self._platform.is_taking())

    def _connected(self) -> None:
        self.outbox.connected()

    def _disconnected(self) -> None:
        self.outbox.disconnected()

    def _published(self, token: int, ok: bool) -> None:
        self.outbox.published(token, ok)


def _numbered(device: str, number: int, stamp: Stamp) -> bytes:
    return encode_telemetry(
        device_id=device, timestamp_ms=stamp.timestamp_ms, readings={"temperature": float(number)}, quality={}, tags={},
        stream=stamp.stream, seq=stamp.seq, prev=stamp.prev,
    )  # fmt: skip


@pytest.fixture
def broker(tmp_path: Path, mosquitto: Mosquitto) -> Mosquitto:
    """The shared fixture's broker, restarted with the in-flight limit that our own configuration has."""
    mosquitto.stop()
    mosquitto.configuration = "allow_anonymous true\nmax_inflight_messages 10000"
    mosquitto.start()
    return mosquitto


@pytest.fixture
def ingest(tmp_path: Path, config_dir: Path, broker: Mosquitto, influxd: Influxd) -> Iterator[Ingest]:
    """Not started yet."""
    made = Ingest(tmp_path / "ingest", config_dir, broker, influxd)
    yield made
    made.stop()


@pytest.fixture
def rollup_process(tmp_path: Path, config_dir: Path, broker: Mosquitto, influxd: Influxd) -> Iterator[RollupProcess]:
    """Not started yet."""
    made = RollupProcess(tmp_path / "rollup", config_dir, broker, influxd, MILLRACE_ROLLUP_INTERVAL_S="0.2")
    yield made
    made.stop()


@pytest.fixture
def gateway(tmp_path: Path, broker: Mosquitto) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", broker)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def stranger(broker: Mosquitto) -> Iterator[PahoSession]:
    """A third party's connection: no outbox, no stream."""
    session = PahoSession(broker.settings(), "stranger", Callbacks())
    session.start()
    assert session.wait_connected(10)
    yield session
    session.stop()
