"""Whoever owns an outbox keeps the same promises: the gateway's thread, the workers of oee and alerts. One table, no server."""

from __future__ import annotations

import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_alerts.service import AlertsService, load_configuration
from millrace_alerts.settings import AlertsSettings
from millrace_alerts.store import ALERTS_STORE
from millrace_contract.language.messages import Held, Mark, Stored, encode
from millrace_contract.language.times import format_timestamp
from millrace_contract.plant.accepted import load_accepted
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_figures import OutboxFigures
from millrace_contract.store_forward.outbox_file import OUTBOX_STORE
from millrace_contract.store_forward.ranges import merge_ranges
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.store_forward.store_form import StoreKind
from millrace_contract.testing import ManualClock, free_port, wait_until
from millrace_contract.testing.outboxes import telemetry
from millrace_gateway.fleet import load_fleet
from millrace_gateway.settings import GatewaySettings
from millrace_gateway.uplink import Uplink
from millrace_oee.plan import load_plan
from millrace_oee.service import OeeService
from millrace_oee.settings import OeeSettings
from millrace_oee.store import OEE_STORE

pytestmark = pytest.mark.process

CONFIG = Path(__file__).resolve().parents[2] / "config"
DAY_S = 86_400
HOUR_S = 3_600
MAX_MB = 1


class Owner(ABC):
    """A service that owns an outbox, without a broker, on a clock that the test moves."""

    sender: str
    file: str
    kind: StoreKind

    def __init__(self, data: Path, clock: ManualClock) -> None:
        self.data = data
        self.clock = clock
        self.worked = 0

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def figures(self) -> OutboxFigures: ...

    @abstractmethod
    def disk_problem(self) -> str | None: ...

    @abstractmethod
    def receive(self, topic: str, payload: bytes) -> None: ...

    @abstractmethod
    def work(self) -> None:
        """One more message that must not be lost."""

    @abstractmethod
    def worked_off(self) -> int:
        """How many of them are on disk."""

    @property
    def path(self) -> Path:
        return self.data / self.file

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "config": CONFIG,
            "data": self.data,
            "mqtt_port": free_port(),
            "outbox_max_mb": MAX_MB,
            "outbox_max_days": 30,
        }

    def fill(self, count: int, filler: str = "") -> None:
        """Messages of now in the outbox of a service that does not run."""
        self.start()
        self.stop()
        file = open_store(self.kind, self.path, self.clock.now_ms())
        service, _, instance = self.sender.partition("-")
        outbox = Outbox(file.connection, self.sender, ledger_topic="l", encode_loss=ledger_encoder(service, instance))
        with transaction(file.connection):
            outbox.append(telemetry("CNC-01", self.clock.now_ms() + n, filler) for n in range(count))
        file.close()

    def rows(self, query: str) -> list[Any]:
        reader = sqlite3.connect(self.path)
        try:
            return reader.execute(query).fetchall()
        finally:
            reader.close()

    def kept(self) -> int:
        """How many of those that the test put in: a service may have something to say of a clock that steps."""
        return int(self.rows("SELECT count(*) FROM outbox_message WHERE topic LIKE '%/telemetry'")[0][0])

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for (payload,) in self.rows("SELECT payload FROM outbox_message WHERE is_ledger")]

    def confirm_all(self) -> None:
        [(stream, next_id)] = self.rows("SELECT name, next_id FROM outbox_stream, outbox_state")
        self.receive(f"factory/_platform/stored/{self.sender}", encode(Stored(stream=stream, seqs=[(1, next_id - 1)])))

    def look(self, condition: Callable[[OutboxFigures], object], what: str) -> None:
        """Wait for figures, a second of the clock for each look."""

        def seen() -> object:
            self.clock.advance(1)
            return condition(self.figures())

        wait_until(seen, what, 60)


class GatewayOwner(Owner):
    sender = "edge-1"
    file = "outbox.sqlite"
    kind = OUTBOX_STORE

    def start(self) -> None:
        settings = GatewaySettings(**self.settings)
        self.data.mkdir(exist_ok=True)
        fleet = load_fleet(CONFIG, settings.instance)
        self.uplink = Uplink(settings, fleet, self.clock, lambda: None, on_session=lambda: None, on_sensor=lambda _received: None)
        self.uplink.outbox.start()

    def stop(self) -> None:
        self.uplink.outbox.stop()

    def figures(self) -> OutboxFigures:
        return self.uplink.outbox.stats()

    def disk_problem(self) -> str | None:
        return self.figures().disk_problem

    def receive(self, topic: str, payload: bytes) -> None:
        self.uplink._on_message(Received(topic, payload, False, 1, 1, 0))

    def work(self) -> None:
        self.worked += 1
        self.clock.advance(1)
        self.uplink.outbox.append([telemetry("CNC-01", self.clock.now_ms(), "x" * 3_000)])

    def worked_off(self) -> int:
        return self.figures().committed


