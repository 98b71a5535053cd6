"""A message names its device and its stream. Whoever asks whose word that is must come to the same answer: ingest, OEE, alerts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.known_devices import KnownDevices, with_plant
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.store_forward.sqlite import transaction
from millrace_ingest.decoder import Accepted, Decoder, Rejected
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
    "none": (None, False),
}
each_stream = pytest.mark.parametrize(("stream", "is_believed"), STREAMS.values(), ids=STREAMS)


def message(at_ms: int = START_MS, **changes: Any) -> bytes:
    body = {"timestamp": format_timestamp(at_ms), "readings": {"it": 1}, "seq": 50, "prev": 40, "hold_s": 120}
    return msgspec.json.encode({**body, **changes})


def received(topic: str, payload: bytes) -> Received:
    return Received(topic, payload, retained=False, qos=1, mid=1, generation=0)


class Oee:
    """OEE as it follows the machine, in memory."""

    def __init__(self, plan: Plan, known: KnownDevices | None = None) -> None:
        self.plan = plan
        self.connection = connect_in_memory()
        with transaction(self.connection):
            self.store = Store(self.connection)
            self.engine = Engine(plan, self.store, Results(self.connection, lambda _topic, _message: 1))
        self.receiver = OeeReceiver(plan, self.engine, NothingAroundOee(), known)

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
def oee(folder: Path) -> Iterator[Oee]:
    found = Oee(load_plan(folder))
    yield found
    found.connection.close()


def foreign_to_ingest(plant: PlantModel, topic: str, payload: bytes, known: KnownDevices | None = None) -> bool:
    """Whether ingest keeps it as a dead letter of somebody who speaks as another; nobody is told that his row is safe."""
    found = Decoder(plant, known=known).decode(topic, payload, START_MS)
    if isinstance(found, Accepted):
        assert found.identity is not None
        assert b"_seq=50" in found.line
        assert b"_prev=40" in found.line
        assert b"_hold_ms=120000" in found.line
        return False
    assert isinstance(found, Rejected)
    assert (found.code, found.device) == ("foreign", "M-01")
    return True


def foreign_to_oee(plan: Plan, topic: str, payload: bytes, known: KnownDevices | None = None) -> bool:
    """Whether it is not heard: neither a sample of the machine nor, where it was read below another line, one of its numbers."""
    oee = Oee(plan, known)
    oee.hear(TOPIC, message(stream="edge-1.first", seq=1, prev=None))
    oee.hear(topic, payload, START_MS + 60_000)
    samples = [one.ts_ms - START_MS for one in oee.store.samples("M-01", START_MS)]
    oee.connection.close()
    assert samples in ([0], [0, 60_000])
    assert (len(samples) == 1) == (oee.receiver.ignored in ({"foreign": 1}, {"elsewhere": 1}))
    return oee.receiver.ignored == {"foreign": 1}


def foreign_to_alerts(folder: Path, topic: str, payload: bytes, known: KnownDevices | None = None) -> bool:
    """Whether no rule and no page hears of it."""
    configuration = load_configuration(folder)
    watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())
    receiver = AlertsReceiver(configuration.plant, load_plan(folder).topics, NothingAroundAlerts(), known)
    receiver.receive(received(topic, payload), watch, Now(0.0, START_MS + 60_000))
    is_foreign = "it" not in watch.devices["M-01"].readings
    assert is_foreign == (receiver.ignored == {"foreign": 1})
    return is_foreign


def all_three(folder: Path, topic: str, payload: bytes, known: KnownDevices | None = None) -> set[bool]:
    """What ingest, oee and alerts take it for."""
    return {
        foreign_to_ingest(load_plant(folder), topic, payload, known),
        foreign_to_oee(load_plan(folder), topic, payload, known),
        foreign_to_alerts(folder, topic, payload, known),
    }


@each_stream
def test_only_its_gateway_speaks_as_a_device(folder: Path, stream: str | None, is_believed: bool) -> None:
    assert all_three(folder, TOPIC, message(START_MS + 60_000, stream=stream)) == {not is_believed}


@each_stream
def test_nobody_speaks_as_a_device_below_another_line(folder: Path, stream: str | None, is_believed: bool) -> None:
    del is_believed
    assert all_three(folder, "factory/line2/M-01/telemetry", message(START_MS + 60_000, stream=stream)) == {True}


@each_stream
def test_who_spoke_as_a_device_before_still_does(folder: Path, stream: str | None, is_believed: bool) -> None:
    """What an outbox holds of before it moved to another gateway, or line."""
    plant = load_plant(folder)
    moved = plant.devices["M-01"].model_copy(update={"gateway": "edge-1", "line": "line2"})
    once = replace(plant, devices={"M-01": plant.devices["M-01"].model_copy(update={"gateway": "edge-9"})})
    known = with_plant(with_plant({}, once), replace(plant, devices={"M-01": moved}))
    for topic in (TOPIC, "factory/line2/M-01/telemetry"):
        assert all_three(folder, topic, message(START_MS + 60_000, stream=stream), known) == {not is_believed}
        assert all_three(folder, topic, message(START_MS + 60_000, stream="edge-9.a"), known) == {False}


@each_stream
def test_oee_misses_messages_only_of_the_gateway_that_reads_the_device(oee: Oee, stream: str | None, is_believed: bool) -> None:
    oee.hear(TOPIC, message(stream="edge-1.first", seq=1, prev=None))
    oee.hear(TOPIC, message(START_MS + 60_000, stream=stream), START_MS + 60_000)
    assert oee.missing == ([stream] if is_believed else [])


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
