"""What a sensor sent, as values: JSON as people's programs write it, or a bare value. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from millrace_contract.language.telemetry import without_nan

LARGEST_BYTES: Final = 256 * 1024
SHOWN: Final = 60


class Unreadable(ValueError):
    """Nothing can be read from this message; the text says why, and what it should be."""


class NothingThere(LookupError):
    """The path leads nowhere in this message."""


def parse_payload(payload: bytes) -> Any:
    """The values of a payload: JSON, in which nan and inf are null; else its text. Raises Unreadable."""
    if len(payload) > LARGEST_BYTES:
        raise Unreadable(f"the message has {len(payload)} bytes; at most {LARGEST_BYTES} are read")
    if not payload.strip():
        raise Unreadable("the message is empty")
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return msgspec.json.decode(without_nan(payload))
    except RecursionError:
        raise Unreadable("JSON that is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if payload.lstrip()[:1] in b"{[":
            raise Unreadable(f"the message looks like JSON, and is none: {error}") from None
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        raise Unreadable("the message is neither JSON nor text, but binary; let the sensor, or its bridge, decode it") from None


def value_at(message: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at the end of the path. Raises NothingThere."""
    found = message
    for step in path:
        if isinstance(found, dict) and str(step) in found:
            found = found[str(step)]
        elif isinstance(found, list) and isinstance(step, int) and step < len(found):
            found = found[step]
        else:
            raise NothingThere
    return found


def shown(value: Any) -> str:
    """The value as it stood in the message, cut short."""
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
