"""MQTT 5 packets as bytes: what a client sends, and what it hears. Pure; no sockets, no threads.

Only what the sessions need: QoS 0 and 1, no topic aliases (we announce none, so the broker uses none). Source: MQTT Version 5.0,
OASIS Standard, 7 March 2019; section numbers in the comments are its.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Final, NamedTuple

from .session import Received

PINGREQ: Final = b"\xc0\x00"
DISCONNECT: Final = b"\xe0\x00"
FAILURE: Final = 0x80
"""Reason codes from here on are failures."""

_LARGEST_REMAINING: Final = 268_435_455  # 1.5.5
_TOPICS_REMEMBERED: Final = 16_384

REASONS: Final = {
    0x00: "Normal disconnection", 0x10: "No matching subscribers", 0x80: "Unspecified error", 0x81: "Malformed packet",
    0x82: "Protocol error", 0x83: "Implementation specific error", 0x84: "Unsupported protocol version",
    0x85: "Client identifier not valid", 0x86: "Bad user name or password", 0x87: "Not authorized", 0x88: "Server unavailable",
    0x89: "Server busy", 0x8A: "Banned", 0x8B: "Server shutting down", 0x8C: "Bad authentication method",
    0x8D: "Keep alive timeout", 0x8E: "Session taken over", 0x8F: "Topic filter invalid", 0x90: "Topic name invalid",
    0x91: "Packet identifier in use", 0x93: "Receive maximum exceeded", 0x95: "Packet too large", 0x96: "Message rate too high",
    0x97: "Quota exceeded", 0x98: "Administrative action", 0x99: "Payload format invalid", 0x9A: "Retain not supported",
    0x9B: "QoS not supported", 0x9C: "Use another server", 0x9D: "Server moved", 0x9E: "Shared subscriptions not supported",
    0x9F: "Connection rate exceeded", 0xA0: "Maximum connect time", 0xA2: "Wildcard subscriptions not supported",
}  # fmt: skip
"""2.4, in the words of the standard."""


class ProtocolError(Exception):
    """The other side does not speak MQTT 5 as we know it; the connection is of no use any more."""


class Connack(NamedTuple):
    """The broker's answer to CONNECT, with the limits that it names (3.2)."""

    reason: int
    session_present: bool
    receive_maximum: int
    maximum_packet_bytes: int
    keepalive_s: int | None


class Puback(NamedTuple):
    mid: int
    reason: int


class Suback(NamedTuple):
    reasons: tuple[int, ...]


class Unsuback(NamedTuple):
    pass


class Disconnected(NamedTuple):
    reason: int


class Pong(NamedTuple):
    pass


Packet = Received | Puback | Connack | Suback | Unsuback | Disconnected | Pong


def reason_text(code: int) -> str:
    return REASONS.get(code, f"reason code 0x{code:02X}")


def encode_connect(
    client_id: str,
    *,
    username: str,
    password: str,
    will: tuple[str, bytes] | None,
    keepalive_s: int,
    clean_start: bool,
    receive_maximum: int,
    session_expiry_s: int,
) -> bytes:
    """CONNECT (3.1). The will is retained and goes with QoS 1; without a user name there is no password either."""
    flags = 0x02 * clean_start
    properties = b"\x21" + struct.pack(">H", receive_maximum)
    if session_expiry_s:
        properties += b"\x11" + struct.pack(">I", session_expiry_s)
    payload = _text(client_id)
    if will is not None:
        flags |= 0x04 | 0x08 | 0x20
        payload += b"\x00" + _text(will[0]) + _binary(will[1])
    if username:
        flags |= 0x80 | 0x40
        payload += _text(username) + _binary(password.encode())
    head = b"\x00\x04MQTT\x05" + struct.pack(">BH", flags, keepalive_s)
    return _packet(0x10, head + _varint(len(properties)) + properties + payload)


def encode_publish(topic: str, payload: bytes, mid: int, *, retain: bool) -> bytes:
    """PUBLISH with QoS 1 (3.3)."""
    name = topic.encode()
    length = len(name) + len(payload) + 5
    return b"".join(
        (b"\x33" if retain else b"\x32", _varint(length), struct.pack(">H", len(name)), name, struct.pack(">Hx", mid), payload)
    )


def encode_pubacks(mids: Iterable[int]) -> bytes:
    """A PUBACK that says success for each (3.4.2.1: without reason code and properties), in this order."""
    return b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])


def encode_subscribe(mid: int, filters: Sequence[str], fleeting: Container[str] = ()) -> bytes:
    """SUBSCRIBE with at most QoS 1, those among `fleeting` with QoS 0, retained messages sent (3.8)."""
    return _packet(0x82, struct.pack(">Hx", mid) + b"".join(_text(each) + bytes([each not in fleeting]) for each in filters))


def encode_unsubscribe(mid: int, filters: Sequence[str]) -> bytes:
    """UNSUBSCRIBE (3.10)."""
    return _packet(0xA2, struct.pack(">Hx", mid) + b"".join(_text(each) for each in filters))


