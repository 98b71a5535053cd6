"""One session with the MQTT broker: connects for ever, enqueues what arrives, publishes only while connected. The only use of paho.

paho's traps that this module closes: an exception in a callback silently ends its thread (here it ends the process); MQTT 5
wipes the session by default; a refused publish counts as published unless its reason code is read; messages queued while
disconnected are sent again by paho although the outbox sends them too.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from .logs import get_logger
from .settings import BrokerSettings

SESSION_EXPIRY_S = 7 * 86_400
KEEPALIVE_S = 30
RECONNECT_S = (1, 10)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the broker. `generation` counts connections: it may only be acknowledged on its own."""

    topic: str
    payload: bytes
    retained: bool
    qos: int
    mid: int
    generation: int


def _ignore(*_arguments: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Callbacks:
    """All are called on the network thread: they only enqueue. An exception in one ends the process."""

    message: Callable[[Received], None] = _ignore
    connected: Callable[[], None] = _ignore
    disconnected: Callable[[], None] = _ignore
    published: Callable[[int, bool], None] = _ignore
    """(token of publish, whether the broker took it)"""


class MqttSession:
    """One client id at one broker. `start` returns at once; the broker may be absent for as long as it likes."""

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        callbacks: Callbacks,
        *,
        filters: Sequence[str] = (),
        will: tuple[str, bytes] | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
        receive_maximum: int = 1000,
        in_flight_maximum: int = 200,
    ) -> None:
        self.problem: str | None = "not connected yet"
        self.generation = 0
        self._settings = settings
        self._client_id = client_id
        self._callbacks = callbacks
        self._filters = tuple(filters)
        self._persistent = persistent
        self._manual_ack = manual_ack
        self._receive_maximum = receive_maximum
        self._connected = threading.Event()
        self._stopping = False
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5, manual_ack=manual_ack)
        self._client.max_inflight_messages_set(in_flight_maximum)
        self._client.reconnect_delay_set(*RECONNECT_S)
        # With this set, the network thread alone writes to the socket; else paho writes from whichever thread publishes or
        # acknowledges, two at a time, and mixes their packets.
        self._client.on_socket_register_write = _ignore
        if settings.mqtt_username:
            self._client.username_pw_set(settings.mqtt_username, settings.mqtt_password.get_secret_value())
        if settings.mqtt_ca is not None:
            self._client.tls_set_context(ssl.create_default_context(cafile=str(settings.mqtt_ca)))
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=True)
        self._client.on_connect = self._guard(self._on_connect)
        self._client.on_connect_fail = self._guard(self._on_connect_fail)
        self._client.on_disconnect = self._guard(self._on_disconnect)
        self._client.on_message = self._guard(self._on_message)
        self._client.on_publish = self._guard(self._on_publish)
        self._client.on_subscribe = self._guard(self._on_subscribe)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    @property
    def is_running(self) -> bool:
        """Whether the network thread lives; a dead one never reconnects."""
        return self._thread.is_alive()

    def start(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = self._receive_maximum
        if self._persistent:
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect_async(
            self._settings.mqtt_host,
            self._settings.mqtt_port,
            keepalive=KEEPALIVE_S,
            clean_start=not self._persistent,
            properties=properties,
        )
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Disconnect in good order, without the will. Publish what must still go out before calling this."""
        self._stopping = True
        self._client.disconnect()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def wait_connected(self, timeout_s: float) -> bool:
        return self._connected.wait(timeout_s)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1) -> int | None:
        """Hand a message to the broker. Returns a token that `callbacks.published` names again, or None: not now.

        Nothing is queued while disconnected: who must not lose a message keeps it in an outbox, who owns a retained one
        publishes it anew in `callbacks.connected`.
        """
        if not self._connected.is_set():
            return None
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        return info.mid if info.rc in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN) else None

    def acknowledge(self, received: Received) -> None:
        """Tell the broker that the message's effect is done. Ignored for a message of an earlier connection."""
        if received.qos and received.generation == self.generation and self._connected.is_set():
            self._client.ack(received.mid, received.qos)

    def _run(self) -> None:
        self._client.loop_forever(retry_first_connection=True)

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except BaseException:  # noqa: BLE001 - paho would end this thread without a word, and the service look alive for ever
                _log.critical("mqtt_callback_failed", exc_info=True)
                os._exit(70)

        return guarded

    def _on_connect(self, _c: Client, _u: Any, flags: ConnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
        if reason.is_failure:
            self._transition(_refusal(reason, self._settings))
            return
        self.generation += 1
        if self._filters:
            self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._filters])
        self._transition(None, session_present=flags.session_present)
        self._connected.set()
        self._callbacks.connected()

    def _on_connect_fail(self, _client: Client, _userdata: Any) -> None:
        self._transition(f"no answer from {self._settings.mqtt_host}:{self._settings.mqtt_port}")

    def _on_disconnect(self, _c: Client, _u: Any, _flags: DisconnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
        was_connected = self._connected.is_set()
        self._connected.clear()
        # What paho still holds would go out again beside what the outbox sends anew.
        self._client.drop_out_messages()
        if was_connected:
            if not self._stopping:
                self._transition(f"connection lost: {reason}")
            self._callbacks.disconnected()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        self._callbacks.message(
            Received(message.topic, bytes(message.payload), message.retain, message.qos, message.mid, self.generation)
        )

    def _on_publish(self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
        if reason.is_failure:
            self._transition(f"the broker refuses a publish of {self._settings.mqtt_username or 'this client'}: {reason}")
        self._callbacks.published(mid, not reason.is_failure)

    def _on_subscribe(self, _c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
        refused = [topic for topic, reason in zip(self._filters, reasons, strict=False) if reason.is_failure]
        if refused:
            self._transition(f"the broker refuses subscriptions: {', '.join(refused)}")

    def _transition(self, problem: str | None, **fields: Any) -> None:
        """Log changes only: a broker that is away for a night is two lines, not ten thousand."""
        if problem == self.problem:
            return
        self.problem = problem
        place = f"{self._settings.mqtt_host}:{self._settings.mqtt_port}"
        if problem is None:
            _log.info("broker_connected", broker=place, client_id=self._client_id, **fields)
        else:
            _log.warning("broker_problem", broker=place, client_id=self._client_id, problem=problem)


def _refusal(reason: ReasonCode, settings: BrokerSettings) -> str:
    if reason.value in (0x86, 0x87):  # bad user name or password, not authorized
        return (
            f"the broker refuses the account {settings.mqtt_username or '(none)'}: wrong user name or password; "
            "compare MILLRACE_MQTT_USERNAME and MILLRACE_MQTT_PASSWORD with the broker's accounts"
        )
    return f"the broker refuses the connection: {reason}"
