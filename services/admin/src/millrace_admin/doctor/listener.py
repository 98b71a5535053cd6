"""Doctor at the broker: it publishes a message of its own and reads it back, and hears what every part says of itself."""

from __future__ import annotations

import contextlib
import secrets
import threading

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import Comms, Status, decode
from millrace_contract.language.topics import Kind, Topic, Topics
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.settings import BrokerSettings

from .evidence import StatusFacts

ACCOUNT = "doctor"
CONNECT_S = 6.0
ECHO_S = 6.0
TURN_S = 0.1


class Listener:
    """A clean session; nothing of it is left at the broker."""

    def __init__(self, broker: BrokerSettings, root: str, clock: Clock) -> None:
        self.account_problem: str | None = None
        self.echo_problem: str | None = None
        self.statuses: dict[tuple[str, str], StatusFacts] = {}
        self.comms: dict[str, Comms] = {}
        self._topics = Topics(root)
        self._clock = clock
        self._run = secrets.token_hex(8)
        self._own = self._topics.doctor(self._run)
        self._came_back = False
        self._is_settled = threading.Event()
        filters = [each for kind in (Kind.STATUS, Kind.COMMS) for each in self._topics.filters(kind)]
        self._session = LeanSession(
            broker,
            ACCOUNT,
            Callbacks(message=self._hear, published=self._published),
            filters=[*filters, self._own],
        )

    def listen(self, patience_s: float) -> None:
        """At most so long for fresh statuses, and no longer once each part that runs has said one."""
        self._session.start()
        try:
            if not self._session.wait_connected(CONNECT_S):
                self.account_problem = self._session.problem or "no answer"
                return
            self.echo_problem = self._echo()
            deadline_s = self._clock.monotonic_s() + patience_s
            pause = threading.Event()
            while self._clock.monotonic_s() < deadline_s and not self._is_complete():
                pause.wait(TURN_S)
        finally:
            self._session.stop()

    def _echo(self) -> str | None:
        if self._session.publish(self._own, self._run.encode()) is None:
            return self._session.problem or "it takes nothing now"
        self._is_settled.wait(ECHO_S)
        return None if self._came_back else self._session.problem or f"nothing within {ECHO_S:.0f} s"

    def _is_complete(self) -> bool:
        heard = list(self.statuses.values())
        return bool(heard) and all(one.is_fresh for one in heard if one.status.alive)

    def _published(self, _token: int, is_taken: bool) -> None:
        if not is_taken:
            self._is_settled.set()

    def _hear(self, message: Received) -> None:
        if message.topic == self._own:
            self._came_back = True
            self._is_settled.set()
            return
        topic = self._topics.parse(message.topic)
        if topic is None:
            return
        with contextlib.suppress(Malformed):  # somebody else's mistake; ingest keeps it as a dead letter
            self._take(topic, message)

    def _take(self, topic: Topic, message: Received) -> None:
        if topic.kind is Kind.STATUS and topic.service is not None and topic.instance is not None:
            key = topic.service, topic.instance
            if message.payload:
                status = decode(Status, message.payload)
                self.statuses[key] = StatusFacts(status, self._clock.now_ms(), not message.retained)
            else:
                self.statuses.pop(key, None)
        elif topic.kind is Kind.COMMS and topic.device is not None:
            if message.payload:
                self.comms[topic.device] = decode(Comms, message.payload)
            else:
                self.comms.pop(topic.device, None)
