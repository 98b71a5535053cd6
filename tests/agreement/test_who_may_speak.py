"""A message names the stream that it is of. Whoever asks whose word that is must come to the same answer: ingest, OEE, alerts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace_alerts.receiver import AlertsReceiver
from millrace_alerts.receiver import NoSurroundings as NothingAroundAlerts
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.streams import may_tell_of_losses, sender_name, stream_name
from millrace_contract.language.telemetry import believed, decode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.store_forward.sqlite import transaction
from millrace_ingest.decoder import Accepted, Decoder
from millrace_oee.engine import Engine
from millrace_oee.plan import Plan, load_plan
from millrace_oee.receiver import NoSurroundings as NothingAroundOee
from millrace_oee.receiver import OeeReceiver
from millrace_oee.results import Results
from millrace_oee.store import Store, connect_in_memory

from .conftest import STATES, WritePlant

START_MS = 1_760_000_000_000
TOPIC = "factory/line1/M-01/telemetry"
STATE = {"it": {"address": 10, "type": "uint16", "values": STATES}}
STREAMS = {
    "its own gateway's": ("edge-1.8f3c", True),
    "its own gateway's, whose clock was set back": ("edge-1.8f3c+2", True),
    "another gateway's": ("edge-2.8f3c", False),
    "another one's whose name begins like it": ("edge-10.8f3c", False),
    "a service's": ("oee-1.8f3c", False),
    "of a name with a dot more": ("edge-1.8f3c.x", False),
    "of a name that no topic can have": ("edge-1/.8f3c", False),
    "of a name without a token": ("edge-1", False),
    "of no name": (".8f3c", False),
}
each_stream = pytest.mark.parametrize(("stream", "is_believed"), STREAMS.values(), ids=STREAMS)


def message(at_ms: int = START_MS, **changes: Any) -> bytes:
    body = {"timestamp": format_timestamp(at_ms), "readings": {"it": 1}, "seq": 50, "prev": 40, "hold_s": 120}
    return msgspec.json.encode({**body, **changes})


def received(topic: str, payload: bytes) -> Received:
    return Received(topic, payload, retained=False, qos=1, mid=1, generation=0)


class Oee:
    """OEE as it follows the machine, in memory."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.connection = connect_in_memory()
        with transaction(self.connection):
            self.store = Store(self.connection)
            self.engine = Engine(plan, self.store, Results(self.connection, lambda _topic, _message: 1))
        self.receiver = OeeReceiver(plan, self.engine, NothingAroundOee())

    def hear(self, topic: str, payload: bytes, now_ms: int = START_MS) -> None:
        with transaction(self.connection):
            self.receiver.receive(received(topic, payload), Now(0.0, now_ms))
            self.engine.save()

    @property
    def missing(self) -> list[str]:
        return [gap.stream for gap in self.engine.gaps()]


@pytest.fixture
def folder(write_plant: WritePlant) -> Path:
    return write_plant(STATE, oee={"state": "it"}, devices={"M-01": "edge-1", "M-02": "edge-2"})


@pytest.fixture
def plant(folder: Path) -> PlantModel:
    return load_plant(folder)


@pytest.fixture
def oee(folder: Path) -> Iterator[Oee]:
    found = Oee(load_plan(folder))
    yield found
    found.connection.close()


@each_stream
def test_the_contract_takes_a_stream_that_is_not_believed_for_none(stream: str, is_believed: bool) -> None:
    said = decode_telemetry(message(stream=stream, backfill=True), START_MS)
    heard = believed(said, ("edge-1",))
    expected = (stream, 50, 40) if is_believed else (None, None, None)
    assert (heard.stream, heard.seq, heard.prev) == expected
    assert (heard.readings, heard.hold_ms, heard.backfill) == (said.readings, 120_000, True)


