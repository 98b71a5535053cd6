"""What gateways say of devices and of themselves, in any order: OEE, alerts and the API must see the same devices offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_alerts.api.plant_view import comms_of
from millrace_alerts.receiver import AlertsReceiver
from millrace_alerts.receiver import NoSurroundings as NothingAroundAlerts
from millrace_alerts.records import DeviceRecord, Gateway, Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.entries import PlacedEntry
from millrace_contract.language.messages import Ledger
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.mqtt.session import Received
from millrace_oee.plan import load_plan
from millrace_oee.receiver import NoSurroundings as NothingAroundOee
from millrace_oee.receiver import OeeReceiver

from .conftest import STATES, WritePlant

START_MS = 1_760_000_000_000
NOW = Now(0.0, START_MS)
STATE = {"it": {"address": 10, "type": "uint16", "values": STATES}}
RULES = {"offline": {"title": "Offline", "class": "system", "condition": {"kind": "device_offline"}}}
Message = tuple[str, bytes]


def comms(state: str, device: str = "M-01", **changes: Any) -> Message:
    body = {"device_id": device, "state": state, "since": "2025-10-09T08:53:20Z", "timestamp": "2025-10-09T08:53:20Z"}
    return f"factory/line1/{device}/comms", msgspec.json.encode({**body, "gateway": "edge-1", **changes})


def status(*, alive: bool, instance: str = "edge-1", service: str = "gateway") -> Message:
    body = {"service": service, "instance": instance, "alive": alive}
    return f"factory/_platform/{service}/{instance}/status", msgspec.json.encode(body)


COMMS_CLEARED = ("factory/line1/M-01/comms", b"")
STATUS_CLEARED = ("factory/_platform/gateway/edge-1/status", b"")
STATUS_BROKEN = ("factory/_platform/gateway/edge-1/status", b'{"alive": "yes"}')
COMMS_BROKEN = ("factory/line1/M-01/comms", b'{"state": "offline"}')
ONLINE, OFFLINE, DEGRADED = comms("online"), comms("offline"), comms("degraded")
ALIVE, DEAD = status(alive=True), status(alive=False)

CASES: dict[str, tuple[list[Message], str]] = {
    "nobody has said anything": ([], "unknown"),
    "only the gateway is known": ([ALIVE], "unknown"),
    "online": ([ALIVE, ONLINE], "online"),
    "retained, in the other order": ([ONLINE, ALIVE], "online"),
    "degraded can be reached": ([ALIVE, DEGRADED], "degraded"),
    "offline": ([ALIVE, OFFLINE], "offline"),
    "offline and back": ([ALIVE, OFFLINE, ONLINE], "online"),
    "before the gateway's status came": ([ONLINE], "online"),
    "the will of its gateway": ([ALIVE, ONLINE, DEAD], "offline"),
    "the will, retained, before comms": ([DEAD, ONLINE], "offline"),
    "a dead gateway of which no device was heard": ([DEAD], "offline"),
    "the gateway comes back": ([ALIVE, ONLINE, DEAD, ALIVE], "online"),
    "the gateway comes back, the device does not": ([ALIVE, OFFLINE, DEAD, ALIVE], "offline"),
    "the status of a dead gateway is cleared": ([ONLINE, DEAD, STATUS_CLEARED], "online"),
    "the status of a dead gateway is cleared, nothing else known": ([DEAD, STATUS_CLEARED], "unknown"),
    "the status of a living gateway is cleared": ([ALIVE, OFFLINE, STATUS_CLEARED], "offline"),
    "the comms of an offline device is cleared": ([ALIVE, OFFLINE, COMMS_CLEARED], "unknown"),
    "the comms is cleared while the gateway is dead": ([DEAD, ONLINE, COMMS_CLEARED], "offline"),
    "a status that is none changes nothing": ([ONLINE, DEAD, STATUS_BROKEN], "offline"),
    "a comms that is none changes nothing": ([ALIVE, ONLINE, COMMS_BROKEN], "online"),
    "another gateway says that it is offline": ([ALIVE, ONLINE, comms("offline", gateway="edge-2")], "online"),
    "another gateway says that it is online": ([ALIVE, OFFLINE, comms("online", gateway="edge-2")], "offline"),
    "only another gateway has said anything": ([ALIVE, comms("offline", gateway="edge-2")], "unknown"),
    "another gateway dies": ([ALIVE, ONLINE, status(alive=False, instance="edge-2")], "online"),
    "another service of its name dies": ([ALIVE, ONLINE, status(alive=False, service="ingest")], "online"),
    "it speaks of another device": ([ALIVE, ONLINE, (ONLINE[0], comms("offline", "M-02")[1])], "online"),
    "since no time that there is": ([ALIVE, ONLINE, comms("offline", since="yesterday")], "online"),
    "another line's device of its name": ([ALIVE, ONLINE, ("factory/line2/M-01/comms", OFFLINE[1])], "online"),
}


class Nobody:
    """Takes telemetry and ledgers, of which nothing is asked here."""

    def accept(self, device: str, message: Telemetry, now_ms: int) -> None: ...

    def accept_elsewhere(self, device: str, message: Telemetry) -> None: ...

    def look_up(self, device: str, message: Telemetry) -> None: ...

    def accept_entry(self, placed: PlacedEntry) -> None: ...

    def accept_ledger(self, entry: Ledger) -> None: ...


class Askers:
    """OEE, the alerts and their API, which hear the same messages."""

    def __init__(self, folder: Path) -> None:
        plan, configuration = load_plan(folder), load_configuration(folder)
        self.plant = configuration.plant
        self.oee = OeeReceiver(plan, Nobody(), NothingAroundOee())
        self.alerts = AlertsReceiver(self.plant, plan.topics, NothingAroundAlerts())
        self.watched = watched_rules(self.plant, configuration.rules)
        self.watch = Watch(self.plant, self.watched, Saved())

    def hear(self, message: Message) -> None:
        received = Received(*message, retained=False, qos=1, mid=1, generation=0)
        self.oee.receive(received, NOW)
        self.alerts.receive(received, self.watch, NOW)

    def restart_alerts(self) -> None:
        """OEE hears the retained topics anew; alerts goes on with what it stored."""
        devices = {n: msgspec.json.decode(msgspec.json.encode(one), type=DeviceRecord) for n, one in self.watch.devices.items()}
        gateways = {n: msgspec.json.decode(msgspec.json.encode(one), type=Gateway) for n, one in self.watch.gateways.items()}
        self.watch = Watch(self.plant, self.watched, Saved(dict(self.watch.alerts), devices, gateways))

    def said(self, device: str = "M-01") -> dict[str, str | bool]:
        alert = self.watch.alerts[f"offline.{device}"]
        shown = comms_of(self.plant.devices[device], self.watch.devices[device], self.watch.gateways)
        return {
            "state": str(shown.state),
            "oee": device in self.oee.offline(),
            "alerts": self.watch.is_offline(device),
            # A gateway that is gone is an alert of its own, which stands for those of its devices.
            "alarm": alert.facts.in_alarm or alert.explained_by is not None,
        }


def agreed(state: str) -> dict[str, str | bool]:
    return {"state": state, **dict.fromkeys(("oee", "alerts", "alarm"), state == "offline")}


@pytest.fixture
def askers(write_plant: WritePlant) -> Askers:
    devices = {"M-01": "edge-1", "M-02": "edge-2"}
    return Askers(write_plant(STATE, oee={"state": "it"}, devices=devices, rules=RULES))


@pytest.mark.parametrize(("messages", "state"), CASES.values(), ids=CASES)
def test_everybody_sees_the_same_device_offline(askers: Askers, messages: list[Message], state: str) -> None:
    for message in messages:
        askers.hear(message)
    assert askers.said() == agreed(state)
    askers.restart_alerts()
    assert askers.said() == agreed(state)


@pytest.mark.parametrize(("messages", "state"), CASES.values(), ids=CASES)
def test_what_is_retained_twice_changes_nothing(askers: Askers, messages: list[Message], state: str) -> None:
    for message in [each for each in messages for _ in range(2)]:
        askers.hear(message)
    assert askers.said() == agreed(state)


OF_ANOTHER = comms("offline", gateway="edge-2")
SAYINGS = [ONLINE, OFFLINE, COMMS_CLEARED, COMMS_BROKEN, ALIVE, DEAD, STATUS_CLEARED, STATUS_BROKEN, OF_ANOTHER]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(messages=st.lists(st.sampled_from(SAYINGS), max_size=8))
def test_only_the_last_word_on_each_topic_counts(askers: Askers, messages: list[Message]) -> None:
    for message in (COMMS_CLEARED, STATUS_CLEARED, *messages):
        askers.hear(message)
    last = {"comms": COMMS_CLEARED, "status": STATUS_CLEARED}
    for message in messages:
        if message not in (COMMS_BROKEN, STATUS_BROKEN, OF_ANOTHER):
            last[message[0].rpartition("/")[2]] = message
    state = {ONLINE: "online", OFFLINE: "offline", COMMS_CLEARED: "unknown"}[last["comms"]]
    assert askers.said() == agreed("offline" if last["status"] == DEAD else state)


def test_a_device_that_was_given_to_another_gateway_is_not_what_the_first_one_said(askers: Askers) -> None:
    askers.hear(status(alive=True, instance="edge-2"))
    askers.hear(comms("offline", "M-02"))
    assert askers.said("M-02") == agreed("unknown")
    askers.hear(comms("online", "M-02", gateway="edge-2"))
    assert askers.said("M-02") == agreed("online")


def test_the_alarm_of_a_dead_gateway_dates_from_its_death(askers: Askers) -> None:
    for message in (ALIVE, ONLINE, DEAD):
        askers.hear(message)
    shown = comms_of(askers.plant.devices["M-01"], askers.watch.devices["M-01"], askers.watch.gateways)
    assert (shown.since, shown.reason) == (format_timestamp(START_MS), "gateway edge-1 is not alive")