class WorkerOwner(Owner):
    service: AlertsService | OeeService

    def stop(self) -> None:
        self.service.stop()

    def figures(self) -> OutboxFigures:
        return self.service._worker.outbox_figures

    def disk_problem(self) -> str | None:
        return self.service._worker.disk_problem

    def receive(self, topic: str, payload: bytes) -> None:
        self.service._intake.put(Received(topic, payload, False, 1, 1, 0))

    def work(self) -> None:
        self.worked += 1
        self.clock.advance(1)
        message = {
            "timestamp": format_timestamp(self.clock.now_ms()),
            "readings": {"run_status": 1, "cycle_count": self.worked, f"new_{self.worked}": "x" * 1_000},
            "stream": "edge-1.test",
            "seq": self.worked,
        }
        self.receive("factory/line1/CNC-01/telemetry", json.dumps(message).encode())


class OeeOwner(WorkerOwner):
    sender = "oee-1"
    file = "oee.db"
    kind = OEE_STORE

    def start(self) -> None:
        settings = OeeSettings(**self.settings, influx_url=f"http://127.0.0.1:{free_port()}")
        self.data.mkdir(exist_ok=True)
        self.service = OeeService(settings, load_accepted(CONFIG, self.data, load_plan), self.clock)
        self.service.start()

    def worked_off(self) -> int:
        return int(self.rows("SELECT count(*) FROM sample WHERE device = 'CNC-01'")[0][0])


class AlertsOwner(WorkerOwner):
    sender = "alerts-1"
    file = "alerts.db"
    kind = ALERTS_STORE

    def start(self) -> None:
        settings = AlertsSettings(**self.settings, http_port=free_port(), influx_url=f"http://127.0.0.1:{free_port()}")
        self.data.mkdir(exist_ok=True)
        self.service = AlertsService(settings, load_accepted(CONFIG, self.data, load_configuration), self.clock)
        self.service.start()

    def worked_off(self) -> int:
        found = self.rows("SELECT body FROM device WHERE id = 'CNC-01'")
        return sum(name.startswith("new_") for name in json.loads(found[0][0])["readings"]) if found else 0


Make = Callable[[Path], Owner]