@each_stream
def test_ingest_confirms_and_stores_the_number_only_of_a_stream_that_is_believed(
    plant: PlantModel, stream: str, is_believed: bool
) -> None:
    found = Decoder(plant).decode(TOPIC, message(stream=stream), START_MS)
    assert isinstance(found, Accepted)
    assert (found.identity is not None, found.doubted) == (is_believed, not is_believed)
    assert (b"_seq=50" in found.line, b"_prev=40" in found.line) == (is_believed, is_believed)
    assert b" it=1.0" in found.line
    assert b"_hold_ms=120000" in found.line, "what its sender promised is no part of the stream"


@each_stream
def test_oee_misses_messages_only_of_a_stream_that_is_believed(oee: Oee, stream: str, is_believed: bool) -> None:
    oee.hear(TOPIC, message(stream="edge-1.first", seq=1, prev=None))
    oee.hear(TOPIC, message(START_MS + 60_000, stream=stream), START_MS + 60_000)
    assert oee.missing == ([stream] if is_believed else [])
    assert [(one.ts_ms - START_MS, one.state, one.hold_ms) for one in oee.store.samples("M-01", START_MS)] == [
        (0, 1.0, 120_000),
        (60_000, 1.0, 120_000),
    ]


@each_stream
def test_alerts_take_the_reading_whoever_numbered_it(folder: Path, stream: str, is_believed: bool) -> None:
    configuration = load_configuration(folder)
    watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())
    receiver = AlertsReceiver(configuration.plant, load_plan(folder).topics, NothingAroundAlerts())
    receiver.receive(received(TOPIC, message(stream=stream)), watch, Now(0.0, START_MS))
    latest = watch.devices["M-01"].readings["it"]
    assert (latest.value, latest.hold_ms) == (1.0, 120_000)


LEDGERS = {
    "the gateway itself": ("gateway", "edge-1", True),
    "another gateway": ("gateway", "edge-2", False),
    "an ingest, whose dead letters were let go": ("ingest", "1", True),
    "another service": ("alerts", "1", False),
    "a service that is called like the gateway": ("oee", "edge-1", False),
}


@pytest.mark.parametrize(("service", "instance", "is_believed"), LEDGERS.values(), ids=LEDGERS)
def test_a_loss_is_believed_from_the_streams_sender_and_from_ingest(
    oee: Oee, service: str, instance: str, is_believed: bool
) -> None:
    oee.hear(TOPIC, message(stream="edge-1.a", seq=39, prev=None))
    oee.hear(TOPIC, message(START_MS + 60_000, stream="edge-1.a"), START_MS + 60_000)
    assert oee.missing == ["edge-1.a"]
    entry = {"timestamp": format_timestamp(START_MS), "service": service, "instance": instance, "count": 1, "cause": "limit_age"}
    entry |= {"lost_stream": "edge-1.a", "lost_seqs": [[40, 49]]}
    oee.hear(f"factory/_platform/{service}/{instance}/ledger", msgspec.json.encode(entry))
    assert oee.missing == ([] if is_believed else ["edge-1.a"])
    assert may_tell_of_losses(service, instance, "edge-1.a") is is_believed


def test_a_ledger_entry_speaks_for_the_service_of_its_topic_only(oee: Oee) -> None:
    oee.hear(TOPIC, message(stream="edge-1.a", seq=39, prev=None))
    oee.hear(TOPIC, message(START_MS + 60_000, stream="edge-1.a"), START_MS + 60_000)
    entry = {"timestamp": format_timestamp(START_MS), "service": "gateway", "instance": "edge-1", "count": 1, "cause": "limit_age"}
    entry |= {"lost_stream": "edge-1.a", "lost_seqs": [[40, 49]]}
    oee.hear("factory/_platform/gateway/edge-2/ledger", msgspec.json.encode(entry))
    assert oee.missing == ["edge-1.a"]


@pytest.mark.parametrize(("service", "instance", "name"), [("gateway", "edge-1", "edge-1"), ("oee", "1", "oee-1")])
def test_a_stream_is_its_senders(service: str, instance: str, name: str) -> None:
    assert sender_name(service, instance) == name
    assert may_tell_of_losses(service, instance, stream_name(name, "8f3c", 0))
