"""Both ends of the way over a broker, for tests: a session that feeds an outbox, and an ingest that only counts and confirms."""

from __future__ import annotations

import json
import threading
from typing import Any

from ..language.messages import Stored, decode, encode
from ..runtime.mqtt.lean_session import LeanSession
from ..runtime.mqtt.paho_session import PahoSession
from ..runtime.mqtt.session import Callbacks, Received
from ..runtime.settings import BrokerSettings
from ..store_forward.outbox_thread import OutboxThread
from .outboxes import LEDGER, SENDER

STORED = f"factory/_platform/stored/{SENDER}"
TAKING = "factory/_platform/ingest/1/status"

SessionType = type[PahoSession] | type[LeanSession]


class CountingIngest:
    """Confirms every message that it receives, one by one, and says whether it is there. While it holds, it acknowledges and
    confirms nothing."""

    def __init__(self, settings: BrokerSettings, session_type: SessionType = LeanSession, receive_maximum: int = 1000) -> None:
        self.seen: dict[str, list[int]] = {}
        self._held: list[Received] = []
        self._holds = False
        self._lock = threading.Lock()
        self.session = session_type(
            settings,
            "ingest-1",
            Callbacks(message=self._take, connected=self._say_taking),
            filters=["factory/line1/#", LEDGER],
            will=(TAKING, b"no"),
            persistent=True,
            manual_ack=True,
            receive_maximum=receive_maximum,
        )

    def start(self) -> None:
        self.session.start()
        assert self.session.wait_connected(10)

    def stop(self) -> None:
        """In good order: nobody is told that it takes nothing any more."""
        self.session.stop()

    def hold(self) -> None:
        self._holds = True

    def go_on(self) -> None:
        with self._lock:
            self._holds = False
            for received in self._held:
                self._confirm(received)
            self._held.clear()

    def _say_taking(self) -> None:
        self.session.publish(TAKING, b"no", retain=True)
        self.session.publish(TAKING, b"yes", retain=True)

    def _take(self, received: Received) -> None:
        with self._lock:
            if self._holds:
                self._held.append(received)
            else:
                self._confirm(received)

    def _confirm(self, received: Received) -> None:
        message = json.loads(received.payload)
        self.seen.setdefault(message["stream"], []).append(message["seq"])
        stored = Stored(stream=message["stream"], seqs=[(message["seq"], message["seq"])])
        self.session.publish(STORED, encode(stored))
        self.session.acknowledge(received)


class Uplink:
    """The gateway's side: a session whose callbacks reach `outbox`."""

    def __init__(self, settings: BrokerSettings, session_type: SessionType = LeanSession, **options: Any) -> None:
        self.outbox: OutboxThread
        self.session = session_type(
            settings,
            SENDER,
            Callbacks(
                message=self._take,
                connected=lambda: self.outbox.connected(),  # noqa: PLW0108 - the outbox comes later
                disconnected=lambda: self.outbox.disconnected(),  # noqa: PLW0108
                published=lambda token, ok: self.outbox.published(token, ok),  # noqa: PLW0108
            ),
            filters=[STORED, TAKING],
            persistent=True,
            **options,
        )

    def _take(self, received: Received) -> None:
        if received.topic == TAKING:
            self.outbox.taking(received.payload == b"yes")
        else:
            message = decode(Stored, received.payload)
            self.outbox.confirmed(message.stream, message.seqs)
