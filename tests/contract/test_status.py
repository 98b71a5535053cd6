"""Status: said by each service, kept by the broker, believed only while the service lives."""

from __future__ import annotations

import queue
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from millrace_contract.language.messages import Status, decode, encode
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.disk_space import Disks
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.runtime.status import Platform, StatusReporter, last_will
from millrace_contract.testing import Broker, free_port, wait_until

TOPICS = Topics("factory")
DYING = """
import sys, time
from importlib import import_module
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.runtime.status import last_will
from millrace_contract.language.topics import Topics
broker = BrokerSettings(mqtt_port=int(sys.argv[1]))
session_type = getattr(import_module(sys.argv[2]), sys.argv[3])
session = session_type(broker, "ingest-1", Callbacks(), will=last_will(Topics("factory"), "ingest", "1"))
session.start()
assert session.wait_connected(10)
print("up", flush=True)
time.sleep(60)
"""


def _apply(platform: Platform, service: str, instance: str, **values: object) -> None:
    topic = TOPICS.parse(TOPICS.status(service, instance))
    assert topic is not None
    platform.apply(topic, encode(msgspec.convert({"service": service, "instance": instance, "alive": True, **values}, Status)))


def _hear(heard: queue.SimpleQueue[Received], is_it: Callable[[Status], bool], within_s: float) -> Status:
    """The next status that is meant: what was published while we subscribed, a broker may send as retained once more."""
    deadline_s = time.monotonic() + within_s
    while not is_it(status := decode(Status, heard.get(timeout=max(0.01, deadline_s - time.monotonic())).payload)):
        pass
    return status


def test_one_taking_ingest_is_enough_and_a_dead_one_does_not_count() -> None:
    platform = Platform()
    assert not platform.is_taking()
    _apply(platform, "ingest", "1", taking=False)
    assert not platform.is_taking()
    _apply(platform, "ingest", "2", taking=True)
    assert platform.is_taking()
    _apply(platform, "ingest", "2", taking=True, alive=False)
    assert not platform.is_taking()
    assert platform.alive("ingest", "1") is True
    assert platform.alive("ingest", "2") is False
    assert platform.alive("gateway", "edge-1") is None


@pytest.mark.process
@pytest.mark.broker
def test_status_is_retained_said_at_once_and_withdrawn_by_the_will(
    fresh_broker: Broker, session_type: type[PahoSession] | type[LeanSession], tmp_path: Path
) -> None:
    heard: queue.SimpleQueue[Received] = queue.SimpleQueue()
    listener = session_type(fresh_broker.settings(), "listener", Callbacks(message=heard.put), filters=[TOPICS.status("+", "+")])
    listener.start()
    session = session_type(fresh_broker.settings(), "oee-1", Callbacks(), will=last_will(TOPICS, "oee", "1"))
    session.start()
    assert session.wait_connected(5)
    figures = {"queued": 1.0}
    reporter = StatusReporter(
        session,
        TOPICS,
        Status(service="oee", instance="1", alive=True, version="7.8.9"),
        lambda status: msgspec.structs.replace(status, figures=dict(figures)),
        disks=Disks(tmp_path),
    )
    reporter.start()
    said = _hear(heard, lambda status: status.figures.get("queued") == 1.0, 5)
    assert said.figures["disk_free_bytes"] > 0
    assert (said.alive, said.version) == (True, "7.8.9")
    figures["queued"] = 2.0
    reporter.now()
    _hear(heard, lambda status: status.figures.get("queued") == 2.0, 2)
    rival = session_type(fresh_broker.settings(), "oee-1", Callbacks())
    rival.start()
    assert rival.wait_connected(5)
    rival.stop()
    _hear(heard, lambda status: not status.alive, 5)
    assert _hear(heard, lambda status: status.alive, 5).figures["queued"] == 2.0, (
        "said again after a reconnect, not ten seconds later"
    )
    reporter.stop()
    _hear(heard, lambda status: not status.alive, 5)
    session.stop()

    dying = subprocess.Popen(
        [sys.executable, "-c", DYING, str(fresh_broker.port), session_type.__module__, session_type.__name__],
        stdout=subprocess.PIPE,
    )
    assert dying.stdout is not None
    with dying.stdout:
        assert dying.stdout.readline() == b"up\n"
        dying.kill()
        dying.wait(10)
    wait_until(lambda: not heard.empty(), "the broker to publish the last will")
    will = heard.get(timeout=1)
    assert (will.topic, decode(Status, will.payload).alive) == (TOPICS.status("ingest", "1"), False)
    listener.stop()


def test_who_cannot_reach_the_broker_says_why_at_its_health_address(tmp_path: Path) -> None:
    session = PahoSession(BrokerSettings(mqtt_port=free_port()), "oee-1", Callbacks())
    reporter = StatusReporter(
        session, TOPICS, Status(service="oee", instance="1", alive=True), lambda status: status, disks=Disks(tmp_path)
    )
    assert reporter.answer() == (503, {}), "it has said nothing yet"
    session.start()
    wait_until(lambda: (session.problem or "").startswith("no answer"), "the first attempt to fail")
    reporter.start()
    wait_until(lambda: reporter.answer()[0] == 200, "a status")
    _, said = reporter.answer()
    assert said["problems"] == [session.problem]
    reporter.stop()
    session.stop()