@pytest.fixture(params=[GatewayOwner, OeeOwner, AlertsOwner], ids=["gateway", "oee", "alerts"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Owner] = []

    def _make(data: Path) -> Owner:
        made.append(request.param(data, ManualClock()))
        return made[-1]

    yield _make
    for owner in made:
        owner.stop()


@pytest.fixture
def owner(make: Make, tmp_path: Path) -> Owner:
    return make(tmp_path / "data")


@pytest.mark.parametrize("is_restarted", [False, True], ids=["running", "over a restart"])
def test_a_clock_that_leaps_a_month_ahead_and_back_loses_nothing(owner: Owner, *, is_restarted: bool) -> None:
    owner.fill(10)
    owner.start()
    owner.clock.advance(2 * HOUR_S)
    owner.look(lambda figures: figures.oldest_age_s > HOUR_S, "the figures of a calm day")
    if is_restarted:
        owner.stop()
    owner.clock.step(31 * DAY_S)
    if is_restarted:
        owner.start()
    owner.look(lambda figures: figures.oldest_age_s > 31 * DAY_S, "the new time seen")
    owner.clock.advance(120)
    owner.look(lambda figures: figures.oldest_age_s > 31 * DAY_S + 120, "two minutes later")
    owner.clock.step(-31 * DAY_S)
    owner.look(lambda figures: figures.oldest_age_s < DAY_S, "the old time seen")
    owner.clock.advance(2 * HOUR_S)
    owner.look(lambda figures: figures.oldest_age_s > 4 * HOUR_S, "two hours later")
    assert owner.kept() == 10
    assert owner.ledger() == []


def test_a_clock_that_stays_ahead_is_believed_after_an_hour_and_the_ledger_tells(owner: Owner) -> None:
    owner.fill(10)
    owner.start()
    owner.look(lambda figures: figures.depth == 10, "the first figures")
    owner.clock.step(31 * DAY_S)
    owner.look(lambda figures: figures.oldest_age_s > 31 * DAY_S, "the new time seen")
    assert owner.kept() == 10
    owner.clock.advance(HOUR_S)
    owner.look(lambda figures: figures.dropped == 10, "the messages dropped")
    [entry] = owner.ledger()
    assert (entry["cause"], entry["count"], entry["lost_seqs"]) == ("limit_age", 10, [[1, 10]])


def test_far_more_than_the_limit_goes_at_once_and_the_ledger_is_exact(owner: Owner) -> None:
    owner.fill(6_000, "x" * 700)
    owner.start()
    owner.look(lambda figures: 0 < figures.bytes <= MAX_MB * 1_000_000, "the limit kept")
    entries = owner.ledger()
    assert {entry["cause"] for entry in entries} == {"limit_bytes"}
    lost = sum(entry["count"] for entry in entries)
    assert lost == owner.figures().dropped
    assert lost + owner.kept() == 6_000
    assert merge_ranges(tuple(pair) for entry in entries for pair in entry["lost_seqs"]) == [(1, lost)]
    [(size,)] = owner.rows("SELECT bytes FROM outbox_state")
    assert size > 0.9 * MAX_MB * 1_000_000, "a MB is 1,000,000 bytes, for everybody"


def test_the_status_tells_the_same_figures(owner: Owner) -> None:
    owner.fill(10, "x" * 700)
    owner.start()
    owner.clock.advance(60)
    owner.look(lambda figures: figures.oldest_age_s >= 60, "the figures")
    told = owner.figures().for_status
    assert {"outbox_messages", "outbox_bytes", "outbox_oldest_s", "outbox_queued_h", "outbox_dropped"} <= told.keys()
    assert told["outbox_messages"] == 10


@pytest.fixture
def small_disk(small_file_system: Callable[[int], Path]) -> Path:
    return small_file_system(12)


class OtherProgram:
    """Takes what is left of a disk, and gives it back."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "other"

    def take(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            for size in (1_000_000, 4096):
                while os.statvfs(self._path).f_bavail * 4096 >= size:
                    file.write(b"x" * size)

    def leave(self) -> None:
        self._path.unlink()


def _work_until_full(owner: Owner, other: OtherProgram) -> None:
    def is_full() -> bool:
        other.take()
        owner.work()
        return owner.disk_problem() is not None

    wait_until(is_full, "the full disk noticed", 60)
    assert "full" in (owner.disk_problem() or "")


def _is_worked_off(owner: Owner) -> bool:
    owner.clock.advance(1)
    return owner.worked_off() == owner.worked


def test_full_disk_loses_nothing_and_work_goes_on_when_there_is_room(make: Make, small_disk: Path) -> None:
    owner, other = make(small_disk / "data"), OtherProgram(small_disk)
    owner.fill(10)
    owner.start()
    assert (small_disk / "data" / f"{owner.file}.reserve").stat().st_size == MAX_MB * 1_000_000
    _work_until_full(owner, other)
    for _ in range(20):
        owner.work()
    other.leave()
    wait_until(lambda: _is_worked_off(owner), "all work on disk", 60)
    owner.look(lambda _figures: owner.disk_problem() is None, "the end of the trouble")
    assert owner.figures().dropped == 0
    owner.stop()
    owner.start()
    owner.look(lambda figures: figures.depth >= 10, "the outbox after a restart")
    assert owner.ledger() == []


def test_disk_that_stays_full_goes_on_with_what_is_confirmed(make: Make, small_disk: Path) -> None:
    owner, other = make(small_disk / "data"), OtherProgram(small_disk)
    owner.fill(300, "x" * 2_000)
    owner.start()
    _work_until_full(owner, other)
    for _ in range(20):
        owner.work()
    owner.confirm_all()
    wait_until(lambda: _is_worked_off(owner), "all work on disk although it is full", 60)
    assert owner.rows("SELECT count(*) FROM outbox_message WHERE id <= 300") == [(0,)]


def test_a_store_that_lacks_what_it_had_confirmed_gets_it_again(owner: Owner) -> None:
    owner.fill(10)
    owner.start()
    owner.look(lambda figures: figures.sent is not None and figures.depth == 10, "the first figures")
    [(stream,)] = owner.rows("SELECT name FROM outbox_stream")
    topic = f"factory/_platform/stored/{owner.sender}"
    owner.receive(topic, encode(Stored(stream=stream, seqs=[(1, 10)])))
    # Alerts may say something itself meanwhile, the more the longer it takes: what waits beside the ten is no matter here.
    owner.look(lambda figures: figures.kept == 10, "all confirmed, and kept")
    assert owner.figures().reaches_h < 1
    for seq in (0, 10):
        owner.receive(topic, encode(Stored(stream=stream, seqs=[], held=Held(store="one", mark=Mark(stream=stream, seq=seq)))))
    owner.look(lambda figures: figures.sent is not None and figures.sent.held == figures.sent.upto, "what the store holds")
    owner.receive(topic, encode(Stored(stream=stream, seqs=[], held=Held(store="two", mark=Mark(stream=stream, seq=4)))))
    owner.look(lambda figures: figures.depth >= 6 and figures.kept == 4, "what it lacks waiting again")
    owner.receive(topic, encode(Stored(stream=stream, seqs=[(1, 10)])))
    owner.look(lambda figures: figures.kept == 10, "all confirmed again")
    assert owner.ledger() == []
