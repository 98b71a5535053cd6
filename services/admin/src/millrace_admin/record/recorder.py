"""Writes what the broker brings as an event file: retained messages first, as the broker sends them, then everything as it arrives.

A message is acknowledged once it is written, so the broker holds back what a slow disk does not take, and memory stays bounded.
The session is a clean one: nothing is left at the broker behind a recording. What is published while the connection is gone is
missing, and told.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from millrace_contract.errors import Unavailable
from millrace_contract.language.event_file import encode_event
from millrace_contract.language.topics import ASKING, Kind, Topics
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.intake import Intake
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.runtime.settings import BrokerSettings

RECEIVE_MAXIMUM = 1_000
TURN_S = 0.25


@dataclass
class Recorded:
    """What a recording has so far. `interruptions`: how often the connection was gone for a while. `dropped`: more came at once,
    without a request for confirmation, than could be written."""

    messages: int = 0
    bytes: int = 0
    interruptions: int = 0
    dropped: int = 0
    problem: str | None = None

    @property
    def is_whole(self) -> bool:
        return not self.interruptions and not self.dropped and self.problem is None


class Recorder:
    """One recording. `record` returns what was written; all of it is on its way to the disk then."""

    def __init__(self, broker: BrokerSettings, root: str, out: BinaryIO, clock: Clock) -> None:
        topics = Topics(root)
        self._out = out
        self._clock = clock
        self._recorded = Recorded()
        self._connections = 0
        self._inbox = inbox = Intake[None](receive_maximum=RECEIVE_MAXIMUM)
        self._session = LeanSession(
            broker,
            # The broker takes the account's name; without one, two recordings must not take each other's connection.
            broker.mqtt_username or f"admin-record-{secrets.token_hex(4)}",
            Callbacks(message=inbox.put, connected=self._connected, disconnected=lambda: inbox.connection(connected=False)),
            filters=[each for kind in Kind if kind not in ASKING for each in topics.filters(kind)],
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
        )

    def record(
        self, stop: threading.Event, *, seconds: float | None, patience_s: float, progress: Callable[[Recorded, float | None], None]
    ) -> Recorded:
        """Until `stop`, at most `seconds` from the first connection on. `progress` hears each turn what there is, and what is left.

        Raises Unavailable when there is no connection within `patience_s`, and OSError when the file takes no more.
        """
        self._session.start()
        try:
            if not self._wait(stop, patience_s):
                return self._recorded
            started_s = self._clock.monotonic_s()
            while not stop.is_set():
                self._write(TURN_S)
                passed_s = self._clock.monotonic_s() - started_s
                progress(self._recorded, None if seconds is None else seconds - passed_s)
                if seconds is not None and passed_s >= seconds:
                    break
            self._look_back()
        finally:
            self._session.stop()
        while len(self._inbox):
            self._write(0)
        return self._recorded

    def _wait(self, stop: threading.Event, patience_s: float) -> bool:
        deadline_s = self._clock.monotonic_s() + patience_s
        while not self._session.wait_connected(TURN_S):
            if stop.is_set():
                return False
            if self._clock.monotonic_s() >= deadline_s:
                raise Unavailable(f"nothing to record: {self._session.problem}")
        return True

    def _connected(self) -> None:
        self._connections += 1
        self._inbox.connection(connected=True)

    def _write(self, timeout_s: float) -> None:
        batch = self._inbox.take(timeout_s)
        now_ms = self._clock.now_ms()
        for received in batch.messages:
            line = encode_event(received.topic, received.payload, now_ms, retained=received.retained)
            self._out.write(line)
            self._recorded.messages += 1
            self._recorded.bytes += len(line)
        if batch.messages:
            self._out.flush()
            self._session.acknowledge_all(batch.messages)

    def _look_back(self) -> None:
        """What the recording lacks, as long as the session still knows it."""
        recorded, session = self._recorded, self._session
        recorded.interruptions = max(self._connections - 1, 0) + (not session.is_connected)
        recorded.dropped = self._inbox.dropped
        recorded.problem = session.problem