class PacketReader:
    """Cuts a stream of bytes, however it is chopped up, into packets. One a connection; `generation` is that of its messages."""

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._chunks: list[bytes] = []
        self._held = 0
        self._needed = 0
        self._topics: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole now. Raises ProtocolError."""
        self._held += len(data)
        if self._chunks:
            self._chunks.append(data)
            if self._held < self._needed:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        self._needed = 0
        packets: list[Packet] = []
        at = 0
        end = len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length & 0x80:
                length, start = _remaining(data, at + 1)
                if start > end:
                    break
            stop = start + length
            if stop > end:
                self._needed = stop - at
                break
            head = data[at]
            packets.append(self._publish(head, data, start, stop) if head & 0xF0 == 0x30 else _decode(head, data[start:stop]))
            at = stop
        self._held = end - at
        if at < end:
            self._chunks.append(data[at:])
        return packets

    def _publish(self, head: int, data: bytes, start: int, stop: int) -> Received:
        qos = head >> 1 & 3
        name_end = start + 2 + (data[start] << 8 | data[start + 1]) if stop - start >= 2 else stop
        at = name_end
        mid = 0
        if qos:
            at += 2
            if at < stop:
                mid = data[name_end] << 8 | data[name_end + 1]
        if at >= stop or qos > 1 or (qos and not mid):
            raise ProtocolError("a PUBLISH that is no message of QoS 0 or 1")
        properties = data[at]
        if properties:
            properties, at = _varint_at(data, at, stop)
            at += properties
            if at > stop:
                raise ProtocolError("properties that are longer than their packet")
        else:
            at += 1
        return Received(self._topic(data[start + 2 : name_end]), data[at:stop], bool(head & 1), qos, mid, self._generation)

    def _topic(self, name: bytes) -> str:
        """The same topics come again and again: one text each. Bounded, because a stranger may invent them."""
        topic = self._topics.get(name)
        if topic is None:
            try:
                topic = name.decode()
            except UnicodeDecodeError as error:
                raise ProtocolError("a topic that is no UTF-8") from error
            if len(self._topics) >= _TOPICS_REMEMBERED:
                self._topics.clear()
            self._topics[name] = topic
        return topic


def _decode(head: int, body: bytes) -> Packet:
    if head == 0x40:
        if len(body) < 2:
            raise ProtocolError("a PUBACK without a packet identifier")
        return Puback(body[0] << 8 | body[1], body[2] if len(body) > 2 else 0)
    decode = _DECODERS.get(head)
    if decode is None:
        raise ProtocolError(f"a packet of type {head >> 4} with flags {head & 0xF}, which a client is never sent")
    return decode(body)


def _connack(body: bytes) -> Connack:
    if len(body) < 3:
        raise ProtocolError("a CONNACK that is too short")
    limits = _properties(body, 2)
    if not limits.get(0x21, 1) or not limits.get(0x27, 1):
        raise ProtocolError("a CONNACK with a limit of 0")
    return Connack(body[1], bool(body[0] & 1), limits.get(0x21, 65_535), limits.get(0x27, _LARGEST_REMAINING + 5), limits.get(0x13))


def _suback(body: bytes) -> Suback:
    if len(body) < 4:
        raise ProtocolError("a SUBACK that is too short")
    length, at = _varint_at(body, 2, len(body))
    return Suback(tuple(body[at + length :]))


def _unsuback(_body: bytes) -> Unsuback:
    return Unsuback()


def _disconnected(body: bytes) -> Disconnected:
    return Disconnected(body[0] if body else 0)


def _pong(_body: bytes) -> Pong:
    return Pong()


_DECODERS: Final[dict[int, Callable[[bytes], Packet]]] = {
    0x20: _connack, 0x90: _suback, 0xB0: _unsuback, 0xD0: _pong, 0xE0: _disconnected,
}  # fmt: skip

_INTEGERS: Final = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
_TEXTS: Final = {0x12: 1, 0x15: 1, 0x16: 1, 0x1A: 1, 0x1C: 1, 0x1F: 1, 0x26: 2}
"""Properties of a CONNACK (3.2.2.3): bytes of the number, or how many texts or binary values."""


def _properties(body: bytes, at: int) -> dict[int, int]:
    """The properties that are numbers."""
    length, at = _varint_at(body, at, len(body))
    end = at + length
    if end > len(body):
        raise ProtocolError("properties that are longer than their packet")
    found: dict[int, int] = {}
    while at < end:
        name = body[at]
        at += 1
        if name in _INTEGERS:
            found[name] = int.from_bytes(body[at : at + _INTEGERS[name]], "big")
            at += _INTEGERS[name]
        elif name in _TEXTS:
            for _ in range(_TEXTS[name]):
                at += 2 + int.from_bytes(body[at : at + 2], "big")
        else:
            raise ProtocolError(f"a property 0x{name:02X}, which a CONNACK does not have")
    if at != end:
        raise ProtocolError("a property that is cut off")
    return found


def _remaining(data: bytes, at: int) -> tuple[int, int]:
    """A remaining length of two bytes and more, and where it ends: beyond the data when that is not all of it."""
    value = shift = 0
    for place in range(at, at + 4):
        if place >= len(data):
            return 0, len(data) + 1
        value |= (data[place] & 0x7F) << shift
        if not data[place] & 0x80:
            return value, place + 1
        shift += 7
    raise ProtocolError("a length of more than four bytes")


def _varint_at(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """A variable byte integer and where it ends. Raises ProtocolError when it does not end before `stop`."""
    value, after = _remaining(data[:stop], at) if at < stop else (0, stop + 1)
    if after > stop:
        raise ProtocolError("a packet that is cut off")
    return value, after


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value > _LARGEST_REMAINING:
        raise ValueError(f"{value} bytes do not fit into one packet")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _packet(head: int, body: bytes) -> bytes:
    return bytes((head,)) + _varint(len(body)) + body


def _text(text: str) -> bytes:
    return _binary(text.encode())


def _binary(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise ValueError(f"{len(data)} bytes of text; MQTT allows 65535")
    return struct.pack(">H", len(data)) + data
