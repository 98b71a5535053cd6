"""A process that stood still (a paused container, a suspended machine) goes on where it was, and nobody ends it for that."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys

import pytest

from millrace_contract.language.messages import Status, decode
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.testing import Mosquitto, wait_until

LIMIT_S = 2.0
CHILD = """
import sys, time
from pathlib import Path
from millrace_contract.language.messages import Status
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.disk_space import Disks
from millrace_contract.runtime.health import Heartbeats, Watchdog
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.runtime.status import StatusReporter, last_will
topics = Topics("factory")
heartbeats = Heartbeats()
session = LeanSession(
    BrokerSettings(mqtt_port=int(sys.argv[1])), "oee-1", Callbacks(message=lambda one: print(one.payload.decode(), flush=True)),
    filters=["work"], will=last_will(topics, "oee", "1"), persistent=True, keepalive_s=2,
)
session.start()
base = Status(service="oee", instance="1", alive=True)
StatusReporter(session, topics, base, lambda status: status, heartbeats=heartbeats, disks=Disks(Path())).start()
Watchdog(heartbeats, float(sys.argv[2])).start()
while True:
    heartbeats.beat("main")
    time.sleep(0.1)
"""


@pytest.mark.process
@pytest.mark.long
@pytest.mark.broker
def test_a_process_that_stood_still_for_longer_than_any_limit_goes_on(mosquitto: Mosquitto) -> None:
    statuses: queue.SimpleQueue[Received] = queue.SimpleQueue()
    watcher = LeanSession(
        mosquitto.settings(), "watcher", Callbacks(message=statuses.put), filters=[Topics("factory").status("oee", "1")]
    )
    watcher.start()

    def is_said(*, alive: bool) -> bool:
        return not statuses.empty() and decode(Status, statuses.get().payload).alive is alive

    child = subprocess.Popen([sys.executable, "-c", CHILD, str(mosquitto.port), str(LIMIT_S)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        with child.stdout:
            wait_until(lambda: is_said(alive=True), "its status", 20)
            os.kill(child.pid, signal.SIGSTOP)
            wait_until(lambda: is_said(alive=False), "the broker to give it up", 20)
            assert watcher.publish("work", b"came while it stood still") is not None
            os.kill(child.pid, signal.SIGCONT)
            assert child.stdout.readline() == "came while it stood still\n"
            wait_until(lambda: is_said(alive=True), "its status again", 5)
            assert child.poll() is None, "nobody ended it"
    finally:
        child.kill()
        child.wait(10)
        watcher.stop()
