"""What a last will says: is the device there? As Zigbee2MQTT, Tasmota, Shelly, ESPHome and others write it. Pure."""

from __future__ import annotations

from typing import Final

from .payload import Unreadable, parse_payload

OFFLINE: Final = frozenset({"offline", "false", "0", "disconnected", "lost", "not_available", "unavailable"})
ONLINE: Final = frozenset({"online", "true", "1", "connected", "ready", "available"})
"""`2` of other gateways ("connected, and so is what is behind it") is left out: no two of them mean the same by it."""


def says_offline(payload: bytes) -> bool | None:
    """Whether the device is gone; None where the message says neither. The word stands alone, or in JSON at `state`."""
    try:
        said = parse_payload(payload)
    except Unreadable:
        return None
    if isinstance(said, dict):
        said = said.get("state")
    word = str(said).strip().lower()
    return True if word in OFFLINE else False if word in ONLINE else None
