"""Event files (contracts.md 7): messages as they arrived at a client of the broker, in order, one a line of JSON.

    {"received": "2025-10-15T13:45:02.130Z", "topic": "factory/line1/CNC-01/telemetry", "payload": {"timestamp": ...}}

`topic` and `payload` are needed. A payload that is a JSON text is the message as it was sent, so that one which is no JSON can be
recorded too; `""` is the empty message that clears a retained one. Any other JSON is itself the message, byte for byte. What is
not even text stands in `payload_base64`. `received` says when the message arrived: with it a replay knows what was late, and when
an alert was told. `retained`: the broker had kept it from before. Keys beyond these are ignored, and so are empty lines.

A line that is none of this is named by its number and left out; the rest of the file goes on. Pure.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated

import msgspec

from .times import FUTURE_LIMIT_MS, format_timestamp, parse_timestamp

MAX_LINE_BYTES = 4 * 1024 * 1024
"""No line is longer: twice what the broker lets through in one message."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FORM = 'is no {"topic": ..., "payload": ...}'


@dataclass(frozen=True, slots=True)
class Event:
    """A message, and where it stands. `received_ms`: when it arrived; None where the file does not say."""

    line: int
    end_offset: int
    topic: str
    payload: bytes
    received_ms: int | None = None
    retained: bool = False


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that is no event; `reason` is for a person."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line} {self.reason}"


class _Wire(msgspec.Struct):
    topic: Annotated[str, msgspec.Meta(min_length=1)]
    received: str | None = None
    retained: bool = False
    payload: msgspec.Raw = msgspec.Raw(b"")
    payload_base64: str | None = None


class _Written(msgspec.Struct, omit_defaults=True):
    received: str
    topic: str
    retained: bool = False


class _WithPayload(_Written, kw_only=True):
    payload: msgspec.Raw


class _WithBytes(_Written, kw_only=True):
    payload_base64: str


class _Told(msgspec.Struct):
    timestamp: str = ""


_decoder = msgspec.json.Decoder(_Wire)
_text_decoder = msgspec.json.Decoder(str)
_any_decoder = msgspec.json.Decoder()
_told_decoder = msgspec.json.Decoder(_Told)
_encoder = msgspec.json.Encoder()
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_line(text: bytes, line: int, end_offset: int) -> Event | BrokenLine | None:
    """What the line is; None for an empty one. Of a line that is too long its beginning is enough."""
    if line == 1:
        text = text.removeprefix(_BYTE_ORDER_MARK)  # An editor put it there.
    return _event(text, line, end_offset) if text.strip() else None


def encode_event(topic: str, payload: bytes, received_ms: int, *, retained: bool = False) -> bytes:
    """The line of a message, with its end. Whatever the payload is, reading the line gives it back byte for byte."""
    received = format_timestamp(received_ms)
    if (as_json := _as_json(payload)) is not None:
        line = _encoder.encode(_WithPayload(received, topic, retained, payload=as_json))
        if len(line) < MAX_LINE_BYTES:
            return line + b"\n"
    return _encoder.encode(_WithBytes(received, topic, retained, payload_base64=base64.b64encode(payload).decode())) + b"\n"


class ArrivalClock:
    """When each event of a file arrived: as it was recorded, else the newest time that a message up to here tells of itself.

    `told_ms` is that newest time, 0 as long as there is none. What lies ahead of `today_ms`, the machine's clock, moves nothing:
    it was refused when it was recorded, too. Neither time goes back.
    """

    def __init__(self, today_ms: int, told_ms: int = 0) -> None:
        self.now_ms = self.told_ms = told_ms
        self._limit_ms = today_ms + FUTURE_LIMIT_MS

    def hear(self, event: Event) -> int:
        """The event's time of arrival, which is `now_ms` from then on."""
        told_ms = _told_ms(event.payload)
        if told_ms <= (self._limit_ms if event.received_ms is None else event.received_ms + FUTURE_LIMIT_MS):
            self.told_ms = max(self.told_ms, told_ms)
        self.now_ms = max(self.now_ms, self.told_ms if event.received_ms is None else event.received_ms)
        return self.now_ms


def _event(text: bytes, line: int, end_offset: int) -> Event | BrokenLine:
    if len(text) > MAX_LINE_BYTES:
        return BrokenLine(line, f"is longer than {MAX_LINE_BYTES // 1024**2} MiB, which no message is")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return BrokenLine(line, "is UTF-16; save the file as UTF-8")
    try:
        wire = _decoder.decode(text)
        payload = _payload(wire)
        received_ms = None if wire.received is None else parse_timestamp(wire.received)
    except (*_UNREADABLE, binascii.Error, ValueError) as error:
        return BrokenLine(line, f"{_FORM}: {str(error)[:200]}")
    if payload is None:
        return BrokenLine(line, f"{_FORM}: it has no payload")
    return Event(line, end_offset, wire.topic, payload, received_ms, wire.retained)


def _payload(wire: _Wire) -> bytes | None:
    if wire.payload_base64 is not None:
        return base64.b64decode(wire.payload_base64, validate=True)
    payload = bytes(wire.payload)
    if not payload:
        return None
    return _text_decoder.decode(payload).encode() if payload.startswith(b'"') else payload


def _as_json(payload: bytes) -> msgspec.Raw | None:
    """What stands in the file for the message: itself if it is JSON on one line, else as a text; None if it is not even that."""
    if payload[:1] + payload[-1:] in (b"{}", b"[]") and b"\n" not in payload and b"\r" not in payload:
        try:
            _any_decoder.decode(payload)
        except _UNREADABLE:
            pass
        else:
            return msgspec.Raw(payload)
    try:
        return msgspec.Raw(_encoder.encode(payload.decode()))
    except UnicodeDecodeError:
        return None


def _told_ms(payload: bytes) -> int:
    try:
        text = _told_decoder.decode(payload).timestamp
        return parse_timestamp(text) if text else 0
    except (*_UNREADABLE, ValueError):
        return 0
