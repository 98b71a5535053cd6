"""The session over paho, for who exchanges few messages (decision 0012). The only use of paho.

paho's traps that this module closes: an exception in a callback silently ends its thread (here it ends the process); MQTT 5
wipes the session by default; a refused publish counts as published unless its reason code is read; messages queued while
disconnected are sent again by paho although the outbox sends them too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ..settings import BrokerSettings
from .refused_topics import NOT_AUTHORISED
from .session import KEEPALIVE_S, RECONNECT_S, SESSION_EXPIRY_S, Callbacks, Received, Session

__all__ = ["Callbacks", "PahoSession", "Received"]


def _ignore(*_arguments: object) -> None:
    pass


class PahoSession(Session):
    """A Session; paho's thread is its network thread."""

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
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        super().__init__(settings, client_id, callbacks)
        self._filters = tuple(filters)
        self._persistent = persistent
        self._receive_maximum = receive_maximum
        self._in_flight_maximum = in_flight_maximum
        self._keepalive_s = keepalive_s
        self._stopping = False
        self._topics: dict[int, str] = {}
        self._connected_s = 0.0
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5, manual_ack=manual_ack)
        self._client.max_inflight_messages_set(in_flight_maximum)
        self._client.reconnect_delay_set(*RECONNECT_S)
        # With this set, the network thread alone writes to the socket; else paho writes from whichever thread publishes or
        # acknowledges, two at a time, and mixes their packets.
        self._client.on_socket_register_write = _ignore
        if self._account:
            self._client.username_pw_set(self._account, self._password())
        if (tls := self._trust.context()) is not None:
            self._client.tls_set_context(tls)
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=True)
        self._client.on_connect = self._guard(self._on_connect)
        self._client.on_connect_fail = self._guard(self._on_connect_fail)
        self._client.on_disconnect = self._guard(self._on_disconnect)
        self._client.on_message = self._guard(self._on_message)
        self._client.on_publish = self._guard(self._on_publish)
        self._client.on_subscribe = self._guard(self._on_subscribe)

    def start(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.ReceiveMaximum = self._receive_maximum
        if self._persistent:
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
        self._client.connect_async(
            self._settings.mqtt_host,
            self._settings.mqtt_port,
            keepalive=self._keepalive_s,
            clean_start=not self._persistent,
            properties=properties,
        )
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        self._stopping = True
        self._client.disconnect()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        if not self._connected.is_set() or self._rests(topic, retain=retain):
            return None
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        self._topics[info.mid] = topic
        return info.mid if info.rc in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN) else None

    def acknowledge(self, received: Received) -> None:
        if received.qos and received.generation == self.generation and self._connected.is_set():
            self._client.ack(received.mid, received.qos)

    def _run(self) -> None:
        # Only a thread that paho started itself is woken by a publish or an acknowledgement from another thread; loop_forever
        # in this one would send them at the next turn of its loop, up to a second later.
        self._client.loop_start()
        while (thread := self._client._thread) is not None:
            thread.join(1.0)

    def _on_connect(self, _c: Client, _u: Any, flags: ConnectFlags, reason: ReasonCode, answer: Properties | None) -> None:
        if reason.is_failure:
            self._transition(self._refusal(reason.value, reason))
            if self._account:
                self._client.username_pw_set(self._account, self._password())
            return
        # paho does not look at the broker's limit, and a broker may end the connection of who exceeds it. Its own setter refuses
        # a change while connected, for what may be on its way; nothing is yet.
        self._client._max_inflight_messages = min(self._in_flight_maximum, getattr(answer, "ReceiveMaximum", 65_535))
        self.generation += 1
        if self._filters:
            self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._filters])
        self._transition(None, session_present=flags.session_present)
        self._connected_s = time.monotonic()
        self._connected.set()
        self._callbacks.connected()

    def _on_connect_fail(self, _client: Client, _userdata: Any) -> None:
        if self._pause_s > RECONNECT_S[0]:
            self._broker_is_away()
            self._client.reconnect_delay_set(*RECONNECT_S)
        self._transition(f"no answer from {self._place()}")
        # Its own setter takes a context once only; another authority may be trusted by now.
        self._client._ssl_context = self._trust.context_now()

    def _on_disconnect(self, _c: Client, _u: Any, _flags: DisconnectFlags, reason: ReasonCode, _p: Properties | None) -> None:
        was_connected = self._connected.is_set()
        self._connected.clear()
        # What paho still holds would go out again beside what the outbox sends anew.
        self._client.drop_out_messages()
        self._topics.clear()
        if was_connected:
            # "Unspecified error" is paho's own word for a connection that was closed without one.
            code = None if reason.value == 0x80 else reason.value
            pause_s = round(self._pause_after(time.monotonic() - self._connected_s, code))
            self._client.reconnect_delay_set(max(RECONNECT_S[0], pause_s), max(RECONNECT_S[1], pause_s))
            if not self._stopping:
                self._transition(f"connection lost: {reason}")
            self._callbacks.disconnected()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        payload = bytes(message.payload)
        self._deliver([Received(message.topic, payload, message.retain, message.qos, message.mid, self.generation)])

    def _on_publish(self, _c: Client, _u: Any, mid: int, reason: ReasonCode, _p: Properties | None) -> None:
        # An answer may come before `publish` has noted the topic.
        topic = self._topics.pop(mid, "(unknown)")
        refusal = str(reason) if reason.is_failure else None
        self._answered(topic, refusal, is_rights=reason.value == NOT_AUTHORISED)
        self._callbacks.published(mid, not reason.is_failure)

    def _on_subscribe(self, _c: Client, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Properties | None) -> None:
        self._subscribed(self._filters, (not reason.is_failure for reason in reasons))
