"""Devices that send messages: silence, what may have waited, repeats, and when the broker is told that a message is safe."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.streams import Stamp
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.testing.clock import ManualClock
from millrace_gateway.sensors import desk as desk_module
from millrace_gateway.sensors.desk import SensorDesk
from millrace_gateway.sensors.sender import SendingDevice

TOPIC = "sensors/s1"
WILL = "sensors/s1/status"


@pytest.fixture
def plant(tmp_path: Path) -> PlantModel:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "s.yaml").write_text(
        "title: S\nsource: t\nverified: t\ngroups: {main: {interval_s: 10}}\nmessage: {time: at}\n"
        "signals:\n  a: {path: a}\n  b: {path: b, on_change: {deadband: 1}}\n"
    )
    (tmp_path / "plant.yaml").write_text(
        "root: factory\ntime_zone: UTC\nlines:\n  line1:\n    devices:\n"
        + "".join(
            f"      {name}: {{profile: s, connection: {{transport: mqtt, topic: {TOPIC}, availability: {WILL}}}}}\n"
            for name in ("S-1", "S-2")
        )
    )
    return load_plant(tmp_path, {})


class Uplink:
    """Keeps what it is given; `settle` plays the outbox that has committed it."""

    account = "gateway"

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.acknowledged: list[Received] = []
        self.comms: list[tuple[str, str | None, str | None]] = []
        self.refused_topics: frozenset[str] = frozenset()
        self.is_connected = True

    def append(self, drafts: Iterable[Draft]) -> None:
        self.drafts += drafts

    def acknowledge(self, received: Received) -> None:
        self.acknowledged.append(received)

    def take_comms(self, device: SendingDevice) -> None:
        self.comms.append((device.device.id, device.comms.state, device.comms.reason))

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(each.encode(Stamp("edge-1.a", 1, None, each.created_ms, False))) for each in self.drafts]


class Bench:
    def __init__(self, plant: PlantModel, *devices: str) -> None:
        self.clock = ManualClock()
        self.uplink = Uplink()
        self.desk = SensorDesk(plant, [plant.devices[name] for name in devices], self.uplink, self.clock)
        self._mids = iter(range(1, 10_000))

    def send(self, payload: dict[str, Any] | bytes, *, retained: bool = False, qos: int = 1, topic: str = TOPIC) -> Received:
        data = json.dumps(payload).encode() if isinstance(payload, dict) else payload
        received = Received(topic, data, retained, qos, next(self._mids), 1)
        self.desk.take(received)
        return received

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.desk.look_for_silence()


@pytest.fixture
def bench(plant: PlantModel) -> Bench:
    return Bench(plant, "S-1")


def test_a_sensor_that_falls_silent_is_offline_after_three_intervals_with_every_signal_bad_once(bench: Bench) -> None:
    bench.send({"a": 1})
    bench.wait(29)
    assert bench.uplink.comms == [("S-1", "online", None)]
    for _ in range(3):
        bench.wait(2)
    assert bench.uplink.comms[1:] == [("S-1", "offline", "nothing has come on sensors/s1 for 31 s")]
    assert [each.get("quality") for each in bench.uplink.messages()] == [None, {"a": "bad", "b": "bad"}]
    bench.send({"a": 2})
    assert bench.uplink.comms[-1] == ("S-1", "online", None)


def test_a_sensor_that_its_last_will_says_is_gone_is_offline_at_once_and_watched_until_it_sends_again(bench: Bench) -> None:
    bench.send({"a": 1})
    will = bench.send(b"offline", topic=WILL)
    assert bench.uplink.acknowledged == [will]
    bench.wait(61)
    bench.send(b"online", topic=WILL)
    bench.send({"a": 2})
    assert bench.uplink.comms == [
        ("S-1", "online", None),
        ("S-1", "offline", "sensors/s1/status says that it is offline"),
        ("S-1", "offline", "sensors/s1/status says that it is back; nothing has come from it since"),
        ("S-1", "online", None),
    ]
    assert [(each.get("quality"), each.get("unreachable")) for each in bench.uplink.messages()] == [
        (None, None),
        ({"a": "bad", "b": "bad"}, True),
        (None, True),
        (None, None),
    ]


def test_what_a_sensor_sent_before_it_went_does_not_bring_it_back(bench: Bench) -> None:
    bench.desk.connected(session_present=True)
    bench.send(b"offline", topic=WILL, retained=True)
    bench.send({"a": 1, "at": bench.clock.now_ms() / 1000})
    bench.clock.advance(desk_module.SETTLE_S + 1)
    bench.send({"a": 2})
    assert [each["readings"] for each in bench.uplink.messages()] == [{"a": 1}, {"a": 2}]
    assert bench.uplink.comms == [("S-1", "offline", "sensors/s1/status says that it is offline"), ("S-1", "online", None)]


def test_of_a_silent_sensor_it_is_said_once_a_minute_that_it_is_still_silent_as_long_as_we_listen(bench: Bench) -> None:
    bench.desk.connected(session_present=False)
    bench.send({"a": 1})
    for _ in range(10):
        bench.wait(16)
    said = bench.uplink.messages()[1:]
    assert [each.get("unreachable") for each in said] == [True, True, True]
    assert [bool(each.get("quality")) for each in said] == [True, False, False]
    bench.uplink.is_connected = False
    bench.wait(120)
    bench.uplink.is_connected = True
    bench.desk.connected(session_present=True)
    bench.wait(29)
    assert len(bench.uplink.drafts) == 4, "what was silent while we were away may have been ours"
    bench.wait(2)
    assert len(bench.uplink.drafts) == 5


def test_a_sensor_whose_silence_nobody_listened_to_is_bad_and_no_more_is_said(bench: Bench) -> None:
    bench.desk.connected(session_present=False)
    bench.send({"a": 1})
    bench.uplink.is_connected = False
    bench.wait(31)
    bench.wait(90)
    assert [each.get("unreachable") for each in bench.uplink.messages()] == [None, None]


def test_a_sensor_that_was_never_heard_names_topic_and_account_and_sends_no_readings(bench: Bench) -> None:
    bench.wait(31)
    (said,) = bench.uplink.comms
    assert said == ("S-1", "offline", "nothing has come on sensors/s1: does it send there, and may account gateway read it?")
    assert bench.uplink.drafts == []


def test_a_topic_that_the_broker_refuses_is_said_at_once(bench: Bench) -> None:
    bench.uplink.refused_topics = frozenset({TOPIC})
    bench.wait(1)
    bench.wait(1)
    assert bench.uplink.comms == [("S-1", "offline", "the broker does not let account gateway read sensors/s1")]


def test_a_message_is_acknowledged_once_all_its_drafts_are_committed(plant: PlantModel) -> None:
    bench = Bench(plant, "S-1", "S-2")
    received = bench.send({"a": 1})
    first, second = bench.uplink.drafts
    first.settled()
    assert bench.uplink.acknowledged == []
    second.settled()
    assert bench.uplink.acknowledged == [received]


def test_what_brings_nothing_is_acknowledged_at_once(bench: Bench) -> None:
    old = bench.send({"a": 1}, retained=True)
    garbage = bench.send(b"{", retained=True)
    assert bench.uplink.acknowledged == [old, garbage]
    assert bench.uplink.drafts == []
    assert bench.uplink.comms == []


def test_a_disk_that_takes_nothing_does_not_keep_the_broker_from_sending_confirmations(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "UNSETTLED", 2)
    sent = [bench.send({"a": number}) for number in range(4)]
    assert bench.uplink.acknowledged == sent[:2]
    for draft in bench.uplink.drafts:
        draft.settled()
    assert bench.uplink.acknowledged == sent


def test_only_an_identical_message_of_the_same_instant_is_a_repeat(bench: Bench) -> None:
    at = "2025-10-09T08:53:19Z"
    for payload in ({"at": at, "a": 1}, {"at": at, "a": 1}, {"at": at, "a": 2}, {"a": 1}, {"a": 1}):
        bench.send(payload)
    drafts = bench.uplink.drafts
    assert [message["readings"] for message in bench.uplink.messages()] == [{"a": 1}, {"a": 2}, {"a": 1}, {"a": 1}]
    assert drafts[0].event_ms is not None
    assert drafts[1].event_ms == drafts[0].event_ms + 1
    assert drafts[2].event_ms is None


def test_what_may_have_waited_at_the_broker_is_uncertain_where_it_has_no_time_of_its_own(bench: Bench) -> None:
    bench.desk.connected(session_present=True)
    bench.send({"a": 1})
    bench.send({"at": "2025-10-09T08:00:00Z", "a": 2})
    bench.clock.advance(11)
    bench.send({"a": 3})
    assert [message.get("quality") for message in bench.uplink.messages()] == [{"a": "uncertain"}, None, None]
    assert [message.get("tags") for message in bench.uplink.messages()] == [{"stamped": "arrival"}, None, {"stamped": "arrival"}]
    assert [state for _, state, _ in bench.uplink.comms] == ["online"]


def test_a_kept_copy_with_a_time_counts_only_where_it_is_new(bench: Bench) -> None:
    bench.send({"at": "2025-10-09T08:00:00Z", "a": 2}, retained=True)
    (draft,) = bench.uplink.drafts
    assert draft.is_copy
    assert bench.uplink.comms == []  # that it was kept does not show that the sensor lives


def test_what_cannot_be_read_is_kept_as_it_came_but_not_without_end(bench: Bench) -> None:
    for number in range(12):
        bench.send(f"{{{number}".encode())
    kept = bench.uplink.messages()
    assert [message["payload"] for message in kept] == [f"{{{number}" for number in range(10)]
    assert "looks like JSON, and is none" in kept[0]["refused"]
    assert bench.desk.devices[0].comms.refused == 12
    (problem,) = bench.desk.problems()
    assert problem.startswith("S-1: 12 messages could not be read, the last: the message looks like JSON, and is none")
    assert len(bench.uplink.acknowledged) == 2
    bench.clock.advance(61)
    bench.send(b"{x")
    assert len(bench.uplink.drafts) == 11
    bench.clock.advance(3601)
    assert bench.desk.problems() == []  # said while it is news; comms goes on counting


def test_what_did_not_move_is_no_news(bench: Bench) -> None:
    for a, b in ((1, 5.0), (1, 5.5), (1, 7.0)):
        bench.send({"a": a, "b": b})
    assert [message["readings"] for message in bench.uplink.messages()] == [{"a": 1, "b": 5.0}, {"a": 1}, {"a": 1, "b": 7.0}]
