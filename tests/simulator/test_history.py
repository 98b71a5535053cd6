"""A past through the normal path: the same lives as the live plant, numbered without gaps, sent until everything is confirmed."""

from __future__ import annotations

import itertools
import json
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from millrace_contract.errors import Unavailable
from millrace_contract.language.messages import Stored, encode
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.plant import Calendar, PlantModel
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.runtime.recording import Recording
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.testing import ManualClock, Mosquitto
from millrace_simulator.devices import build_machine
from millrace_simulator.history import Backfill, HistorySender, present_ms, write_past
from millrace_simulator.image import Image
from millrace_simulator.past import PastMessage, past, step_ms_of
from millrace_simulator.registers import reading_of

pytestmark = pytest.mark.process

END_MS = 1_760_443_200_000  # 2025-10-14T12:00:00Z
HOUR_MS = 3_600_000


def messages(plant: PlantModel, calendar: Calendar, hours: float = 2, step_s: float = 60) -> list[PastMessage]:
    from_ms = END_MS - round(hours * HOUR_MS)
    return list(past(plant, calendar, plant.devices.values(), seed=1, from_ms=from_ms, to_ms=END_MS, step_s=step_s))


def test_a_past_is_what_the_live_plant_goes_on_with(plant: PlantModel, calendar: Calendar) -> None:
    """At the end of the past, each device's readings are those that its registers hold at that instant."""
    last = {message.device.id: message for message in messages(plant, calendar)}
    assert set(last) == set(plant.devices)
    for name, message in last.items():
        machine = build_machine(plant, calendar, plant.devices[name], seed=1)
        machine.begin(message.time_ms)
        profile = plant.profile_of(name)
        raw = Image(profile).signals(machine, message.time_ms, list(profile.signals))
        live = {signal: reading_of(profile.register_signals[signal], value) for signal, value in raw.items()}
        assert {signal: value for signal, value in live.items() if value is not None} == message.readings


def test_messages_are_in_order_with_every_change_of_state_within_a_second(plant: PlantModel, calendar: Calendar) -> None:
    found = messages(plant, calendar)
    assert [message.time_ms for message in found] == sorted(message.time_ms for message in found)
    assert all("reads_served" not in message.readings for message in found)
    mine = [message for message in found if message.device.id == "PRESS-01"]
    machine = build_machine(plant, calendar, plant.devices["PRESS-01"], seed=1)
    machine.begin(mine[0].time_ms)
    changes = machine.advance(END_MS - 2_000)
    assert len(changes) > 10
    numbers = {word: number for number, word in plant.profile_of("PRESS-01").register_signals["press_state"].values.items()}
    for change, following in itertools.pairwise(changes):
        if following.time_ms - change.time_ms > 2_000:
            seen = next(message for message in mine if message.time_ms >= change.time_ms)
            assert seen.time_ms - change.time_ms <= 1_000
            assert seen.readings["press_state"] == numbers[change.state]
    gaps = [later.time_ms - earlier.time_ms for earlier, later in itertools.pairwise(mine)]
    assert min(gaps) > 0
    assert max(gaps) <= 60_000


def test_readings_are_never_further_apart_than_a_state_can_be_promised_to_hold(plant: PlantModel) -> None:
    device = plant.devices["CNC-01"]
    assert step_ms_of(plant, device, 60.0) == 60_000
    assert step_ms_of(plant, device, 3_600.0) == 600_000
    assert step_ms_of(plant, plant.devices["METER-01"], 3_600.0) == 3_600_000


def test_a_past_may_be_an_event_file_for_replays(plant: PlantModel, calendar: Calendar, tmp_path: Path) -> None:
    found = messages(plant, calendar, 0.2)
    with (tmp_path / "past.jsonl").open("wb") as file:
        assert write_past(file, Topics(plant.root), found, 180.0) == len(found)
    recorded = list(Recording(tmp_path / "past.jsonl").events())
    assert [event.received_ms for event in recorded] == [message.time_ms for message in found]
    for event, message in zip(recorded, found, strict=True):
        decoded = decode_telemetry(event.payload, END_MS, message.device.id)
        assert event.topic == f"factory/{message.device.line}/{message.device.id}/telemetry"
        assert (decoded.readings, decoded.hold_ms, decoded.backfill) == (message.readings, 180_000, False)


