"""Event files (contracts.md 7): JSON Lines of {"topic": ..., "payload": ...} in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec


class _Line(msgspec.Struct):
    topic: str
    payload: msgspec.Raw


_decoder = msgspec.json.Decoder(_Line)
_text_decoder = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class Event:
    """A message, and the offset in the file that follows it."""

    topic: str
    payload: bytes
    end_offset: int


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that is no event; `reason` is for a person."""

    number: int
    reason: str
    end_offset: int


def read_events(path: Path, offset: int = 0) -> Iterator[Event | BrokenLine]:
    """Events from a byte offset on. A payload may be JSON, or a text that holds the message as it was. Raises OSError."""
    with path.open("rb") as file:
        file.seek(offset)
        for number, line in enumerate(file, start=1):
            offset += len(line)
            if not line.strip():
                continue
            try:
                found = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                yield BrokenLine(number, str(error), offset)
                continue
            payload = bytes(found.payload)
            if payload.startswith(b'"'):
                payload = _text_decoder.decode(payload).encode()
            yield Event(found.topic, payload, offset)
