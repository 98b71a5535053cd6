"""One connection to the broker, from its CONNACK to its end: a socket that never blocks, and the queues before it.

What makes a message cheap: one read brings many packets, acknowledgements and publishes that wait leave in one send, and the
network thread is woken once for all that other threads leave while it sleeps.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from .packets import DISCONNECT, FAILURE, PINGREQ, Connack, Packet, PacketReader, ProtocolError, encode_pubacks, reason_text
from .session import CONNECT_LIMIT_S

READ_BYTES: Final = 256 * 1024
READS: Final = 8
SEND_BYTES: Final = 256 * 1024
OUTGOING_MESSAGES: Final = 30_000
"""Messages that wait for the broker to take earlier ones; far fewer than there are packet identifiers."""
OUTGOING_BYTES: Final = 64 * 1024 * 1024

_AGAIN: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class LinkLost(Exception):
    """The connection ended; the text says how."""


class ConnectRefused(Exception):
    """The broker answered CONNECT with a failure."""

    def __init__(self, code: int) -> None:
        super().__init__(reason_text(code))
        self.code = code


class Waker:
    """Ends a wait of the network thread from any other. It outlives connections: a write never meets a closed descriptor."""

    def __init__(self) -> None:
        self.is_asleep = False
        self.descriptor, self._write_end = os.pipe()
        for end in (self.descriptor, self._write_end):
            os.set_blocking(end, False)
            weakref.finalize(self, os.close, end)

    def wake(self) -> None:
        """What was queued before is sent. Costs something only while the network thread sleeps."""
        if self.is_asleep:
            self.is_asleep = False
            with suppress(BlockingIOError):
                os.write(self._write_end, b"\0")

    def drain(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.descriptor, 4096)


class Link:
    """`put` and `acknowledge` are for any thread; everything else belongs to the network thread."""

    def __init__(
        self, channel: socket.socket, generation: int, waker: Waker, *, in_flight_maximum: int, keepalive_s: float
    ) -> None:
        self.generation = generation
        self.refused: list[tuple[int, str]] = []
        """Tokens and topics of messages that are larger than what this broker takes; whoever reads them empties the list."""
        self.keepalive_s = keepalive_s
        self._channel = channel
        self._is_tls = isinstance(channel, ssl.SSLSocket)
        self._reader = PacketReader(generation)
        self._early: list[Packet] = []
        self._room = in_flight_maximum
        self._packet_limit = 0
        self._in_flight: dict[int, tuple[int, str]] = {}
        self._outgoing: deque[tuple[int, int, str, bytes]] = deque()
        self._outgoing_bytes = 0
        self._acks: deque[int] = deque()
        self._control: deque[bytes] = deque()
        self._unsent = memoryview(b"")
        self._waker = waker
        self._is_ended = False
        self._poll = select.poll()
        self._heard_s = self._sent_s = time.monotonic()
        self._pinged_s: float | None = None

    def greet(self, connect: bytes, subscribe: bytes) -> Connack:
        """Say who we are, hear the answer, and ask for our topics. Raises ConnectRefused, OSError, ProtocolError."""
        deadline_s = time.monotonic() + CONNECT_LIMIT_S
        self._channel.settimeout(CONNECT_LIMIT_S)
        self._channel.sendall(connect)
        packets: list[Packet] = []
        while not packets:
            self._channel.settimeout(max(0.01, deadline_s - time.monotonic()))
            data = self._channel.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError("closed before the broker answered")
            packets = self._reader.feed(data)
        connack = packets[0]
        if not isinstance(connack, Connack):
            raise ProtocolError("something else than a CONNACK came first")
        if connack.reason >= FAILURE:
            raise ConnectRefused(connack.reason)
        self._early = packets[1:]
        self._room = min(self._room, connack.receive_maximum)
        self._packet_limit = connack.maximum_packet_bytes
        if connack.keepalive_s:
            self.keepalive_s = connack.keepalive_s
        self._channel.sendall(subscribe)
        self._channel.setblocking(False)
        self._poll.register(self._channel, select.POLLIN)
        self._poll.register(self._waker.descriptor, select.POLLIN)
        self._heard_s = self._sent_s = time.monotonic()
        return connack

    def has_room(self, size: int) -> bool:
        """Whether the queue takes a message of this size."""
        return len(self._outgoing) < OUTGOING_MESSAGES and self._outgoing_bytes + size <= OUTGOING_BYTES

    def is_free(self, mid: int) -> bool:
        """Whether the broker has no message under this identifier."""
        return mid not in self._in_flight

    def put(self, token: int, mid: int, topic: str, packet: bytes) -> None:
        """Queue a PUBLISH. One caller at a time."""
        self._outgoing.append((token, mid, topic, packet))
        self._outgoing_bytes += len(packet)
        self._waker.wake()

    def control(self, packet: bytes) -> None:
        """Queue a packet that needs no room."""
        self._control.append(packet)

    def acknowledge(self, mids: Iterable[int]) -> None:
        self._acks.extend(mids)
        self._waker.wake()

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be sent."""
        return not (self._unsent or self._acks or self._outgoing or self._control)

    def answered(self, mid: int) -> tuple[int, str] | None:
        """The broker answered a publish: its token and topic, None for one that is not on its way."""
        return self._in_flight.pop(mid, None)

    def turn(self, wait_s: float) -> list[Packet]:
        """Send what waits, wait until something comes or `wake`, and return what came. Raises LinkLost and ProtocolError."""
        if self._is_ended:
            raise LinkLost("the broker closed the connection")
        try:
            self._send()
            if self._early:
                packets, self._early = self._early, []
                return packets
            if not self._wait(wait_s):
                return []
            return self._receive()
        except OSError as error:
            raise LinkLost(error.strerror or str(error)) from error

    def keep_alive(self) -> None:
        """Ask whether the broker is there after some silence. Raises LinkLost when it does not answer."""
        now_s = time.monotonic()
        if self._pinged_s is not None:
            if self._heard_s >= self._pinged_s:
                self._pinged_s = None
            elif now_s - self._pinged_s >= self.keepalive_s:
                raise LinkLost(f"the broker has not answered for {now_s - self._heard_s:.0f} s")
        elif now_s - min(self._heard_s, self._sent_s) >= self.keepalive_s / 2:
            self._pinged_s = now_s
            self.control(PINGREQ)

    def leave(self) -> None:
        """Say good-bye, so that the broker keeps the will to itself, and close."""
        with suppress(OSError):
            self._channel.settimeout(1.0)
            self._channel.sendall(bytes(self._unsent) + DISCONNECT)
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            self._channel.close()

    def _wait(self, wait_s: float) -> bool:
        """Whether there may be something to read."""
        if isinstance(self._channel, ssl.SSLSocket) and self._channel.pending():
            return True
        self._poll.modify(self._channel, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        self._waker.is_asleep = True
        # Looked at after the flag is set: what comes later wakes us.
        has_work = not self._unsent and (self._acks or self._control or (self._outgoing and len(self._in_flight) < self._room))
        ready = dict(self._poll.poll(0 if has_work else wait_s * 1000))
        self._waker.is_asleep = False
        if self._waker.descriptor in ready:
            self._waker.drain()
        return bool(ready.get(self._channel.fileno(), 0) & ~select.POLLOUT)

    def _receive(self) -> list[Packet]:
        packets: list[Packet] = []
        for _ in range(READS):
            try:
                data = self._channel.recv(READ_BYTES)
            except _AGAIN:
                break
            if not data:
                self._is_ended = True  # What it said before is heard first: often why.
                break
            self._heard_s = time.monotonic()
            packets += self._reader.feed(data)
            if len(data) < READ_BYTES and not self._is_tls:
                break
        return packets

    def _send(self) -> None:
        while self._unsent or self._gather():
            try:
                sent = self._channel.send(self._unsent)
            except _AGAIN:
                return
            self._unsent = self._unsent[sent:]
            self._sent_s = time.monotonic()

    def _gather(self) -> bool:
        """Join what may go out now; whether there is anything."""
        parts: list[bytes] = []
        while self._control:
            parts.append(self._control.popleft())
        if self._acks:
            parts.append(encode_pubacks([self._acks.popleft() for _ in range(len(self._acks))]))
        size = 0
        while self._outgoing and len(self._in_flight) < self._room and size < SEND_BYTES:
            token, mid, topic, packet = self._outgoing.popleft()
            self._outgoing_bytes -= len(packet)
            if len(packet) > self._packet_limit:
                self.refused.append((token, topic))
                continue
            self._in_flight[mid] = (token, topic)
            parts.append(packet)
            size += len(packet)
        self._unsent = memoryview(b"".join(parts))
        return bool(parts)