def test_each_gateways_past_is_a_stream_of_its_own(plant: PlantModel, calendar: Calendar) -> None:
    published: list[tuple[str, bytes]] = []

    def publish(topic: str, payload: bytes) -> bool:
        published.append((topic, payload))
        return True

    backfill = Backfill(Topics(plant.root), publish)
    found = messages(plant, calendar, 0.2)
    for message in found:
        backfill.send(message)
    assert len(published) == backfill.sent == backfill.waiting == len(found)
    (stream,) = backfill.streams
    assert stream.startswith("edge-1.past-")
    chain: dict[str, int] = {}
    for number, (topic, payload) in enumerate(published, 1):
        device = topic.split("/")[2]
        decoded = decode_telemetry(payload, END_MS, device)
        assert (decoded.stream, decoded.seq, decoded.backfill) == (stream, number, True)
        assert decoded.prev == chain.get(device)
        assert decoded.tags == plant.devices[device].tags
        chain[device] = number
    assert backfill.confirm(Stored(stream="edge-1.another", seqs=[(1, 1000)])) == 0
    assert backfill.confirm(Stored(stream=stream, seqs=[(1, 10), (12, 12)])) == 11
    published.clear()
    backfill.again()
    assert [json.loads(payload)["seq"] for _, payload in published] == [11, *range(13, len(found) + 1)]


class Confirmer:
    """Confirms like ingest, but loses every seventh message and every third confirmation the first time."""

    def __init__(self, settings: BrokerSettings, topics: Topics) -> None:
        self.received: dict[str, int] = defaultdict(int)
        self._topics = topics
        self._lock = threading.Lock()
        self.session = PahoSession(settings, "ingest-test", Callbacks(message=self._take), filters=topics.filters(Kind.TELEMETRY))

    def _take(self, received: Received) -> None:
        message = json.loads(received.payload)
        key = f"{message['stream']}/{message['seq']}"
        with self._lock:
            self.received[key] += 1
            times = self.received[key]
        if times == 1 and (message["seq"] % 7 == 0 or message["seq"] % 3 == 0):
            return
        sender = message["stream"].rpartition(".")[0]
        confirmation = Stored(stream=message["stream"], seqs=[(message["seq"], message["seq"])])
        self.session.publish(self._topics.stored(sender), encode(confirmation))


class HastyClock(SystemClock):
    """Durations pass thirty times as fast, so that nobody waits for what is sent again after 15 s."""

    def monotonic_s(self) -> float:
        return super().monotonic_s() * 30


@pytest.mark.broker
def test_everything_is_sent_until_it_is_confirmed(mosquitto: Mosquitto, plant: PlantModel, calendar: Calendar) -> None:
    topics = Topics(plant.root)
    confirmer = Confirmer(mosquitto.settings(), topics)
    confirmer.session.start()
    assert confirmer.session.wait_connected(10)
    sender = HistorySender(mosquitto.settings(), topics, ["edge-1"], HastyClock(), "simulator-1-history")
    killed = threading.Event()

    def progress(backfill: Backfill, message: PastMessage | None) -> None:
        """In the middle of it the broker dies, and comes back."""
        if backfill.sent >= 1_000 and not killed.is_set():
            killed.set()
            mosquitto.kill()
            mosquitto.start()

    found = messages(plant, calendar, 2)
    assert len(found) > 1_500
    sender.send_all(found, progress)
    confirmer.session.stop()
    assert killed.is_set()
    assert (sender.backfill.waiting, sender.backfill.confirmed) == (0, len(found))
    assert len(confirmer.received) == len(found)
    assert max(confirmer.received.values()) > 1


@pytest.mark.broker
def test_a_history_that_nobody_stores_ends_in_words(mosquitto: Mosquitto, plant: PlantModel, calendar: Calendar) -> None:
    sender = HistorySender(mosquitto.settings(), Topics(plant.root), ["edge-1"], HastyClock(), "simulator-1-history")
    with pytest.raises(Unavailable, match=r"messages are not confirmed after 120 s; ingest confirms nothing"):
        sender.send_all(messages(plant, calendar, 0.05), lambda _backfill, _message: None)


def test_a_past_ends_where_the_truth_begins(tmp_path: Path) -> None:
    clock = ManualClock()
    assert present_ms(tmp_path, clock) == clock.now_ms()
    (tmp_path / "1759999200000.jsonl").write_bytes(b'["b",1759999300000,1,1.0]\n')
    assert present_ms(tmp_path, clock) == 1_759_999_300_000
