"""What a session with the MQTT broker promises, whichever client speaks: connects for ever, enqueues what arrives, publishes only
while connected. Two keep the promise and pass the same tests: `wire_session` where messages are many, `mqtt` (paho) elsewhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from .logs import get_logger
from .settings import BrokerSettings

SESSION_EXPIRY_S = 7 * 86_400
KEEPALIVE_S = 30
RECONNECT_S = (1, 10)
CONNECT_LIMIT_S = 5.0
WRONG_ACCOUNT = frozenset({0x86, 0x87})
"""Reason codes: bad user name or password, not authorized."""

_log = get_logger(__name__)


class Received(NamedTuple):
    """A message from the broker. `generation` counts connections: it may only be acknowledged on its own."""

    topic: str
    payload: bytes
    retained: bool
    qos: int
    mid: int
    generation: int


def _ignore(*_arguments: object) -> None:
    pass


class Callbacks(NamedTuple):
    """All are called on the network thread: they only enqueue. An exception in one ends the process."""

    message: Callable[[Received], None] = _ignore
    connected: Callable[[], None] = _ignore
    disconnected: Callable[[], None] = _ignore
    published: Callable[[int, bool], None] = _ignore
    """(token of publish, whether the broker took it)"""


class Session:
    """One client id at one broker. `start` returns at once; the broker may be absent for as long as it likes."""

    def __init__(self, settings: BrokerSettings, client_id: str, callbacks: Callbacks) -> None:
        self.problem: str | None = "not connected yet"
        self.generation = 0
        self._settings = settings
        self._client_id = client_id
        self._callbacks = callbacks
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._guard(self._run), name="mqtt", daemon=True)

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    @property
    def is_running(self) -> bool:
        """Whether the network thread lives; a dead one never reconnects."""
        return self._thread.is_alive()

    def wait_connected(self, timeout_s: float) -> bool:
        return self._connected.wait(timeout_s)

    def start(self) -> None:
        raise NotImplementedError

    def stop(self, timeout_s: float = 3.0) -> None:
        """Disconnect in good order, without the will. Publish what must still go out before calling this."""
        raise NotImplementedError

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Hand a message to the broker, QoS 1. Returns a token that `callbacks.published` names again, or None: not now.

        Nothing is queued while disconnected: who must not lose a message keeps it in an outbox, who owns a retained one
        publishes it anew in `callbacks.connected`.
        """
        raise NotImplementedError

    def acknowledge(self, received: Received) -> None:
        """Tell the broker that the message's effect is done. Ignored for a message of an earlier connection."""
        raise NotImplementedError

    def _run(self) -> None:
        raise NotImplementedError

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """An exception on the network thread ends the process: else it would look alive for ever without hearing anything."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except BaseException:  # noqa: BLE001 - whatever it is, the restart policy is the way out
                _log.critical("mqtt_callback_failed", exc_info=True)
                os._exit(70)

        return guarded

    def _place(self) -> str:
        return f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"

    def _transition(self, problem: str | None, **fields: Any) -> None:
        """Log changes only: a broker that is away for a night is two lines, not ten thousand."""
        if problem == self.problem:
            return
        self.problem = problem
        if problem is None:
            _log.info("broker_connected", broker=self._place(), client_id=self._client_id, **fields)
        else:
            _log.warning("broker_problem", broker=self._place(), client_id=self._client_id, problem=problem)

    def _refusal(self, code: int, reason: object) -> str:
        """Why the broker does not let us in, in words."""
        if code in WRONG_ACCOUNT:
            return (
                f"the broker refuses the account {self._settings.mqtt_username or '(none)'}: wrong user name or password; "
                "compare MILLRACE_MQTT_USERNAME and MILLRACE_MQTT_PASSWORD with the broker's accounts"
            )
        return f"the broker refuses the connection: {reason}"

    def _refused_publish(self, reason: object) -> str:
        return f"the broker refuses a publish of {self._settings.mqtt_username or 'this client'}: {reason}"
