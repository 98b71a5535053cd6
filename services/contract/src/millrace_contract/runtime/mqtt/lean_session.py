"""The session without paho, for who receives telemetry or owns an outbox (decision 0012): a message costs a tenth.

The network thread owns the connection (`link`); the bytes are in `packets`. It passes the same tests as the session over paho.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from ..settings import BrokerSettings
from .link import ConnectRefused, Link, LinkLost, Waker
from .packets import (
    FAILURE,
    Disconnected,
    Packet,
    ProtocolError,
    Puback,
    Suback,
    encode_connect,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
    reason_text,
)
from .refused_topics import NOT_AUTHORISED
from .session import CONNECT_LIMIT_S, KEEPALIVE_S, RECONNECT_S, SESSION_EXPIRY_S, Callbacks, Received, Session

_WAIT_S: Final = 1.0
_GOODBYE_S: Final = 2.0
_IDENTIFIERS: Final = 65_535
_SUBSCRIBE_MID: Final = _IDENTIFIERS
"""Kept out of the publishes' numbers."""


class _Ended(Exception):
    """The broker said that it ends the connection, and why."""

    def __init__(self, code: int) -> None:
        super().__init__(reason_text(code))
        self.code = code


class LeanSession(Session):
    """A Session on sockets of its own."""

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        callbacks: Callbacks,
        *,
        filters: Sequence[str] = (),
        fleeting: Sequence[str] = (),
        will: tuple[str, bytes] | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
        receive_maximum: int = 1000,
        in_flight_maximum: int = 1000,
        keepalive_s: int = KEEPALIVE_S,
        learned_ca: Path | None = None,
    ) -> None:
        """`fleeting`: filters of what is old news after an absence: the broker keeps none of it for a persistent session."""
        super().__init__(settings, client_id, callbacks, learned_ca=learned_ca)
        self.session_present = False
        """Whether the broker had a session of ours, with what it kept for us meanwhile, when it took the newest connection."""
        self._filters = (*filters, *fleeting)
        self._manual_ack = manual_ack
        self._in_flight_maximum = in_flight_maximum
        self._keepalive_s = keepalive_s
        self._trust.context()  # refuses a file that is none
        self._encode_connect = partial(
            encode_connect,
            client_id,
            username=self._account,
            will=will,
            keepalive_s=keepalive_s,
            clean_start=not persistent,
            receive_maximum=receive_maximum,
            session_expiry_s=SESSION_EXPIRY_S if persistent else 0,
        )
        self._subscribe = encode_subscribe(_SUBSCRIBE_MID, self._filters, frozenset(fleeting)) if self._filters else b""
        self._waker = Waker()
        self._link: Link | None = None
        self._tokens = 0
        self._publishing = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        self._stopping.set()
        self._waker.wake()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Takes nothing either while so much waits for the broker that memory would not be bounded."""
        if self._rests(topic, retain=retain):
            return None
        with self._publishing:
            link = self._link
            if link is None or not link.has_room(len(payload)):
                return None
            mid = 0
            while not mid or not link.is_free(mid):
                self._tokens += 1
                mid = self._tokens % (_IDENTIFIERS - 1) + 1
            link.put(self._tokens, mid, topic, encode_publish(topic, payload, mid, retain=retain))
            return self._tokens

    def acknowledge(self, received: Received) -> None:
        self.acknowledge_all((received,))

    def acknowledge_all(self, messages: Iterable[Received]) -> None:
        link = self._link
        if link is not None:
            link.acknowledge([one.mid for one in messages if one.qos and one.generation == link.generation])

    def unsubscribe(self, topic: str) -> None:
        """Hear no more of a topic that an earlier run asked for and its session still has. On the network thread."""
        if self._link is not None:
            self._link.control(encode_unsubscribe(_SUBSCRIBE_MID, [topic]))

    def _run(self) -> None:
        absent_s = float(RECONNECT_S[0])
        while not self._stopping.is_set():
            link = self._try_to_connect()
            if link is not None:
                pause_s = self._converse(link)
                self._stopping.wait(pause_s)
                absent_s = float(RECONNECT_S[0])
            else:
                self._stopping.wait(absent_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, guards nothing
                absent_s = min(2 * absent_s, RECONNECT_S[1])

    def _try_to_connect(self) -> Link | None:
        """A connection that the broker has accepted and that asks for our topics; else None, and the problem is said."""
        link: Link | None = None
        try:
            link = Link(
                self._open(),
                self.generation + 1,
                self._waker,
                in_flight_maximum=self._in_flight_maximum,
                keepalive_s=self._keepalive_s,
            )
            connack = link.greet(self._encode_connect(password=self._password()), self._subscribe)
        except ConnectRefused as refusal:
            self._transition(self._refusal(refusal.code, refusal))
        except ProtocolError as error:
            self._transition(f"{self._place()} does not speak MQTT 5: {error}")
        except ssl.SSLError as error:
            self._transition(f"{self._place()} and we do not agree on TLS: {error}")
        except OSError:
            if link is None:
                self._broker_is_away()
            self._transition(f"no answer from {self._place()}")
        else:
            self.generation = link.generation
            self.session_present = connack.session_present
            self._transition(None, session_present=connack.session_present)
            return link
        if link is not None:
            link.close()
        return None

    def _open(self) -> socket.socket:
        """Raises OSError."""
        host = self._settings.mqtt_host
        channel = socket.create_connection((host, self._settings.mqtt_port), CONNECT_LIMIT_S)
        try:
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._trusted(channel, host)
        except OSError:
            channel.close()
            raise

    def _trusted(self, channel: socket.socket, host: str) -> socket.socket:
        """The channel over TLS, where it is used. Raises OSError."""
        context = self._trust.context_now()
        if context is None:
            return channel
        trusted = context.wrap_socket(channel, server_hostname=host)
        self._trust.hear(trusted)
        return trusted

    def _converse(self, link: Link) -> float:
        """Until the connection or the session ends. Returns how long to wait before the next one, in seconds."""
        self._link = link
        self._connected.set()
        self._callbacks.connected()
        wait_s = min(_WAIT_S, link.keepalive_s / 4)
        leave_s: float | None = None
        ending = None
        code = None
        began_s = time.monotonic()
        try:
            while leave_s is None or (time.monotonic() < leave_s and not link.is_idle):
                self._take(link, link.turn(wait_s))
                self._tell_refused(link)
                link.keep_alive()
                if leave_s is None and self._stopping.is_set():
                    leave_s = time.monotonic() + _GOODBYE_S
        except _Ended as end:
            ending, code = f"connection lost: {end}", end.code
        except (LinkLost, ProtocolError) as error:
            ending = f"connection lost: {error}"
        with self._publishing:
            self._link = None
        self._connected.clear()
        if ending is None:
            link.leave()
        else:
            link.close()
            if not self._stopping.is_set():
                self._transition(ending)
        self._callbacks.disconnected()
        return self._pause_after(time.monotonic() - began_s, code)

    def _take(self, link: Link, packets: list[Packet]) -> None:
        messages = [packet for packet in packets if isinstance(packet, Received)]
        if messages:
            self._deliver(messages)
            if not self._manual_ack:
                self.acknowledge_all(messages)
        if len(messages) < len(packets):
            for packet in packets:
                self._take_other(link, packet)

    def _take_other(self, link: Link, packet: Packet) -> None:
        if isinstance(packet, Puback):
            self._take_answer(link, packet)
        elif isinstance(packet, Suback):
            self._subscribed(self._filters, (reason < FAILURE for reason in packet.reasons))
        elif isinstance(packet, Disconnected):
            raise _Ended(packet.reason)

    def _take_answer(self, link: Link, answer: Puback) -> None:
        sent = link.answered(answer.mid)
        if sent is None:
            return
        token, topic = sent
        is_taken = answer.reason < FAILURE
        refusal = None if is_taken else reason_text(answer.reason)
        self._answered(topic, refusal, is_rights=answer.reason == NOT_AUTHORISED)
        self._callbacks.published(token, is_taken)

    def _tell_refused(self, link: Link) -> None:
        """A message larger than the broker takes would end the connection each time that it is sent."""
        for token, topic in link.refused:
            self._answered(topic, "larger than the broker's limit for a packet")
            self._callbacks.published(token, False)
        link.refused.clear()
